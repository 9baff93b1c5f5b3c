"""The same task over real processes and in one place: MovieLens 100K split by user over N nodes.

Starts N `openfl-node start` processes on 127.0.0.1 (only the first one's address is given to the
others), lets each train some rounds, and compares the held-out error over all users with that of
the same task trained centrally on the same split.

    python benchmarks/processes.py [--nodes 8] [--rounds 6] [--interval 2] [--row-fraction 0.5]
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _ml100k import ml100k_csv

from openfl.control import call
from openfl.errors import NotRunningError
from openfl.learning.central import train_alone
from openfl.learning.matrix_factorization import MatrixFactorization
from openfl.learning.rating_charter import rating_charter
from openfl.learning.ratings import Ratings, load_ratings
from openfl.learning.splitting import split_ratings

GIVE_UP_SECONDS = 90.0


def deal(source: Path, nodes: int, seed: int, folder: Path) -> list[Path]:
    """One home a node, with its users' ratings in it."""
    with source.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    users = sorted({row[0] for row in rows})
    np.random.default_rng(seed).shuffle(users)
    owner = {user: n % nodes for n, user in enumerate(users)}
    homes = []
    for n in range(nodes):
        home = folder / f"node-{n + 1}"
        home.mkdir()
        with (home / "ratings.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            writer.writerows(row for row in rows if owner[row[0]] == n)
        homes.append(home)
    return homes


def start(
    home: Path, options: argparse.Namespace, bootstrap: str | None, *, train: bool = True
) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENFL_")}
    environment |= {
        "OPENFL_NETWORK_HOST": "127.0.0.1",
        "OPENFL_TRAINING_AUTO_START": "true" if train else "false",
        "OPENFL_TRAINING_WHEN_DONE": "serve",
        "OPENFL_TRAINING_WAIT_FOR_MEMBERS": str(options.nodes),
        "OPENFL_TRAINING_INTERVAL_SECONDS": str(options.interval),
        "OPENFL_GOSSIP_ROW_FRACTION": str(options.row_fraction),
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "openfl_cli", "start", "--home", str(home), "--no-view"]
    command += ["--data", str(home / "ratings.csv"), "--group", "ml-100k"]
    command += ["--rounds", str(options.rounds), "--log-format", "json"]
    if bootstrap:
        command += ["--bootstrap", bootstrap]
    log = (home / "out.log").open("w", encoding="utf-8")
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)


def snapshot(home: Path) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = call(home, "snapshot", timeout_seconds=5.0)
    except NotRunningError:
        return None
    return answer


def wait_for(home: Path, condition: Any, what: str) -> Mapping[str, Any]:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        state = snapshot(home)
        if state is not None and condition(state):
            return state
        time.sleep(0.2)
    tail = (home / "out.log").read_text()[-2000:]
    raise SystemExit(f"{home.name}: {what} did not happen; its last output:\n{tail}")


def pooled(values: list[tuple[float, int]]) -> float:
    """RMSE over everybody from (rmse, count) of each."""
    return math.sqrt(sum(v * v * n for v, n in values) / sum(n for _, n in values))


def held_out(ratings: Ratings) -> int:
    return len(split_ratings(ratings).test)


def central(ratings: Ratings) -> float:
    charter = rating_charter("central", scale=ratings.scale)
    task = MatrixFactorization.from_charter(charter, ratings, split_ratings(ratings))
    return train_alone(task, np.random.default_rng(0), max_rounds=60).test.value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()

    source = options.data or ml100k_csv()
    reference = central(load_ratings(source))
    with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
        homes = deal(source, options.nodes, options.seed, Path(folder))
        counts = [held_out(load_ratings(home / "ratings.csv")) for home in homes]
        running: list[subprocess.Popen[str]] = []
        began = time.monotonic()
        try:
            running.append(start(homes[0], options, None))
            first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
            running += [start(home, options, first["multiaddrs"][0]) for home in homes[1:]]
            for home in homes:
                wait_for(home, lambda s: s["phase"] == "done", "the last round")
            time.sleep(2 * options.interval)  # the last deltas arrive, the model is evaluated
            states = [wait_for(home, lambda s: True, "an answer") for home in homes]
            seconds = time.monotonic() - began
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait(timeout=20)
    together = pooled([(s["test"], n) for s, n in zip(states, counts, strict=True)])
    alone = pooled([(s["alone_test"], n) for s, n in zip(states, counts, strict=True)])
    print(f"nodes {options.nodes}, rounds {options.rounds}, {seconds:.0f} s in all")
    print(f"held-out RMSE: central {reference:.4f}, together {together:.4f}, alone {alone:.4f}")
    print(f"together against central: {100 * (together / reference - 1):+.2f} %")
    published = [s["published_bytes"] for s in states]
    sent = [s["bytes_sent"] for s in states]
    print(
        f"published a node: {np.mean(published) / 1000:.1f} KB (most {max(published) / 1000:.1f})"
    )
    print(f"sent a node, all traffic: {np.mean(sent) / 1000:.0f} KB")
    print(json.dumps({"central": reference, "together": together, "alone": alone}))


if __name__ == "__main__":
    main()
