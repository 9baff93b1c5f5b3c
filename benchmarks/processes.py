"""Real processes against their simulation: MovieLens 100K by user over N nodes.

Starts N `openfl-node start` processes on 127.0.0.1 (only the first one's address is given to the
others) and lets each train some rounds. Then the very same deal of the data is simulated: the same
charter, settings and number of rounds of each node. Both are compared with the same task trained
centrally on the same split, and with each other: held-out (test) RMSE over all users, and KB
published a node. Repetition n differs in the deal and in all that is random.

    python benchmarks/processes.py [--nodes 8] [--rounds 6] [--interval 2] [--repeats 1]
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _ml100k import ml100k_csv

from openfl.app.control_socket import call
from openfl.core.errors import NotRunningError
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings
from openfl.simulation.central import train_centrally
from openfl.simulation.dataset import load_dataset
from openfl.simulation.engine import Engine
from openfl.simulation.population import sharded
from openfl.simulation.run import charter_of, make_members
from openfl.simulation.scenario_file import parse_scenario

GIVE_UP_SECONDS = 120.0
GROUP = "ml-100k"


@dataclass(frozen=True)
class Ended:
    """rmse: over all users' test ratings. published: bytes a node, mean."""

    rmse: float
    published: float


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
    home: Path,
    options: argparse.Namespace,
    bootstrap: str | None,
    *,
    train: bool = True,
    wait_for_members: int | None = None,
) -> subprocess.Popen[str]:
    """Rounds begin once `wait_for_members` are there; by default all."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENFL_")}
    environment |= {
        "OPENFL_NETWORK_HOST": "127.0.0.1",
        "OPENFL_TRAINING_AUTO_START": "true" if train else "false",
        "OPENFL_TRAINING_WHEN_DONE": "serve",
        "OPENFL_TRAINING_WAIT_FOR_MEMBERS": str(wait_for_members or options.nodes),
        "OPENFL_TRAINING_INTERVAL_SECONDS": str(options.interval),
        "OPENFL_GOSSIP_ROW_FRACTION": str(options.row_fraction),
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "openfl_cli", "start", "--home", str(home), "--no-view"]
    command += ["--data", str(home / "ratings.csv"), "--group", GROUP]
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


def run_processes(options: argparse.Namespace, seed: int, folder: Path) -> tuple[Ended, list[Path]]:
    """What N processes reach, and the homes with the data they had."""
    homes = deal(options.data, options.nodes, seed, folder)
    counts = [held_out(load_ratings(home / "ratings.csv")) for home in homes]
    running: list[subprocess.Popen[str]] = []
    try:
        running.append(start(homes[0], options, None))
        first = wait_for(homes[0], lambda s: s["multiaddrs"], "listening")
        running += [start(home, options, first["multiaddrs"][0]) for home in homes[1:]]
        for home in homes:
            wait_for(home, lambda s: s["phase"] == "done", "the last round")
        time.sleep(2 * options.interval)  # the last deltas arrive, the model is evaluated
        states = [wait_for(home, lambda s: True, "an answer") for home in homes]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=20)
    together = pooled([(s["test"], n) for s, n in zip(states, counts, strict=True)])
    return Ended(together, float(np.mean([s["published_bytes"] for s in states]))), homes


def run_simulation(options: argparse.Namespace, seed: int, homes: list[Path]) -> Ended:
    """The same, simulated: every node has the ratings of one home."""
    scenario = parse_scenario(
        "",
        GROUP,
        overrides={
            "run.nodes": options.nodes,
            "run.rounds": options.rounds + 3,
            "run.seed": seed,
            "data.source": str(options.data),
            "training.interval_seconds": options.interval,
            "training.rounds": options.rounds,
            "training.row_fraction": options.row_fraction,
        },
    )
    dataset = load_dataset(scenario, lambda: homes[0])
    home_of = {
        user: number
        for number, home in enumerate(homes)
        for user in load_ratings(home / "ratings.csv").users
    }
    population = sharded(dataset, np.array([home_of.get(user, -1) for user in dataset.users]))
    charter = charter_of(scenario, population)
    members = make_members(scenario, population, [charter] * len(population))
    central = train_centrally(population, charter, members)
    engine = Engine(scenario, members, central.by_node)
    engine.run()
    rounds = {member.session.round for member in members if member.session is not None}
    if rounds != {options.rounds}:
        raise SystemExit(f"simulated nodes did {sorted(rounds)} rounds, not {options.rounds}")
    last = engine.records[-1]
    return Ended(last.test.pooled, last.published_bytes)


def show(name: str, values: list[float], form: str, unit: str) -> None:
    listed = " ".join(format(value, form) for value in values)
    worst = max(values, key=abs)
    several = f" (mean; each: {listed}; largest {worst:{form}})" if len(values) > 1 else ""
    print(f"{name}: {np.mean(values):{form}}{unit}{several}", flush=True)


def percent(value: float, reference: float) -> float:
    return 100 * (value / reference - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--row-fraction", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--data", type=Path, default=None)
    options = parser.parse_args()
    options.data = options.data or ml100k_csv()

    reference = central(load_ratings(options.data))
    real, simulated = [], []
    for seed in range(options.seed, options.seed + options.repeats):
        with tempfile.TemporaryDirectory(prefix="openfl-bench-") as folder:
            ended, homes = run_processes(options, seed, Path(folder))
            real.append(ended)
            simulated.append(run_simulation(options, seed, homes))
    pairs = list(zip(real, simulated, strict=True))
    print(f"{options.nodes} nodes, {options.rounds} rounds, {options.repeats} times")
    show("central RMSE", [reference], ".4f", "")
    show("processes, RMSE", [r.rmse for r in real], ".4f", "")
    show("simulation, RMSE", [s.rmse for s in simulated], ".4f", "")
    show("processes against central", [percent(r.rmse, reference) for r in real], "+.2f", " %")
    show(
        "simulation against central", [percent(s.rmse, reference) for s in simulated], "+.2f", " %"
    )
    show(
        "processes against simulation, RMSE",
        [percent(r.rmse, s.rmse) for r, s in pairs],
        "+.2f",
        " %",
    )
    show("processes, KB published a node", [r.published / 1000 for r in real], ".1f", "")
    show("simulation, KB published a node", [s.published / 1000 for s in simulated], ".1f", "")
    show(
        "processes against simulation, bytes",
        [percent(r.published, s.published) for r, s in pairs],
        "+.1f",
        " %",
    )


if __name__ == "__main__":
    main()
