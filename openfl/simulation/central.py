"""Training in one place: what the nodes of a run are measured against."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.core.contribution import Charter, Evaluation
from openfl.core.model_view import DenseModel
from openfl.learning.central import train_alone
from openfl.simulation.communities import assign
from openfl.simulation.member import SimulatedMember
from openfl.simulation.population import Population
from openfl.simulation.records import Fits
from openfl.simulation.scenario import Scenario

CENTRAL_ROUNDS = 60


@dataclass(frozen=True)
class Central:
    """pooled: the metric over all honest nodes' held-out data, by split. by_node: on the test data
    of each honest node, by index."""

    pooled: dict[str, float]
    by_node: dict[int, Evaluation]


@dataclass(frozen=True, slots=True)
class References:
    """Mean of the test metric over honest nodes by models trained centrally; see `Grouping`."""

    oracle: float
    together: float
    random: float


def train_centrally(
    population: Population, charter: Charter, members: Sequence[SimulatedMember]
) -> Central:
    """The same task trained in one place on all honest nodes' data."""
    honest = [member for member in members if member.honest]
    model = _trained(population, charter, [member.index for member in honest])
    by_node = {member.index: member.task.evaluate(model, "test") for member in honest}
    validation = Fits.of([member.task.evaluate(model) for member in honest])
    test = Fits.of(list(by_node.values()))
    return Central({"validation": validation.pooled, "test": test.pooled}, by_node)


def train_alone_each(
    population: Population, charter: Charter, members: Sequence[SimulatedMember]
) -> Fits:
    """How the honest nodes would do if each had its own data alone, trained in the same way."""
    return Fits.of(
        [
            member.task.evaluate(_trained(population, charter, [member.index]), "test")
            for member in members
            if member.honest
        ]
    )


def references(
    scenario: Scenario, population: Population, members: Sequence[SimulatedMember]
) -> References:
    """How well other groupings of the honest nodes would do."""
    honest = [member for member in members if member.honest]
    charter = members[0].charter
    own = [population.community_of(member.index) for member in honest]
    rng = np.random.default_rng([scenario.run.seed, 14])
    shuffled = assign("random", max(2, len(set(own))), own, rng)

    def mean_of(groups: Sequence[Hashable]) -> float:
        values = []
        for group in dict.fromkeys(groups):
            inside = [m for m, g in zip(honest, groups, strict=True) if g == group]
            model = _trained(population, charter, [member.index for member in inside])
            values += [member.task.evaluate(model, "test") for member in inside]
        return float(np.mean([value.value for value in values if value.count] or [np.nan]))

    return References(mean_of(own), mean_of([0] * len(own)), mean_of(shuffled))


def _trained(population: Population, charter: Charter, nodes: Collection[int]) -> DenseModel:
    task = population.central_task(nodes, charter)
    return train_alone(task, np.random.default_rng(0), max_rounds=CENTRAL_ROUNDS).model
