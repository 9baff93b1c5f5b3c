"""A long run under churn: does anything leak?

Real `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user. Every 20 s one of
the churning nodes is stopped or killed by SIGKILL (in turns), and started again from its disk. The
others run through; their memory, threads and open files are told before and after.

    python benchmarks/soak.py [--nodes 8] [--minutes 30] [--interval 2] [--stable 4]
"""

from __future__ import annotations

import argparse
import itertools
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from _ml100k import ml100k_csv
from processes import deal, start, wait_for

CHURN_SECONDS = 20.0
WARM_UP_SECONDS = 240.0


def sizes(processes: list[psutil.Process]) -> np.ndarray:
    """float[nodes, 4]: resident MB, threads, open files, connections."""
    return np.array(
        [
            [
                process.memory_info().rss / 1e6,
                process.num_threads(),
                process.num_fds(),
                len(process.net_connections(kind="tcp")),
            ]
            for process in processes
        ]
    )


def tell(label: str, found: np.ndarray) -> None:
    names = ("MB", "threads", "files", "connections")
    print(
        f"{label}: " + ", ".join(f"{n} {m:.1f}" for n, m in zip(names, found.mean(0), strict=True)),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--stable", type=int, default=4, help="nodes that run through")
    parser.add_argument("--minutes", type=float, default=30.0)
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
            stable = [psutil.Process(running[home].pid) for home in homes[: options.stable]]
            churning = itertools.cycle(homes[options.stable :])
            ways = itertools.cycle([signal.SIGTERM, signal.SIGKILL])
            began = time.monotonic()
            warm: np.ndarray | None = None
            for number in itertools.count(1):
                time.sleep(CHURN_SECONDS)
                home, way = next(churning), next(ways)
                running[home].send_signal(way)
                running[home].wait(timeout=30)
                running[home] = start(home, options, None)
                passed = time.monotonic() - began
                found = sizes(stable)
                if warm is None and passed >= WARM_UP_SECONDS:
                    warm = found
                    tell("after warm-up", warm)
                if number % 15 == 0:
                    tell(f"after {passed / 60:.0f} minutes, {number} restarts", found)
                if passed >= 60 * options.minutes:
                    break
            time.sleep(CHURN_SECONDS)
            for home in homes:
                wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's return")
            after = sizes(stable)
            tell("at the end", after)
            if warm is not None:
                print(f"memory grew by {100 * (after / warm - 1)[:, 0].mean():+.1f} % on average")
                print(f"memory grew by at most {100 * (after / warm - 1)[:, 0].max():+.1f} %")
        finally:
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            for process in running.values():
                process.wait(timeout=30)


if __name__ == "__main__":
    main()
