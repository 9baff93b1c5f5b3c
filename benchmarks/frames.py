"""What a settled node does on the wire each round, and what it costs its processor.

N `openfl-node start` processes on 127.0.0.1, MovieLens 100K dealt out by user, a round a second.
After they have settled, what each does in a while is counted and divided by the rounds it did in
that time: processor time of the process, calls of the system for TCP, frames of Yamux by kind
("flags": those that open or close a stream), signatures, and what its statistics tell. Faults that
were counted since the start are listed: all nodes together.

    python benchmarks/frames.py [--nodes 8] [--seconds 20] [--interval 1] [--settle 15] [--profile]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from _ml100k import ml100k_csv
from processes import GROUP, deal, wait_for

ARRIVAL_SECONDS = 60.0


def start(home: Path, options: argparse.Namespace, bootstrap: str | None) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENFL_NETWORK")}
    environment |= {
        "OPENFL_NETWORK_HOST": "127.0.0.1",
        "OPENFL_TRAINING_INTERVAL_SECONDS": str(options.interval),
        "OPENFL_TRAINING_WAIT_FOR_MEMBERS": str(options.nodes),
        "OPENBLAS_NUM_THREADS": "1",
    }
    if "PYTHONPATH" in environment:  # the nodes run in other folders
        paths = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, paths))
    if options.profile:
        environment["BENCH_PROFILE"] = "1"
    if options.crashes:
        environment["BENCH_CRASHES"] = "1"
    wrapper = str(Path(__file__).with_name("_counted_node.py").resolve())
    command = [sys.executable, wrapper, "start", "--home", str(home), "--no-view"]
    command += ["--data", str(home / "ratings.csv"), "--group", GROUP, "--rounds", "0"]
    command += ["--log-format", "json"]
    if bootstrap:
        command += ["--bootstrap", bootstrap]
    log = (home / "out.log").open("w", encoding="utf-8")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True, cwd=home)


def counts_of(process: subprocess.Popen[str], home: Path) -> Counter[str]:
    """What it has counted since its start; those of its statistics among it."""
    path = home / "counts.json"
    path.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR2)
    state = wait_for(home, lambda s: path.exists(), "its counts")
    counts = Counter(json.loads(path.read_text()))
    times = psutil.Process(process.pid).cpu_times()
    counts["cpu-ms"] = round(1000 * (times.user + times.system))
    counts["round"] = state["round"]
    for name, value in numbers(state).items():
        counts[name] = round(value)
    return counts


def numbers(state: Mapping[str, Any]) -> dict[str, float]:
    """The statistics of its network, and what was published."""
    names = ("bytes_sent", "bytes_received", "gossip_sent", "gossip_received", "published_bytes")
    return {name: state[name] for name in names if name in state}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=15.0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--profile", action="store_true", help="of the second node, to stdout")
    parser.add_argument("--crashes", action="store_true", help="of stream handlers, to stdout")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the homes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        run(options, options.keep or Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    homes = deal(ml100k_csv(), options.nodes, 0, folder)
    running: list[subprocess.Popen[str]] = []
    try:
        running.append(start(homes[0], options, None))
        first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
        running += [start(home, options, first["multiaddrs"][0]) for home in homes[1:]]
        for home in homes:
            wait_for(home, lambda s: len(s["members"]) == len(homes), "everybody's arrival")
        time.sleep(options.settle)
        before = [counts_of(*pair) for pair in zip(running, homes, strict=True)]
        if options.profile:
            running[1].send_signal(signal.SIGRTMIN)
        time.sleep(options.seconds)
        if options.profile:
            running[1].send_signal(signal.SIGRTMIN)
            wait_for(homes[1], lambda s: (homes[1] / "profile.txt").exists(), "its profile")
        after = [counts_of(*pair) for pair in zip(running, homes, strict=True)]
        states = [wait_for(home, lambda s: True, "an answer") for home in homes]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=30)
    measured = range(2, len(homes)) if options.profile else range(len(homes))
    differences = [after[n] - before[n] for n in measured]
    rounds = [d["round"] for d in differences]
    print(f"{options.nodes} nodes, {np.mean(rounds):.1f} rounds each; a node and round:")
    for name in sorted(set().union(*differences) - {"round"}):
        each = [d[name] / max(1, d["round"]) for d in differences]
        print(f"  {name:24} {np.mean(each):10.1f}  (least {min(each):.1f}, most {max(each):.1f})")
    print("  until then, a node:")
    for name in sorted(set().union(*before)):
        if name.startswith(("stream", "frames", "cpu")):
            print(f"    {name:30} {np.mean([b[name] for b in before]):8.1f}")
    members = sorted({len(state["members"]) for state in states})
    faults: Counter[str] = Counter()
    for state in states:
        faults.update(state.get("faults", {}))
    print(f"  members counted: {members}; faults since the start: {dict(faults)}", flush=True)
    if options.crashes:
        for home in homes:
            text = (home / "out.log").read_text()
            print("".join(f"== {home.name}: {part}" for part in text.split("crash: ")[1:]))
    if options.profile:
        print((homes[1] / "profile.txt").read_text())


if __name__ == "__main__":
    main()
