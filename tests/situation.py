"""What the nodes of a test are doing, and waiting that tells it when something does not happen.

Every wait of a rig goes through here, so that a ceiling that was reached always says what was
going on: `until` in a thread, `until_seen` in trio, `within` around a block. The ceiling is for
hangs: no test may hope to reach it, and no slow machine may.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import trio

from openfl.app.control_socket import call
from openfl.storage.home import Home
from openfl_cli.task_tree import END, task_tree
from tests.patience import PATIENCE_SECONDS

MOST_NODES = 12
MOST_EVENTS = 15
ANSWER_SECONDS = 3.0


class NodeProcess(Protocol):
    """A node in a process of its own. `home`: as seen from here."""

    home: Path

    @property
    def process(self) -> Any: ...


PROCESSES: dict[int, NodeProcess] = {}
"""By process id: those that tests have started and not yet ended."""


def situation() -> str:
    """Of this process: its tasks, and every node in it; then of every node process that a test has
    started. Takes some seconds where those do not answer; never raises."""
    parts = [f"tasks of the test:\n{_indented(_attempt(task_tree))}"]
    here = [_attempt(lambda node=node: _told(node.snapshot().to_plain())) for node in _nodes_here()]
    there = [_attempt(lambda node=node: _of_process(node)) for node in list(PROCESSES.values())]
    nodes = there + here
    parts += [f"node: {_indented(text)}" for text in nodes[:MOST_NODES]]
    if len(nodes) > MOST_NODES:
        parts.append(f"... and {len(nodes) - MOST_NODES} more nodes")
    return "\n".join(parts)


def _attempt(describe: Callable[[], str]) -> str:
    try:
        return describe()
    except Exception as error:
        return f"cannot be told: {error!r}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ").rstrip()


def _nodes_here() -> list[Any]:
    """Found as objects: rigs make nodes in many ways, and this is for failures only. Those that are
    found outside of trio are of earlier tests."""
    from openfl.node import Node

    if not trio.lowlevel.in_trio_run():
        return []
    return [found for found in gc.get_objects() if type(found) is Node]


def _told(state: Mapping[str, Any]) -> str:
    """The essence of a snapshot in its plain form."""
    me = str(state["peer_id"])[-6:]
    lines = [f"{me} {state['phase']}, round {state['round']}, group {state['group_name']}"]
    for name in ("members", "peers"):
        ids = [str(other["peer_id"])[-6:] for other in state[name]]
        lines.append(f"{name}: {' '.join(ids) or 'none'}")
    lines.append(f"faults: {dict(state['faults'])}")
    for event in state["events"][-MOST_EVENTS:]:
        lines.append(f"{event['time']:.1f} {event['kind']}: {event['message']}")
    return "\n".join(lines)


def _of_process(node: NodeProcess) -> str:
    code = node.process.poll()
    lines = [f"process {node.process.pid} in {node.home}"]
    if code is not None:
        lines[0] += f", ended with {code}"
    else:
        lines.append(_attempt(lambda: _told(call(node.home, "snapshot", ANSWER_SECONDS))))
        lines.append(f"its tasks: {_indented(_attempt(lambda: _tasks_of(node)))}")
    lines.append(f"its last events: {_indented(_attempt(lambda: _last_events(node)))}")
    return "\n".join(lines)


def _last_events(node: Any) -> str:
    return "\n".join(["", *(f"{e['event']}: {e['message']}" for e in node.events[-MOST_EVENTS:])])


def _tasks_of(node: NodeProcess) -> str:
    """As the node itself writes them into its log when asked by a signal."""
    if not _minds(node.process.pid, signal.SIGUSR1):
        return "it is not so far that it could tell, or is no openfl-node"
    log = Home(node.home).log_file
    before = log.stat().st_size
    os.kill(node.process.pid, signal.SIGUSR1)
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        with log.open(encoding="utf-8", errors="replace") as stream:
            stream.seek(before)
            told = stream.read()
        if END in told:
            return "\n" + told[: told.index(END)].rstrip()
        time.sleep(0.05)
    return "it does not answer: something keeps its event loop from going on"


def _minds(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for that signal; it would die of it otherwise."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


# --- waiting --------------------------------------------------------------------------------------


class NotInTime(AssertionError):
    """Something did not happen before its ceiling; the text ends with the situation."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"{what} did not happen within {seconds:g} s\n{situation()}")


def name_of(condition: Callable[..., object]) -> str:
    return getattr(condition, "__qualname__", repr(condition))


def until(
    condition: Callable[[], Any],
    what: str = "",
    seconds: float = PATIENCE_SECONDS,
    every: float = 0.05,
) -> None:
    """Return once `condition` holds; NotInTime when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(what or name_of(condition), seconds)
        time.sleep(every)


async def until_seen(
    condition: Callable[[], Any],
    what: str = "",
    seconds: float = PATIENCE_SECONDS,
    every: float = 0.02,
    blocking: bool = False,
) -> float:
    """The same while the tasks of this process go on; the seconds it took, of trio's clock (virtual
    where the test has one). `blocking`: the condition asks somebody and takes a while."""
    start = trio.current_time()
    while not (await trio.to_thread.run_sync(condition) if blocking else condition()):
        if trio.current_time() - start > seconds:
            raise NotInTime(what or name_of(condition), seconds)
        await trio.sleep(every)
    return trio.current_time() - start


@contextlib.contextmanager
def within(seconds: float = PATIENCE_SECONDS, what: str = "it") -> Iterator[None]:
    """`trio.fail_after` that tells the situation."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise NotInTime(what, seconds)
