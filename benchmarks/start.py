"""How soon nodes are useful after their start, and what they burn until then.

    python benchmarks/start.py [--nodes 4 8] [--repeats 3] [--beside PATH] [--only together late]
                               [--json FILE]

Real `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user, a round a second,
all other settings as they are. `--beside PATH`: another checkout (the version before), run in turn
with this one, so that what else the machine does meets both.

- together: N nodes with empty homes, started at one moment. The first has a fixed port and a known
  peer id, which the others are given; it does not listen yet when they begin. Told: seconds until
  every node has joined, until every node knows every other one, until all are *useful*: each has
  every other one for a member, and the test error of their models, pooled over all nodes, is below
  that of models that each trained alone for as long as that helps it (30 rounds at most); and until
  it is within 1 % of that of the same task trained centrally (60 rounds on the same split). Each
  node is asked for its error after each of its rounds; that is the error of the model the round
  began with, so nothing is told too early. Central training itself is within 1 % of its end after
  ten rounds only: the last figure is mostly the second from round to round.
- late: one node with an empty home comes to a group of four that has done ten rounds. Told: seconds
  from the start of its process until it listens, has joined, and is useful: it holds the group's
  model and has found what that is worth on its own held-out data. A version that says so by an
  event (`useful`) is heard; of one that does not, the running node is asked twenty times a second.

Processor seconds are those of the node's own process, user and system, until it was useful.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _ml100k import ml100k_csv
from processes import deal

from openfl.app.control_socket import call
from openfl.core.errors import UserError
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

HERE = Path(__file__).resolve().parent.parent
GROUP = "ml-100k"
NEAR = 1.01
"""What counts as good: the pooled error over the one of central training, at most."""
LOOK_SECONDS = 0.02
ASK_SECONDS = 0.05
GIVE_UP_SECONDS = 120.0
SETTLED_ROUNDS = 10
LATE_BESIDE = 4

Measured = dict[str, float]


@dataclass
class Started:
    """One running node: its events as they come, and what its process has used."""

    home: Path
    process: subprocess.Popen[bytes]
    began: float
    """Unix seconds before the process was made."""
    events: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    """Its snapshot after the last round that it was asked after."""
    _read: int = 0

    def look(self) -> list[dict[str, Any]]:
        """Read on in what it prints; the new events."""
        text = (self.home / "out.log").read_bytes()[self._read :]
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        new = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        self.events += new
        if self.process.poll() is not None:
            tail = (self.home / "out.log").read_text()[-2000:]
            raise SystemExit(f"{self.home.name} ended:\n{tail}")
        return new

    def first(self, kind: str) -> float | None:
        """Seconds from its start to its first event of this kind."""
        return next((e["time"] - self.began for e in self.events if e["event"] == kind), None)

    def count(self, kind: str) -> int:
        return sum(event["event"] == kind for event in self.events)

    def ask(self) -> dict[str, Any] | None:
        """Its snapshot; None when it does not answer."""
        with contextlib.suppress(UserError):
            state: dict[str, Any] = call(self.home, "snapshot", timeout_seconds=5.0)
            return state
        return None

    @property
    def burnt(self) -> float:
        used = psutil.Process(self.process.pid).cpu_times()
        return used.user + used.system


def environment(checkout: Path) -> dict[str, str]:
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENFL_", *dropped))}
    return kept | {
        "PYTHONPATH": os.pathsep.join((str(checkout), str(checkout / "cli"))),
        # As where it is installed, and nothing is left behind in the checkouts.
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "openfl-bench-bytecode"),
        "OPENFL_NETWORK_HOST": "127.0.0.1",
        "OPENFL_TRAINING_INTERVAL_SECONDS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def command(home: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "openfl_cli", "--home", str(home), *more]


def start(checkout: Path, home: Path, *more: str) -> Started:
    told = ["--no-view", "--log-format", "json", "--group", GROUP]
    line = command(home, "start", "--data", str(home / "ratings.csv"), *told, *more)
    with (home / "out.log").open("wb") as log:
        began = time.time()
        process = subprocess.Popen(
            line, cwd=checkout, env=environment(checkout), stdout=log, stderr=log
        )
    return Started(home, process, began)


@contextlib.contextmanager
def ended_at_the_end(nodes: list[Started]) -> Iterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            node.process.send_signal(signal.SIGTERM)
        for node in nodes:
            node.process.wait(timeout=20)


def until(
    nodes: Sequence[Started], condition: Callable[[], bool], what: str, tested: bool = False
) -> None:
    """tested: ask each node for its test error after each of its rounds."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while True:
        for node in nodes:
            news = node.look()
            if tested and any(event["event"] == "round" for event in news):
                node.state = node.ask() or node.state
        if condition():
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {GIVE_UP_SECONDS:g} s")
        time.sleep(LOOK_SECONDS)


def known_address(checkout: Path, home: Path) -> tuple[str, str]:
    """(what the node of this home is to listen on, what others are to dial): its identity is made,
    and a port chosen that is free now."""
    told = ""
    for line in (command(home, "init"), command(home, "id", "--json")):
        done = subprocess.run(
            line, cwd=checkout, env=environment(checkout), capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"no identity could be made: {done.stderr}")
        told = done.stdout
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}"
    return address, f"{address}/p2p/{json.loads(told)['peer_id']}"


def in_one_place(source: Path, max_rounds: int) -> tuple[float, int]:
    """(test RMSE, test ratings) of training on the ratings in `source` and nothing else."""
    ratings = load_ratings(source)
    charter = rating_charter("central", scale=ratings.scale)
    task = MatrixFactorization.from_charter(charter, ratings, split_ratings(ratings))
    test = train_alone(task, np.random.default_rng(0), max_rounds=max_rounds).test
    return test.value, test.count


