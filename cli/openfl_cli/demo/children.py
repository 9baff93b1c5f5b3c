"""Real nodes as child processes: started, read from, and ended whatever happens.

Three safety nets, so that no node outlives the demo: they are terminated when the block is left
(Ctrl-C and errors too); they are killed when that takes too long; and each stops by itself when its
stdin closes, which the kernel does even when the demo itself is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from openfl.core.errors import LearningError

END_SECONDS = 6.0
LAST_LINES = 15


@dataclass
class Child:
    """One node process. `multiaddrs` is filled before `listening` is set."""

    name: str
    home: Path
    process: trio.Process
    listening: trio.Event = field(default_factory=trio.Event)
    multiaddrs: list[str] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    async def follow(self) -> None:
        """Read its output to the end. LearningError when it ends at all: nobody asked it to."""
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
        if rest:
            self._take(rest.decode(errors="replace"))
        code = await self.process.wait()
        raise ChildEnded(self, code)

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
            self.lines.append(f"{event['event']}: {event['message']}")
            addresses = event["data"].get("multiaddrs")
            is_listening = event["event"] == "listening"
        except (ValueError, KeyError, TypeError, AttributeError):
            self.lines.append(line)  # not ours: a traceback, or a line of a library
            return
        if is_listening and addresses:
            self.multiaddrs = [str(address) for address in addresses]
            self.listening.set()


class ChildEnded(LearningError):
    """A node ended before the demo did; `child.lines` says why."""

    def __init__(self, child: Child, code: int) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"{child.name} {how} before the demo was over")
        self.child = child


async def start_child(name: str, home: Path, options: Sequence[str]) -> Child:
    """Start `openfl-node start` for `home` with this interpreter."""
    command = [sys.executable, "-m", "openfl_cli", "start", "--home", str(home)]
    command += ["--no-view", "--log-format", "json", "--stop-with-stdin", *options]
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child_environment(),
        # Ctrl-C in the terminal goes to the demo alone, which then ends its nodes in order.
        start_new_session=True,
    )
    return Child(name, home, process)


def child_environment() -> dict[str, str]:
    """Ours, without settings meant for a node of the user's own, and with this very code
    importable."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENFL_")}
    roots = [path for path in sys.path if path]
    environment["PYTHONPATH"] = os.pathsep.join(roots)
    # Each node has one busy thread; BLAS pools of several nodes would fight over the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")
    return environment


@asynccontextmanager
async def ended_together(children: list[Child]) -> AsyncIterator[None]:
    """Whatever is in `children` when the block is left is ended, all at once."""
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for child in children:
                    nursery.start_soon(_end, child.process)


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(END_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drain, process)
                await process.wait()
                nursery.cancel_scope.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await stream.aclose()


async def _drain(process: trio.Process) -> None:
    """Read on, so that the node is not held up by a full pipe while it says goodbye."""
    if process.stdout is not None:
        async for _ in process.stdout:
            pass
