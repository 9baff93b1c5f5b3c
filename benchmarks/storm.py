"""A storm of kills: every node of a group dies by SIGKILL at random moments, again and again.

Real `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user. First a run in
peace, then one of the same number of rounds' time and more in which a random node is killed at a
random moment and started again from its disk. Afterwards nobody may have a torn state or another
identity, everybody must be back in the group, and the error must be that of the peaceful run.

    python benchmarks/storm.py [--nodes 8] [--kills 200] [--interval 1] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _ml100k import ml100k_csv
from processes import deal, held_out, pooled, start, wait_for

from openfl.learning.factorization.ratings import load_ratings

SETTLE_ROUNDS = 20
DOWN_SECONDS = (0.0, 3.0)
BETWEEN_KILLS = (0.1, 2.0)
TORN = ("state-damaged", "state-refused", "data-changed", "not-saved")


class Group:
    """The nodes' processes; events of all their lives are counted from their logs."""

    def __init__(self, homes: list[Path], options: argparse.Namespace) -> None:
        self.homes, self._options = homes, options
        self.processes: dict[Path, subprocess.Popen[str]] = {}
        self.events: Counter[str] = Counter()
        self.lines: list[str] = []

    def start(self, home: Path, bootstrap: str | None) -> None:
        self.processes[home] = start(home, self._options, bootstrap)

    def kill(self, home: Path) -> None:
        process = self.processes.pop(home)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.read(home)

    def read(self, home: Path) -> None:
        """Count what the log of a life that is over tells."""
        for line in (home / "out.log").read_text().splitlines():
            if line.startswith("{"):
                event = json.loads(line)
                self.events[event["event"]] += 1
                if event["event"] in TORN:
                    self.lines.append(line)
            else:
                self.events["not-a-line-of-json"] += 1
                self.lines.append(line)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for home, process in self.processes.items():
            process.wait(timeout=30)
            self.read(home)
        self.processes.clear()


def run(
    homes: list[Path], options: argparse.Namespace, kills: int, rng: np.random.Generator
) -> tuple[Group, list[Mapping[str, Any]], float]:
    """(the group after it was stopped, last snapshots, longest wait for everybody's return)."""
    group = Group(homes, options)
    try:
        group.start(homes[0], None)
        first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
        for home in homes[1:]:
            group.start(home, first["multiaddrs"][0])
        for home in homes:
            wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's arrival")
        for number in range(kills):
            time.sleep(rng.uniform(*BETWEEN_KILLS))
            home = homes[int(rng.integers(len(homes)))]
            group.kill(home)
            time.sleep(rng.uniform(*DOWN_SECONDS))
            group.start(home, None)  # from what it remembers
            if (number + 1) % 25 == 0:
                print(f"  {number + 1} kills", flush=True)
        began = time.monotonic()
        for home in homes:
            wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's return")
        back = time.monotonic() - began
        time.sleep(SETTLE_ROUNDS * options.interval)
        states = [wait_for(home, lambda s: s["test"] is not None, "a result") for home in homes]
    finally:
        group.stop()
    return group, states, back


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.rounds = 0
    rng = np.random.default_rng(options.seed)
    errors = {}
    for label, kills in (("peace", 0), ("storm", options.kills)):
        with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
            homes = deal(ml100k_csv(), options.nodes, options.seed, Path(folder))
            counts = [held_out(load_ratings(home / "ratings.csv")) for home in homes]
            identities: dict[Path, str] = {}
            began = time.monotonic()
            group, states, back = run(homes, options, kills, rng)
            for home, state in zip(homes, states, strict=True):
                identities[home] = state["peer_id"]
            known = {m["peer_id"] for state in states for m in state["members"]}
        errors[label] = pooled([(s["test"], n) for s, n in zip(states, counts, strict=True)])
        print(f"{label}: {kills} kills of {options.nodes} nodes, {time.monotonic() - began:.0f} s")
        print(f"{label}: torn states: {sum(group.events[kind] for kind in TORN)}")
        print(f"{label}: lines that are no events: {group.events['not-a-line-of-json']}")
        print(f"{label}: identities: {len(set(identities.values()) | known)} (of {len(homes)})")
        print(f"{label}: everybody back after the last start: {back:.1f} s")
        print(f"{label}: held-out RMSE: {errors[label]:.4f}", flush=True)
        for line in group.lines[:10]:
            print("   ", line[:300])
    print(f"storm against peace: {100 * (errors['storm'] / errors['peace'] - 1):+.2f} %")


if __name__ == "__main__":
    main()
