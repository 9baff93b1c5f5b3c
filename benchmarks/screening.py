"""What leaving members out costs, or gains, among honest people: real data, one group.

Each line: one set, so many people a node; the test metric of the default rule against that of the
plain mean on the same seeds (RMSE of ratings; 1 - NDCG@10 of plays), and how many members a node
leaves out, of all others, on average over the run's second half and at its end. With --tastes the
nodes are of two tastes: people are told apart by one half of each one's ratings, and nodes learn
from the other half, so that what tells them apart is nothing that they are judged by.

    python benchmarks/screening.py [--sets ml-100k,coat=PATH,plays:hetrec=PATH] [--people 1,3,10]
                                   [--nodes 50] [--rounds 30] [--seeds 5] [--tastes] [--json]
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv
from numpy.typing import NDArray

from openfl.core.contribution import Evaluation
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.song_data import SongData
from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.engine import Engine
from openfl.simulation.member import SimulatedMember
from openfl.simulation.population import Population, sharded
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import charter_of, make_members
from openfl.simulation.scenario import (
    DataSection,
    NetworkSection,
    RunSection,
    Scenario,
    TrainingSection,
)

ML100K = "ml-100k"
PLAYS = "plays:"
MIN_RATINGS = 20
"""Who has fewer (half of it where tastes are told by the other half) is nobody's: too little is
held out to measure anything."""
DIRECTIONS = 3
"""Of the people's ratings, by which tastes are told."""
LOSS = 0.1


@dataclass(frozen=True)
class Job:
    """One run. data: ML100K, "name=path", or "plays:name=path"."""

    data: str
    people: int
    nodes: int
    rounds: int
    seed: int
    rule: str
    tastes: bool

    @property
    def kind(self) -> str:
        """As `data.kind` of a scenario."""
        return "implicit" if self.data.startswith(PLAYS) else "rating"

    @property
    def path(self) -> Path:
        """The file of the set."""
        return ml100k_csv() if self.data == ML100K else Path(self.data.partition("=")[2])

    @property
    def name(self) -> str:
        """What the set is called."""
        return self.data.removeprefix(PLAYS).partition("=")[0]


@dataclass(frozen=True)
class Result:
    """fit: pooled over all nodes at the end. error: its standard error over people's nodes. out:
    part of the other members that a node leaves out, in the second half of the run. at_end: the
    same at the end. most: the largest part that one node leaves out at the end."""

    fit: float
    out: float
    at_end: float
    most: float


@cache
def dataset_of(kind: str, path: Path) -> Dataset:
    scenario = Scenario(data=DataSection(kind=kind, source=str(path)))
    return load_dataset(scenario, lambda: path.parent)


