"""Many real nodes on one machine: what is received again, what it costs, and who keeps up.

Starts N `openfl-node start` processes on 127.0.0.1, each with some users of MovieLens 100K, and
asks each for its state every now and then, until `--seconds` after the last was started. Told are:

- seconds from the last start until the held-out error of all is within 1 % of central training;
- amplification: bytes received by all / ((N - 1) x bytes of the deltas published by all), in the
  settled part (the last `--settled` seconds);
- CPU a node and round, KB sent a node and round, rounds a second, in the settled part;
- in time: of all pairs of members, the share in which one knew, at the latest one round's interval
  after another had published a round, that very round or a later one; and the same for 5 s;
- members: the smallest number of present members that any node told after it had once counted N.

With `--beside DIRECTORY`, another checkout runs in turn with this one, so that both are measured
on the same machine in the same state.

    python benchmarks/many_nodes.py [--nodes 8] [--interval 1] [--repeats 3] [--beside ../before]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from _ml100k import ml100k_csv
from processes import central, deal, held_out, pooled, snapshot, start, wait_for

from openfl.learning.factorization.ratings import load_ratings

WITHIN = 1.01
"""Of central training's error: near enough."""
POLL_SECONDS = 0.5
SETTLED_POLL_SECONDS = 2.0
"""To answer costs a node some milliseconds of what is measured."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Poll:
    """All nodes at one moment. known[i][peer]: the round of `peer` that node i knows of. rmse: over
    all users' held-out ratings; None while some node has none."""

    at: float
    rounds: tuple[int, ...]
    known: tuple[Mapping[str, int], ...]
    members: tuple[int, ...]
    received: int
    sent: int
    published: int
    cpu: float
    rmse: float | None


@dataclass(frozen=True)
class Result:
    """What one run came to; see the module's text. Times in seconds, sizes in KB of 1,000 bytes."""

    near_central: float | None
    rmse: float
    against_central: float
    amplification: float
    cpu_ms: float
    sent_kb: float
    published_kb: float
    rounds_a_second: float
    in_time: float
    in_five_seconds: float
    fewest_members: int
    longest_interval: float
    faults: Mapping[str, int]
    events: Mapping[str, int]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def poll(
    homes: Sequence[Path], running: Sequence[Popen[str]], counts: Sequence[int]
) -> Poll | None:
    """None as long as some node does not answer."""
    at = time.monotonic()
    states = [snapshot(home) for home in homes]
    if not all(states):
        return None
    told: list[Mapping[str, Any]] = [state for state in states if state]
    tests = [state["test"] for state in told]
    return Poll(
        at,
        tuple(state["round"] for state in told),
        tuple({m["peer_id"]: m["round"] for m in state["members"]} for state in told),
        tuple(len(state["members"]) for state in told),
        sum(state["bytes_received"] for state in told),
        sum(state["bytes_sent"] for state in told),
        sum(state["published_bytes"] for state in told),
        sum(cpu_seconds(process.pid) for process in running),
        None if None in tests else pooled(list(zip(tests, counts, strict=True))),
    )


def in_time(polls: Sequence[Poll], peers: Sequence[str], interval: float) -> float:
    """The share of pairs that knew, in each poll, what had been published an interval before."""
    met = asked = 0
    for number, now in enumerate(polls):
        before = [p for p in polls[:number] if p.at <= now.at - interval]
        if not before:
            continue
        for known in now.known:
            for peer, round_before in zip(peers, before[-1].rounds, strict=True):
                asked += 1
                met += known.get(peer, -1) >= round_before
    return met / asked if asked else float("nan")


def fewest_members(polls: Sequence[Poll], nodes: int) -> int:
    """Of those told by any node after it had counted all; 0 when some node never did."""
    fewest = nodes
    for index in range(nodes):
        counts = [p.members[index] for p in polls]
        if nodes not in counts:
            return 0
        fewest = min(fewest, *counts[counts.index(nodes) :])
    return fewest


