"""Two members to whom everything looks different than to the ten others of their group."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openfl.simulation.dataset import load_dataset
from openfl.simulation.population import Population, sharded
from openfl.simulation.run import simulate
from openfl.simulation.scenario import (
    DataSection,
    NetworkSection,
    RunSection,
    Scenario,
    TrainingSection,
)

MANY, FEW = 10, 2
ROUNDS = 12


def scenario_of(seed: int, nodes: int, rule: str = "screened-mean") -> Scenario:
    return Scenario(
        run=RunSection(nodes=nodes, rounds=ROUNDS, seed=seed),
        data=DataSection(
            kind="classification",
            source="communities",
            communities=2,
            users=2 * MANY,
            items=12,
            ratings_per_user=80,
        ),
        network=NetworkSection(wire="once"),
        training=TrainingSection(rule=rule),
        of_kind={"task.weight_prior": 4.0},
    )


def population_of(scenario: Scenario, many: int) -> Population:
    """`many` nodes of one community and `FEW` of the other, one user each."""
    dataset = load_dataset(scenario, lambda: Path())
    community = dataset.known_communities()
    owner = np.full(len(dataset.users), -1, dtype=np.int64)
    owner[np.flatnonzero(community == 0)[:many]] = np.arange(many)
    owner[np.flatnonzero(community == 1)[:FEW]] = many + np.arange(FEW)
    return sharded(dataset, owner)


def losses_of_the_few(seed: int, many: int, rule: str = "screened-mean") -> list[float]:
    scenario = scenario_of(seed, many + FEW, rule)
    members = simulate(scenario, population_of(scenario, many)).engine.members[-FEW:]
    return [m.task.evaluate(m.running.model(), "test").value for m in members]


def test_two_among_ten_others_do_as_well_as_in_a_group_of_their_own() -> None:
    seed = 0
    among_others = np.mean(losses_of_the_few(seed, MANY))
    of_their_own = np.mean(losses_of_the_few(seed, 0))
    by_the_mean = np.mean(losses_of_the_few(seed, MANY, "mean"))
    assert among_others < 1.15 * of_their_own
    assert among_others < 0.8 * by_the_mean
