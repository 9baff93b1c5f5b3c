"""Hostile members: what each attack costs the honest ones, by aggregation rule.

MovieLens 100K dealt out by user over 25 simulated nodes, of which 5 attack; or, with --kind
classification, made-up examples of four classes, 240 a node, in other shares at each, for the
linear model of that kind; with --kind torch the same examples for a neural network of one hidden
layer (needs PyTorch: make torch). One line for each rule and attack: the honest members' pooled
held-out error (RMSE, or log loss) against a run of the honest alone (same nodes, same seeds), and
how often members were left out, in parts of member-rounds.

    python benchmarks/robust.py [--rules screened-mean,mean] [--seeds 5] [--attacks sign-flip,alie]
        [--kind rating|classification|torch] [--nodes 25] [--rounds 12] [--jobs 2]
"""

from __future__ import annotations

import argparse
import itertools
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from _ml100k import ml100k_csv

from openfl.config import Config
from openfl.core.contribution import Charter, Evaluation
from openfl.learning.classification.examples import Labelled, split_examples
from openfl.learning.workload import TaskWorkload, Workload
from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.engine import Engine
from openfl.simulation.population import population_of
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import charter_of, make_members
from openfl.simulation.scenario import (
    DataSection,
    MembersSection,
    NetworkSection,
    RunSection,
    Scenario,
    TrainingSection,
)

LATE_ROUND = 7
ATTACKS = {
    "none": MembersSection(),
    "sign-flip": MembersSection(attack="sign-flip"),
    "sign-flip-x10": MembersSection(attack="sign-flip-x10"),
    "noise": MembersSection(attack="noise"),
    "nan": MembersSection(attack="nan"),
    "label-flip": MembersSection(attack="label-flip"),
    "inflated-evidence": MembersSection(attack="inflated-evidence"),
    "alie": MembersSection(attack="alie"),
    "late-sign-flip": MembersSection(attack="sign-flip", attack_from_round=LATE_ROUND),
}
HONEST_ONLY = "honest-only"
RATING, CLASSIFICATION, TORCH = KINDS_ATTACKED = ("rating", "classification", "torch")
HIDDEN = 16
EXAMPLES, USERS, FEATURES, PRIOR = 240, 8, 12, 10.0
"""Of a node that classifies: its examples, of so many users, their features, and the charter's
prior, which is strong enough for the model not to get worse with time."""


@dataclass(frozen=True)
class Job:
    rule: str
    attack: str
    seed: int
    nodes: int
    rounds: int
    hostile: float
    data: Path | None
    kind: str = RATING


@dataclass(frozen=True)
class Result:
    """error: of honest members at the end. wrong, right: parts of honest and of hostile
    member-rounds that honest members left out."""

    error: float
    wrong: float
    right: float
    seconds: float


def dataset_of(job: Job) -> Dataset:
    if job.kind == RATING:
        return ratings(job.data)
    made_up = examples(job.nodes, job.seed)
    return for_a_network(made_up) if job.kind == TORCH else made_up


@cache
def ratings(path: Path | None) -> Dataset:
    source = str(path or ml100k_csv())
    return load_dataset(Scenario(data=DataSection(source=source)), lambda: ml100k_csv().parent)


def examples(nodes: int, seed: int) -> Dataset:
    """Made up; a different draw for each seed."""
    data = DataSection(
        kind=CLASSIFICATION,
        source="synthetic",
        users=USERS * nodes,
        items=FEATURES,
        ratings_per_user=EXAMPLES // USERS,
    )
    scenario = Scenario(run=RunSection(seed=seed), data=data, of_kind={"task.weight_prior": PRIOR})
    return load_dataset(scenario, lambda: ml100k_csv().parent)


def for_a_network(dataset: Dataset) -> Dataset:
    """The same examples, which nodes learn by a neural network."""
    import torch

    from openfl.learning.torch.charter import torch_charter, torch_problem
    from openfl.learning.torch.model import TorchModel
    from openfl.learning.torch.task import TorchTask

    classes: tuple[str, ...] = dataset.data.classes

    def module() -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Linear(FEATURES, HIDDEN),
            torch.nn.ReLU(),
            torch.nn.Linear(HIDDEN, len(classes)),
        )

    network = TorchModel("robust", module)

    def workload(config: Config, data: Labelled) -> Workload:
        inputs = torch.tensor(data.values, dtype=torch.float32)
        targets = torch.tensor([classes.index(data.classes[n]) for n in data.label_index])
        how = config.data
        split = split_examples(data, how.validation_fraction, how.test_fraction, how.split_seed)

        def task(joined: Charter) -> TorchTask:
            return TorchTask.from_charter(joined, network, inputs, targets, split)

        return TaskWorkload(torch_charter("robust", network), task, torch_problem)

    return replace(dataset, kind=replace(dataset.kind, workload=workload))


