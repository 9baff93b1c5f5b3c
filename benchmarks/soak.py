"""A long run under churn: does anything leak?

Real `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user. Every 20 s one of
the churning nodes is stopped or killed by SIGKILL (in turns), and started again from its disk. The
others run through. What they hold is told before and after, both times with everybody back, as the
least over some time, for what is under way comes and goes: memory, threads, open files and TCP
connections as the system counts them; tasks, connections to peers and libp2p streams as the nodes
do themselves (`openfl-node status --json`). Two nodes that dial each other at once keep both
connections, each with tasks, streams and a file of its own; so these are compared with what as many
connections took before. Exit code 1 when anything grew by more than a tenth (and by more than two,
where it is a count), or there are more than two connections a peer.

    python benchmarks/soak.py [--nodes 8] [--minutes 30] [--interval 2] [--stable 4] [--warm-up 4]
"""

from __future__ import annotations

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
from _ml100k import ml100k_csv
from processes import deal, start, wait_for

CHURN_SECONDS = 20.0
SAMPLES = 40
"""One a second."""
MAY_GROW = 1.1
COUNTS_MAY_GROW = 2.0
NAMES = ("MB", "threads", "files", "TCP connections", "tasks", "connections", "streams")
OF_CONNECTIONS = ("files", "TCP connections", "tasks", "streams")


def sizes(home: Path, process: psutil.Process) -> list[float]:
    """What a node holds now, in the order of NAMES."""
    state = wait_for(home, lambda s: s["resources"] is not None, "an answer")
    return [
        process.memory_info().rss / 1e6,
        process.num_threads(),
        process.num_fds(),
        len(process.net_connections(kind="tcp")),
        state["resources"]["tasks"],
        state["resources"]["connections"],
        state["resources"]["streams"],
    ]


def at_rest(homes: list[Path], stable: Mapping[Path, psutil.Process]) -> np.ndarray:
    """float[stable nodes, names], with everybody there."""
    for home in homes:
        wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's return")
    samples = []
    for _ in range(SAMPLES):
        time.sleep(1.0)
        samples.append([sizes(home, process) for home, process in stable.items()])
    return np.min(np.array(samples), axis=0)


def tell(label: str, found: np.ndarray) -> None:
    means = zip(NAMES, found.mean(axis=0), strict=True)
    print(f"{label}: " + ", ".join(f"{name} {mean:.1f}" for name, mean in means), flush=True)


def growth(before: np.ndarray, after: np.ndarray, peers: int) -> list[str]:
    """A line for each thing of which the nodes, taken together, hold more than they should."""
    first = dict(zip(NAMES, before.mean(axis=0), strict=True))
    last = dict(zip(NAMES, after.mean(axis=0), strict=True))
    lines = []
    if last["connections"] > 2 * peers:
        lines.append(f"GREW: connections to {last['connections']:.1f}, with {peers} peers")
    for name in NAMES:
        if name == "connections":
            continue
        due = first[name]
        if name in OF_CONNECTIONS:
            due *= max(1.0, last["connections"] / first["connections"])
        if last[name] > MAY_GROW * due and (name == "MB" or last[name] > due + COUNTS_MAY_GROW):
            lines.append(f"GREW: {name} from {first[name]:.1f} to {last[name]:.1f}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--stable", type=int, default=4, help="nodes that run through")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--warm-up", type=float, default=4.0, help="minutes of these")
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    options = parser.parse_args()
    options.rounds = 0
    running: dict[Path, subprocess.Popen[str]] = {}
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        homes = deal(ml100k_csv(), options.nodes, 0, Path(folder))
        try:
            running[homes[0]] = start(homes[0], options, None)
            first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
            for home in homes[1:]:
                running[home] = start(home, options, first["multiaddrs"][0])
            for home in homes:
                wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's arrival")
            stable = {h: psutil.Process(running[h].pid) for h in homes[: options.stable]}
            churning = itertools.cycle(homes[options.stable :])
            ways = itertools.cycle([signal.SIGTERM, signal.SIGKILL])
            began, restarts, before = time.monotonic(), 0, None
            while (passed := time.monotonic() - began) < 60 * options.minutes:
                if before is None and passed >= 60 * options.warm_up:
                    before = at_rest(homes, stable)
                    tell(f"after a warm-up of {options.warm_up:g} minutes", before)
                time.sleep(CHURN_SECONDS)
                home, way = next(churning), next(ways)
                running[home].send_signal(way)
                running[home].wait(timeout=30)
                running[home] = start(home, options, None)
                restarts += 1
                if restarts % 15 == 0:
                    now = np.array([sizes(home, process) for home, process in stable.items()])
                    tell(f"after {(time.monotonic() - began) / 60:.0f} minutes", now)
            time.sleep(CHURN_SECONDS)
            after = at_rest(homes, stable)
            tell(f"at the end, after {restarts} restarts", after)
        finally:
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            for process in running.values():
                process.wait(timeout=30)
    if before is None:
        print("too short to tell: nothing was measured before")
        return 1
    grown = (after / before - 1)[:, 0]
    print(
        f"memory grew by {100 * grown.mean():+.1f} % on average, {100 * grown.max():+.1f} % at most"
    )
    leaks = growth(before, after, len(homes) - 1)
    print("\n".join(leaks) or "nothing grew")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