def pooled(values: Sequence[tuple[float, int]]) -> float:
    """RMSE over everybody from (rmse, count) of each."""
    return math.sqrt(sum(v * v * n for v, n in values) / sum(n for _, n in values))


def together(checkout: Path, source: Path, nodes: int, seed: int, goal: float) -> Measured:
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        homes = deal(source, nodes, seed, Path(folder))
        each_alone = [in_one_place(home / "ratings.csv", 30) for home in homes]
        alone, held_out = pooled(each_alone), [count for _, count in each_alone]
        listen, address = known_address(checkout, homes[0])
        running: list[Started] = []
        with ended_at_the_end(running):
            running.append(start(checkout, homes[0], "--listen", listen))
            running += [start(checkout, home, "--bootstrap", address) for home in homes[1:]]
            began = running[0].began

            def error() -> float:
                values = [node.state.get("test") for node in running]
                told = [(v, n) for v, n in zip(values, held_out, strict=True) if v is not None]
                return pooled(told) if len(told) == nodes else math.inf

            def better_than_alone() -> bool:
                together = all(len(node.state.get("members", ())) == nodes for node in running)
                return together and error() < alone

            until(running, better_than_alone, "a useful group", tested=True)
            useful = time.time() - began
            burnt = [node.burnt for node in running]
            until(running, lambda: error() <= goal, "a good group", tested=True)
            good = time.time() - began
            everybody = lambda: all(n.count("member-joined") >= nodes - 1 for n in running)  # noqa: E731
            until(running, everybody, "everybody's arrival")

            def latest(kind: str, nth: int = 1) -> float:
                times = [[e["time"] for e in n.events if e["event"] == kind] for n in running]
                return max(of_one[nth - 1] for of_one in times) - began

            return {
                "everybody listens, s": latest("listening"),
                "everybody has joined, s": latest("joined"),
                "everybody knows everybody, s": latest("member-joined", nodes - 1),
                "all are useful, s": useful,
                "processor seconds a node until then": statistics.mean(burnt),
                "within 1 % of central, s": good,
            }


def late(checkout: Path, source: Path, seed: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        homes = deal(source, LATE_BESIDE + 1, seed, Path(folder))
        listen, address = known_address(checkout, homes[0])
        running: list[Started] = []
        with ended_at_the_end(running):
            running.append(start(checkout, homes[0], "--listen", listen))
            until(running, lambda: running[0].first("listening") is not None, "listening")
            running += [start(checkout, home, "--bootstrap", address) for home in homes[1:-1]]
            settled = lambda: all(n.count("round") >= SETTLED_ROUNDS for n in running)  # noqa: E731
            until(running, settled, "ten rounds of everybody")
            newcomer = start(checkout, homes[-1], "--bootstrap", address)
            running.append(newcomer)
            until([newcomer], lambda: newcomer.first("joined") is not None, "joining")
            useful = useful_after(newcomer)
            burnt = newcomer.burnt
            return {
                "listens, s": newcomer.first("listening") or math.nan,
                "has joined, s": newcomer.first("joined") or math.nan,
                "useful, s": useful,
                "processor seconds until then": burnt,
            }


def useful_after(node: Started) -> float:
    """Seconds from its start until a node that has joined knows what its group's model is worth."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        node.look()
        told = node.first("useful")
        if told is not None:
            return told
        asked, state = time.time(), node.ask()
        if state is not None and state["validation"] is not None:
            told = node.first("useful")
            return asked - node.began if told is None else told
        time.sleep(ASK_SECONDS)
    raise SystemExit("the newcomer never knew what its group's model is worth")


def warm(checkout: Path, source: Path) -> None:
    """Nobody is to pay for compiling the sources, or for reading them from a cold disk."""
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        running = [start(checkout, deal(source, 16, 0, Path(folder))[0])]
        with ended_at_the_end(running):
            until(running, lambda: running[0].count("round") > 0, "a round")


def show(label: str, repeats: list[Measured]) -> None:
    for name in repeats[0]:
        values = sorted(each[name] for each in repeats)
        spread = " ".join(f"{value:.2f}" for value in values)
        print(f"{label}: {name}: {statistics.median(values):.2f} ({spread})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--beside", type=Path, default=None)
    parser.add_argument("--only", choices=("together", "late"), nargs="+", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()
    source = options.data or ml100k_csv()
    only = options.only or ("together", "late")
    checkouts = {"this version": HERE}
    if options.beside is not None:
        checkouts["beside"] = options.beside.resolve()

    goal = NEAR * in_one_place(source, 60)[0]
    runs: dict[str, Callable[[Path, int], Measured]] = {}
    if "together" in only:
        for nodes in options.nodes:
            runs[f"{nodes} together"] = lambda checkout, seed, nodes=nodes: together(
                checkout, source, nodes, seed, goal
            )
    if "late" in only:
        runs["late"] = lambda checkout, seed: late(checkout, source, seed)
    for checkout in checkouts.values():
        warm(checkout, source)
    measured: dict[str, list[Measured]] = {}
    for label, run in runs.items():
        for seed in range(options.seed, options.seed + options.repeats):
            for name, checkout in checkouts.items():
                measured.setdefault(f"{label}, {name}", []).append(run(checkout, seed))
        for name in checkouts:
            show(f"{label}, {name}", measured[f"{label}, {name}"])
    if options.json is not None:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