def run(options: argparse.Namespace, checkout: Path, reference: float, seed: int) -> Result:
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = f"{checkout}{os.pathsep}{checkout / 'cli'}"
    os.environ["PYTHONSAFEPATH"] = "1"  # or the current folder would come first
    try:
        with tempfile.TemporaryDirectory(prefix="openfl-many-") as folder:
            return measure(options, reference, seed, Path(folder))
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(options: argparse.Namespace, reference: float, seed: int, folder: Path) -> Result:
    homes = deal(options.data, options.nodes, seed, folder)
    counts = [held_out(load_ratings(home / "ratings.csv")) for home in homes]
    running: list[Popen[str]] = []
    polls: list[Poll] = []
    try:
        running.append(start(homes[0], options, None, wait_for_members=1))
        first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
        bootstrap = first["multiaddrs"][0]
        running += [start(home, options, bootstrap, wait_for_members=1) for home in homes[1:]]
        started = time.monotonic()
        while time.monotonic() < started + options.seconds:
            seen = poll(homes, running, counts)
            if seen is not None:
                polls.append(seen)
            settling = time.monotonic() < started + options.seconds - options.settled
            time.sleep(POLL_SECONDS if settling else SETTLED_POLL_SECONDS)
        states = [wait_for(home, lambda s: True, "an answer") for home in homes]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=60)
    peers = [state["peer_id"] for state in states]
    settled = [p for p in polls if p.at >= started + options.seconds - options.settled]
    begin, end = settled[0], settled[-1]
    rounds = sum(end.rounds) - sum(begin.rounds) or float("nan")
    published = end.published - begin.published or float("nan")
    near = [p.at for p in polls if p.rmse is not None and p.rmse <= WITHIN * reference]
    rmse = pooled([(state["test"], n) for state, n in zip(states, counts, strict=True)])
    faults: Counter[str] = Counter()
    for state in states:
        faults.update(state["faults"])
    return Result(
        near_central=near[0] - started if near else None,
        rmse=rmse,
        against_central=100 * (rmse / reference - 1),
        amplification=(end.received - begin.received) / ((options.nodes - 1) * published),
        cpu_ms=1000 * (end.cpu - begin.cpu) / rounds,
        sent_kb=(end.sent - begin.sent) / rounds / 1000,
        published_kb=published / rounds / 1000,
        rounds_a_second=rounds / (end.at - begin.at) / options.nodes,
        in_time=in_time(settled, peers, options.interval),
        in_five_seconds=in_time(settled, peers, 5.0),
        fewest_members=fewest_members(polls, options.nodes),
        longest_interval=(end.at - begin.at)
        / max(1, min(b - a for a, b in zip(begin.rounds, end.rounds, strict=True))),
        faults=faults,
        events=told_of(homes),
    )


def told_of(homes: Sequence[Path]) -> Mapping[str, int]:
    """Warnings and errors of all nodes, by kind, and what they said of their interval."""
    kinds: Counter[str] = Counter()
    for home in homes:
        for line in (home / "out.log").read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                kinds["(no event)"] += 1
                continue
            if event["level"] in ("warning", "error") or "interval" in event["event"]:
                kinds[event["event"]] += 1
    return kinds


def median(values: Sequence[float | None]) -> str:
    """The median, with the smallest and the largest; what never happened is the largest."""
    numbers = sorted(float("inf") if v is None else v for v in values)
    return f"{statistics.median(numbers):.2f} ({numbers[0]:.2f} to {numbers[-1]:.2f})"


def show(name: str, results: Sequence[Result]) -> None:
    print(f"{name}:")
    for field in (
        "near_central",
        "against_central",
        "amplification",
        "cpu_ms",
        "sent_kb",
        "published_kb",
        "rounds_a_second",
        "longest_interval",
        "in_time",
        "in_five_seconds",
        "fewest_members",
    ):
        print(f"  {field}: {median([getattr(result, field) for result in results])}")
    for what in ("faults", "events"):
        total: Counter[str] = Counter()
        for result in results:
            total.update(getattr(result, what))
        print(f"  {what}: {dict(total.most_common())}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--settled", type=float, default=15.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--beside", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()
    options.data = options.data or ml100k_csv()
    options.rounds = 0

    reference = central(load_ratings(options.data))
    here = Path(__file__).resolve().parent.parent
    checkouts = {"this": here}
    if options.beside is not None:
        checkouts["beside"] = options.beside.resolve()
    results: dict[str, list[Result]] = {name: [] for name in checkouts}
    for seed in range(options.seed, options.seed + options.repeats):
        for name, checkout in checkouts.items():
            result = run(options, checkout, reference, seed)
            results[name].append(result)
            print(f"{name}, seed {seed}: {asdict(result)}", file=sys.stderr, flush=True)
    print(f"{options.nodes} nodes, interval {options.interval:g} s, {options.repeats} times")
    print(f"median (smallest to largest); central RMSE {reference:.4f}")
    for name, found in results.items():
        show(name, found)
    if options.json is not None:
        plain = {name: [asdict(result) for result in found] for name, found in results.items()}
        options.json.write_text(json.dumps(plain, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