def run(job: Job) -> Result:
    alone = job.attack in (HONEST_ONLY, "none")
    members = ATTACKS["sign-flip" if alone else job.attack]
    scenario = Scenario(
        name="robust",
        run=RunSection(nodes=job.nodes, rounds=job.rounds, seed=job.seed),
        network=NetworkSection(wire="once"),
        training=TrainingSection(rule=job.rule),
        members=replace(members, hostile_fraction=0.0 if job.attack == "none" else job.hostile),
    )
    population = population_of(scenario, dataset_of(job))
    charters = [charter_of(scenario, population)] * job.nodes
    everybody = make_members(scenario, population, charters)
    if job.attack == HONEST_ONLY:
        everybody = [member for member in everybody if member.honest]
        for number, member in enumerate(everybody):
            member.index = number
        scenario = replace(scenario, run=replace(scenario.run, nodes=len(everybody)))
    hostile = {member.peer_id for member in everybody if not member.honest}
    judgements: list[tuple[int, int]] = []

    def note(record: RoundRecord) -> None:
        for member in everybody:
            if member.honest and member.session is not None:
                out = member.session.left_out.keys()
                judgements.append((len(out - hostile), len(out & hostile)))

    central = {m.index: Evaluation("rmse", 1.0, 0.0, 1) for m in everybody}  # not looked at
    engine = Engine(scenario, everybody, central, note)
    began = time.process_time()
    engine.run()
    wrong, right = np.array(judgements).sum(0)
    rounds = len(judgements)
    return Result(
        engine.records[-1].test.pooled,
        wrong / (rounds * max(1, len(everybody) - len(hostile) - 1)),
        right / (rounds * max(1, len(hostile))),
        time.process_time() - began,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rules", default="screened-mean,mean")
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--hostile", type=float, default=0.2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--kind", choices=KINDS_ATTACKED, default=RATING)
    options = parser.parse_args()
    rules, attacks = options.rules.split(","), options.attacks.split(",")

    def job(rule: str, attack: str, seed: int) -> Job:
        return Job(
            rule,
            attack,
            seed,
            options.nodes,
            options.rounds,
            options.hostile,
            options.data,
            options.kind,
        )

    seeds = range(options.seeds)
    # What everybody is measured against: the plain mean, among honest members only.
    jobs = [job("mean", HONEST_ONLY, s) for s in seeds]
    if "none" in attacks:
        jobs += [job("mean", "none", s) for s in seeds]
    jobs += [
        job(r, a, s)
        for r, a, s in itertools.product(rules, attacks, seeds)
        if (r, a) != ("mean", "none")
    ]
    print(
        f"{'rule':14} {'attack':18} {'error':>7} {'vs honest alone, %: mean':>25} {'worst':>7}"
        f" {'wrongly out':>12} {'hostile out':>12} {'CPU s':>8}"
    )
    results: dict[Job, Result] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for done, result in zip(jobs, pool.map(run, jobs), strict=True):
            results[done] = result
            group = [replace(done, seed=s) for s in seeds]
            if done.attack != HONEST_ONLY and all(one in results for one in group):
                base = "none" if done.attack == "none" else HONEST_ONLY
                bases = [results[job("mean", base, s)].error for s in seeds]
                tell(done, [results[one] for one in group], bases)


def tell(job: Job, found: list[Result], bases: list[float]) -> None:
    """One line; `bases`: what each result is compared with."""
    changes = [100 * (result.error / base - 1) for result, base in zip(found, bases, strict=True)]
    error, wrong, right, seconds = (
        float(np.mean([getattr(result, name) for result in found]))
        for name in ("error", "wrong", "right", "seconds")
    )
    print(
        f"{job.rule:14} {job.attack:18} {error:7.4f} {np.mean(changes):+25.2f}"
        f" {max(changes):+7.2f} {wrong:12.2%} {right:12.2%} {seconds:8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
