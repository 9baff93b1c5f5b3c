"""How the processes of each decentralized learner are started, and where they tell of their rounds.

The driver knows nothing more of a system than this. All listen on 127.0.0.1 alone.
"""

# ruff: noqa: E402 (what is imported lies in the folders above)
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

import processes
from confined import free_ports, wait_until

START_SECONDS = 60.0


class NotStarted(Exception):
    """The first node did not come up."""


class System(Protocol):
    journal: str
    """Name of the file in a node's home that `figures.read_rounds` reads."""

    def start_all(self, homes: list[Path]) -> list[subprocess.Popen[str]]:
        """One process a home; when it returns, the last has just been started. Only the first
        node's start is waited for. NotStarted when that does not come."""
        ...


@dataclass(frozen=True)
class OpenFL:
    interval: float
    journal: str = "out.log"

    def start_all(self, homes: list[Path]) -> list[subprocess.Popen[str]]:
        options = argparse.Namespace(
            nodes=len(homes), rounds=0, interval=self.interval, row_fraction=0.5
        )
        started = [processes.start(homes[0], options, None)]

        def listens() -> bool:
            state = processes.snapshot(homes[0])
            return state is not None and bool(state["multiaddrs"])

        if not wait_until(listens, START_SECONDS, 0.2):
            raise NotStarted("the first node does not listen")
        state = processes.snapshot(homes[0])
        assert state is not None
        first = state["multiaddrs"][0]
        return started + [processes.start(home, options, first) for home in homes[1:]]


def _start_worker(
    python: Path, script: str, home: Path, arguments: list[str]
) -> subprocess.Popen[str]:
    environment = os.environ | {
        "PYTHONPATH": str(HERE.parent.parent),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(home / "cache"),
    }
    command = [str(python), str(HERE / script), "--home", str(home), *arguments]
    with (home / "out.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            command, env=environment, cwd=home, stdout=log, stderr=log, text=True
        )


@dataclass(frozen=True)
class P2pfl:
    """Everybody is given the address of everybody started before: with the first one's alone, its
    rounds stall."""

    python: Path
    job: Path
    journal: str = "journal.jsonl"

    def start_all(self, homes: list[Path]) -> list[subprocess.Popen[str]]:
        ports = free_ports(len(homes))
        started = []
        for number, home in enumerate(homes):
            arguments = ["--job", str(self.job), "--nodes", str(len(homes))]
            arguments += ["--port", str(ports[number])]
            if not number:
                arguments.append("--starts")
            arguments += ["--join", *(f"127.0.0.1:{port}" for port in ports[:number])]
            started.append(_start_worker(self.python, "p2pfl_node.py", home, arguments))
            if not number:
                _address(home / self.journal)
        return started


@dataclass(frozen=True)
class Hivemind:
    python: Path
    job: Path
    interval: float
    journal: str = "journal.jsonl"

    def start_all(self, homes: list[Path]) -> list[subprocess.Popen[str]]:
        started: list[subprocess.Popen[str]] = []
        first: list[str] = []
        for home in homes:
            arguments = ["--job", str(self.job), "--nodes", str(len(homes))]
            arguments += ["--interval", str(self.interval), "--join", *first]
            started.append(_start_worker(self.python, "hivemind_node.py", home, arguments))
            if not first:
                first = [_address(home / self.journal)]
        return started


def _address(journal: Path) -> str:
    """What a worker says it listens on."""

    def told() -> str | None:
        if not journal.exists():
            return None
        for line in journal.read_text().splitlines():
            said = json.loads(line)
            if said["event"] == "listening":
                return str(said["data"]["address"])
        return None

    if not wait_until(lambda: told() is not None, START_SECONDS, 0.1):
        raise NotStarted("the first node does not listen")
    address = told()
    assert address is not None
    return address
