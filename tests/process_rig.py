"""Real `openfl-node` processes on loopback, for tests that want nothing faked."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psutil  # type: ignore[import-untyped]

from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.patience import PATIENCE_SECONDS
from tests.situation import PROCESSES, NotInTime, situation, until

OF_TERMINALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP)


def fork_on_terminal() -> tuple[int, int]:
    """`pty.fork`; the child heeds what a terminal sends, also where whoever runs the tests does not
    (`nohup`, a job in the background of a script)."""
    pid, terminal = pty.fork()
    if pid == 0:
        for number in OF_TERMINALS:
            signal.signal(number, signal.SIG_DFL)
    return pid, terminal


__all__ = [
    "PATIENCE_SECONDS",
    "RunningNode",
    "deal_homes",
    "ending",
    "environment",
    "openfl_node",
    "until",
]


def environment() -> dict[str, str]:
    """This process's environment without any setting of a node."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENFL_")}
    paths = [path for path in sys.path if path]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "120"}


def openfl_node(*argv: str, code: int = 0) -> str:
    """Run a command to its end; its stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "openfl_cli", *argv],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def deal_homes(folder: Path, names: str, seed: int = 3) -> list[Path]:
    """One home a letter of `names`, each with its own listeners' ratings."""
    homes = [folder / name for name in names]
    for home in homes:
        home.mkdir()
    deal(sample_folder(), homes, seed=seed)
    return homes


class RunningNode:
    """A node started with `start --log-format json`; its events are read as they come."""

    def __init__(
        self,
        home: Path,
        *options: str,
        interval: str = "0.3",
        switching: bool = False,
        fault_point: str = "",
        inside: tuple[str, ...] = (),
        listen: str = "/ip4/127.0.0.1/tcp/0",
        program: tuple[str, ...] = ("-m", "openfl_cli"),
        errors: IO[str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`inside`: a command that runs the node elsewhere, such as `ip netns exec NAME`;
        `program`: what Python runs; `errors`: where its stderr goes; `settings`: more of its
        environment."""
        self.home = home
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [
                *(*inside, sys.executable, *program, "start", "--home", str(home)),
                *("--data", str(home / "ratings.csv"), "--listen", listen),
                *("--interval", interval, "--log-format", "json"),
                *(() if switching else ("--no-auto-switch",)),
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment()
            | ({"OPENFL_FAULT_POINT": fault_point} if fault_point else {})
            | dict(settings or {}),
        )
        PROCESSES[self.process.pid] = self
        # The pipe must be drained, or the node would block on it.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # a node that is killed may be in the middle of one
                self.events.append(json.loads(line))

    def find(self, kind: str) -> list[dict[str, Any]]:
        """All events of that kind so far."""
        return [event for event in list(self.events) if event["event"] == kind]

    def wait_for(self, kind: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The first event of that kind."""
        what = f"{kind} at {self.home}"
        until(lambda: self.find(kind) or self.process.poll() is not None, what, seconds)
        found = self.find(kind)
        assert found, f"the node ended ({self.process.returncode}) before any {kind}"
        return found[0]

    @property
    def address(self) -> str:
        """What to give others as --bootstrap."""
        address: str = self.wait_for("listening")["data"]["multiaddrs"][0]
        return address

    def ask(self, command: str) -> Any:
        """`openfl-node COMMAND --json` in this node's home."""
        return json.loads(openfl_node(command, "--home", str(self.home), "--json"))

    def end(self) -> None:
        """And of what it has started, which would keep its stdout open."""
        family: list[Any] = []
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        for child in family:
            with contextlib.suppress(psutil.Error):
                child.kill()
        self.process.wait()
        PROCESSES.pop(self.process.pid, None)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def ending(nodes: list[RunningNode]) -> Iterator[None]:
    """Whatever happens, no node outlives the block. What fails in it tells the situation."""
    with contextlib.ExitStack() as stack:
        try:
            yield
        except Exception as error:
            if not isinstance(error, NotInTime):  # which has told it
                error.add_note(situation())
            raise
        finally:
            for node in nodes:
                stack.callback(node.end)
