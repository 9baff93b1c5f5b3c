"""What a node costs its machine: memory, processor, open files; idle, and in a busy group.

Real `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user. Idle: one node
that does not train, and two that know each other and do not train. Busy: a group in which everybody
does a round a second. Processor time is the processes' own, so other work on the machine does not
count; memory is what is resident at the end.

    python benchmarks/footprint.py [--nodes 8] [--seconds 60] [--interval 1]
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from _ml100k import ml100k_csv
from processes import deal, start, wait_for

SETTLE_SECONDS = 15.0


def measure(label: str, homes: list[Path], options: argparse.Namespace, train: bool) -> None:
    running: list[subprocess.Popen[str]] = []
    try:
        running.append(start(homes[0], options, None, train=train))
        first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
        running += [start(home, options, first["multiaddrs"][0], train=train) for home in homes[1:]]
        for home in homes:
            wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's arrival")
        time.sleep(SETTLE_SECONDS)
        processes = [psutil.Process(process.pid) for process in running]
        before = [process.cpu_times() for process in processes]
        began = time.monotonic()
        time.sleep(options.seconds)
        seconds = time.monotonic() - began
        after = [process.cpu_times() for process in processes]
        core = [
            100 * (b.user + b.system - a.user - a.system) / seconds
            for a, b in zip(before, after, strict=True)
        ]
        rss = [process.memory_info().rss / 1e6 for process in processes]
        files = [process.num_fds() for process in processes]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=20)
    print(f"{label}: memory, MB: {np.mean(rss):.1f} (most {max(rss):.1f})")
    print(f"{label}: % of a core: {np.mean(core):.1f} (most {max(core):.1f})")
    print(f"{label}: open files: {np.mean(files):.0f} (most {max(files)})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--only", choices=("alone", "two", "busy"), default=None)
    options = parser.parse_args()
    options.rounds = 0
    for label, nodes, train in (("alone", 1, False), ("two", 2, False), ("busy", None, True)):
        if options.only not in (None, label):
            continue
        options_nodes, options.nodes = options.nodes, nodes or options.nodes
        with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
            homes = deal(ml100k_csv(), max(8, options.nodes), 0, Path(folder))[: options.nodes]
            name = f"{options.nodes} nodes, a round every {options.interval:g} s"
            measure(name if train else f"{options.nodes} idle", homes, options, train)
        options.nodes = options_nodes


if __name__ == "__main__":
    main()