def population_of(job: Job) -> Population:
    """The nodes, each with `people` drawn by the seed."""
    dataset = dataset_of(job.kind, job.path)
    rng = np.random.default_rng([job.seed, 31])
    ratings: Ratings = dataset.data.ratings
    least = MIN_RATINGS * (2 if job.tastes else 1)
    counts = np.bincount(ratings.user_index, minlength=len(ratings.users))
    fit = rng.permutation(np.flatnonzero(counts >= least))
    needed = job.nodes * job.people
    if len(fit) < needed:
        raise SystemExit(f"{job.name}: {len(fit)} people are too few for {needed}")
    owner = np.full(len(ratings.users), -1, dtype=np.int64)
    if not job.tastes:
        owner[fit[:needed]] = np.arange(needed) // job.people
        return sharded(dataset, owner)
    first = rng.random(len(ratings)) < 0.5
    towards = np.sort(fit)
    side = leaning(ratings, first)
    order = towards[np.argsort(side[towards], kind="stable")]
    half = needed // 2
    ends = np.concatenate(
        (
            rng.permutation(order[: len(order) // 2])[:half],
            rng.permutation(order[len(order) // 2 :])[: needed - half],
        )
    )
    owner[ends] = np.arange(needed) // job.people
    data: SongData = dataset.data
    return sharded(replace(dataset, data=replace(data, ratings=taken(ratings, ~first))), owner)


def leaning(ratings: Ratings, some: NDArray[np.bool_]) -> NDArray[np.float64]:
    """float64[users]: where each stands along the main direction of tastes, by the ratings `some`
    without what their item and their user alone explain."""
    user, item = ratings.user_index[some], ratings.song_index[some]
    value = ratings.values[some].astype(np.float64)
    value -= value.mean()
    for index, size in ((item, len(ratings.songs)), (user, len(ratings.users))) * 2:
        count = np.bincount(index, minlength=size)
        value -= (np.bincount(index, value, minlength=size) / (count + 5))[index]
    table = np.zeros((len(ratings.users), len(ratings.songs)))
    table[user, item] = value
    left, size, _ = np.linalg.svd(table, full_matrices=False)
    of_user: NDArray[np.float64] = left[:, 0] * size[0]
    # How far one is out depends on how much one rated: by the square root, as noise does.
    counts = np.bincount(user, minlength=len(ratings.users))
    return of_user / np.sqrt(np.maximum(counts, 1))


def taken(ratings: Ratings, some: NDArray[np.bool_]) -> Ratings:
    """These ratings alone, of the same users and songs."""
    return replace(
        ratings,
        user_index=ratings.user_index[some],
        song_index=ratings.song_index[some],
        values=ratings.values[some],
    )


def run(job: Job) -> Result:
    population = population_of(job)
    scenario = Scenario(
        name="screening",
        run=RunSection(nodes=job.nodes, rounds=job.rounds, seed=job.seed),
        data=DataSection(kind=job.kind),
        network=NetworkSection(wire="once", loss=LOSS),
        training=TrainingSection(rule=job.rule),
    )
    charters = [charter_of(scenario, population)] * job.nodes
    everybody = make_members(scenario, population, charters)
    parts: list[list[float]] = []

    def note(record: RoundRecord) -> None:
        parts.append([part_left_out(member, job.nodes) for member in everybody])

    central = {m.index: Evaluation("", 1.0, 0.0, 1) for m in everybody}  # not looked at
    engine = Engine(scenario, everybody, central, note)
    engine.run()
    out = np.array(parts)
    return Result(
        engine.records[-1].test.pooled,
        float(out[len(out) // 2 :].mean()),
        float(out[-1].mean()),
        float(out[-1].max()),
    )


def part_left_out(member: SimulatedMember, nodes: int) -> float:
    return len(member.running.left_out) / (nodes - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sets", default=ML100K)
    parser.add_argument("--people", default="1,3,10")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rule", default="screened-mean")
    parser.add_argument("--tastes", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    lines = [
        Job(data, int(people), options.nodes, options.rounds, seed, rule, options.tastes)
        for data in options.sets.split(",")
        for people in options.people.split(",")
        for seed in seeds
        for rule in ("mean", options.rule)
    ]
    if not options.json:
        print(
            f"{'set':12} {'people':>6} {'mean':>7} {'screened, %: mean':>18} {'worst':>7}"
            f" {'left out':>9} {'at end':>7} {'most':>6}"
        )
    found: list[tuple[Job, Result]] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for job, result in zip(lines, pool.map(run, lines), strict=True):
            found.append((job, result))
            if len(found) == 2 * len(seeds):
                tell(found, options.json)
                found = []


def tell(found: list[tuple[Job, Result]], as_json: bool) -> None:
    """One line: a set and how many people are at a node."""
    base = np.array([result.fit for job, result in found if job.rule == "mean"])
    ruled = [result for job, result in found if job.rule != "mean"]
    change = 100 * (np.array([result.fit for result in ruled]) / base - 1)
    job = found[0][0]
    if as_json:
        print(json.dumps([{**asdict(job), **asdict(result)} for job, result in found]), flush=True)
        return
    print(
        f"{job.name + (', tastes' if job.tastes else ''):12} {job.people:6} {base.mean():7.4f}"
        f" {change.mean():+18.3f} {change.max():+7.3f}"
        f" {np.mean([r.out for r in ruled]):9.2%} {np.mean([r.at_end for r in ruled]):7.2%}"
        f" {max(r.most for r in ruled):6.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
