"""One measurement of one decentralized learner: N processes on 127.0.0.1 learn MovieLens 100K,
dealt out by user. Run by `run.py`, confined; writes its figures as JSON to `--result`.

    time      from the last start until the pooled held-out (validation) RMSE of everybody's latest
              model is within 1 % of the same task trained in one place, on the same split
    cost      processor time of a node's processes, and bytes over loopback with their headers and
              acknowledgements, a node and round, when everybody has done three rounds
    SIGKILL   of all processes of one member, at a random moment of a round: the longest time
              between two rounds of a survivor, and whether all survivors went on while watched
"""

# ruff: noqa: E402 (what is imported lies in the folders above)
from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
sys.path.insert(0, str(HERE.parent.parent))

import numpy as np
import processes
from confined import end_tree, loopback_bytes, loopback_up, processor_seconds
from dense import write_job
from figures import Round, Sample, at, parted, reached, read_rounds, settled, waited
from systems import Hivemind, NotStarted, OpenFL, P2pfl, System

from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

WITHIN = 1.01
FACTORS = 8
SAMPLE_SECONDS = 0.25
ROUNDS_AFTER_KILL = 3


class Watch:
    """Samples what all processes together have used and sent, in a thread."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.samples: list[Sample] = []
        self._pids = pids
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            used, sent = processor_seconds(self._pids), loopback_bytes()
            self.samples.append(Sample(time.time(), used, sent))
            self._over.wait(SAMPLE_SECONDS)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def central_validation(ratings: Ratings) -> float:
    """The best held-out RMSE of the same task in one place."""
    charter = rating_charter("central", scale=ratings.scale, factors=FACTORS)
    task = MatrixFactorization.from_charter(charter, ratings, split_ratings(ratings))
    return train_alone(task, np.random.default_rng(0), max_rounds=60).validation.value


def rounds_of(system: System, homes: list[Path]) -> list[Round]:
    found = []
    for node, home in enumerate(homes):
        journal = home / system.journal
        if journal.exists():
            found += read_rounds(journal.read_text(errors="replace").splitlines(), node)
    return found


def last_words(home: Path) -> str:
    lines = (home / "out.log").read_text(errors="replace").strip().splitlines()
    return (lines or ["it said nothing"])[-1][-200:]


class Measurement:
    """From the first start to the last kill."""

    def __init__(self, system: System, homes: list[Path], options: argparse.Namespace) -> None:
        self.system, self.homes, self.options = system, homes, options
        self.running: list[subprocess.Popen[str]] = []
        self.figures: dict[str, Any] = {}

    def run(self, counts: list[int], limit: float) -> None:
        options, nodes = self.options, len(self.homes)
        try:
            self.running = self.system.start_all(self.homes)
        except NotStarted as error:
            self.figures["status"] = f"failed: {error}; {last_words(self.homes[0])}"
            return
        started = time.time()
        watch = Watch([process.pid for process in self.running])
        try:
            self._until_enough(counts, limit, started + options.give_up)
            watch.stop()
            rounds = rounds_of(self.system, self.homes)
            when = reached(rounds, counts, limit)
            done = [sum(r.node == n for r in rounds) for n in range(nodes)]
            cost = None if parted(done) else settled(rounds, watch.samples, nodes)
            self.figures |= {
                "seconds": None if when is None else when - started,
                "processor_until_then": None if when is None else at(watch.samples, when)[0],
                "rounds_done": done,
                "milliseconds_a_round": None if cost is None else cost.milliseconds,
                "kilobytes_a_round": None if cost is None else cost.kilobytes,
                "seconds_a_round": None if cost is None else cost.seconds,
                "status": self._status(when, done),
            }
            if options.kill and not parted(done):
                # What it does depends on what the member was doing: a random moment of a round.
                length = self.figures["seconds_a_round"] or options.interval
                time.sleep(np.random.default_rng(options.seed).uniform(0, length))
                self.figures["kill"] = self._kill()
        finally:
            watch.stop()

    def _until_enough(self, counts: list[int], limit: float, deadline: float) -> None:
        nodes = len(self.homes)
        while time.time() < deadline:
            time.sleep(0.5)
            if all(process.poll() is not None for process in self.running):
                return
            rounds = rounds_of(self.system, self.homes)
            done = [sum(r.node == n for r in rounds) for n in range(nodes)]
            if min(done) >= self.options.rounds and reached(rounds, counts, limit) is not None:
                return

    def _status(self, when: float | None, done: list[int]) -> str:
        nodes = len(self.homes)
        crashed = [n for n in range(nodes) if self.running[n].poll() is not None]
        if crashed:
            code = self.running[crashed[0]].returncode
            words = last_words(self.homes[crashed[0]])
            return f"{len(crashed)} of {nodes} ended by themselves (exit code {code}): {words}"
        if when is not None:
            apart = f"some learned alone: {min(done)} to {max(done)} rounds done"
            return apart if parted(done) else "ok"
        some = sum(count > 0 for count in done)
        return (
            f"not within 1 % after {self.options.give_up:.0f} s: {some} of {nodes} nodes did a"
            f" round, the fewest {min(done)}, the most {max(done)}"
        )

    def _kill(self) -> dict[str, Any] | None:
        victim, nodes = len(self.homes) - 1, len(self.homes)
        survivors = list(range(victim))
        if not any(r.node in survivors for r in rounds_of(self.system, self.homes)):
            return None
        end_tree(self.running[victim].pid)
        killed = time.time()
        deadline = killed + self.options.kill_give_up
        while time.time() < deadline:
            time.sleep(0.5)
            rounds = rounds_of(self.system, self.homes)
            after = [sum(r.node == n and r.time > killed for r in rounds) for n in range(nodes)]
            if min(after[:victim]) >= ROUNDS_AFTER_KILL:
                break
        rounds = rounds_of(self.system, self.homes)
        seen = waited(rounds, survivors, killed, time.time(), ROUNDS_AFTER_KILL)
        return {
            "longest": seen.longest,
            "usual": seen.usual if math.isfinite(seen.usual) else None,
            "everybody": seen.everybody,
        }

    def end(self) -> None:
        for process in self.running:
            end_tree(process.pid)
            process.wait(timeout=10)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--system", choices=("openfl", "p2pfl", "hivemind"), required=True)
    parser.add_argument("--python", type=Path, default=None)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--central", type=float, required=True)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--interval", type=float, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--give-up", type=float, required=True)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--kill-give-up", type=float, required=True)
    options = parser.parse_args()
    loopback_up()
    with tempfile.TemporaryDirectory(prefix="openfl-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ratings = load_ratings(options.data)
        homes = processes.deal(options.data, options.nodes, options.seed, folder)
        parts = [load_ratings(home / "ratings.csv") for home in homes]
        counts = [len(split_ratings(part).validation) for part in parts]
        job = folder / "job.json"
        write_job(job, ratings.songs, ratings.scale, FACTORS)
        system: System
        match options.system:
            case "openfl":
                system = OpenFL(options.interval)
            case "p2pfl":
                system = P2pfl(options.python, job)
            case _:
                system = Hivemind(options.python, job, options.interval)
        measurement = Measurement(system, homes, options)
        try:
            measurement.run(counts, WITHIN * options.central)
        finally:
            measurement.end()
    options.result.write_text(json.dumps(measurement.figures))


if __name__ == "__main__":
    main()
