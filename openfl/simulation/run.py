"""`simulate`: a scenario from its data to its summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openfl.core.contribution import Charter, Contribution, Evaluation
from openfl.core.errors import DataError
from openfl.learning.central import train_alone
from openfl.learning.factorization.ratings import (
    EMPTY_CATALOGUE,
    Catalogue,
    Ratings,
    load_catalogue,
    load_ratings,
)
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings
from openfl.network.base import Sealer
from openfl.simulation.attacks import ATTACKS, flip_labels
from openfl.simulation.communities import Tastes, community_ratings
from openfl.simulation.dealing import deal, only, synthetic_ratings
from openfl.simulation.engine import Engine
from openfl.simulation.grouping import first_charters, grouping_of, references, tastes_of_nodes
from openfl.simulation.groups_world import GroupsWorld, TaskOf
from openfl.simulation.medium import FullMedium
from openfl.simulation.member import Hostility, SimulatedMember
from openfl.simulation.records import Fits, Grouping, RoundRecord, Summary
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import COMMUNITIES, MUSIC, SYNTHETIC
from openfl.simulation.sealing import StandInSealer
from openfl.simulation.shared_medium import SharedMedium

CENTRAL_ROUNDS = 60
WITHIN = 0.01

SealerOf = Callable[[int, int], Sealer]
"""(seed, number) -> the identity of a node."""


@dataclass(frozen=True)
class Crowd:
    """Everybody's ratings, and what the items are called."""

    ratings: Ratings
    catalogue: Catalogue = EMPTY_CATALOGUE
    tastes: Tastes | None = None
    """int64[users]: the community of each user of made-up communities."""


@dataclass(frozen=True)
class Central:
    """pooled: RMSE over all honest nodes' ratings, by split. by_node: on the test ratings of each
    honest node, by index."""

    pooled: dict[str, float]
    by_node: dict[int, Evaluation]


@dataclass(frozen=True)
class Outcome:
    """What is left of a run: its summary, a record a round, and the engine with all members."""

    summary: Summary
    records: tuple[RoundRecord, ...]
    engine: Engine


def load_crowd(scenario: Scenario, sample_folder: Callable[[], Path]) -> Crowd:
    """The data a scenario asks for; DataError when it cannot be used."""
    source = scenario.data.source
    if source == SYNTHETIC:
        return Crowd(synthetic_ratings(scenario.data, scenario.run.seed))
    if source == COMMUNITIES:
        ratings, tastes = community_ratings(scenario.data, scenario.run.seed)
        return Crowd(ratings, tastes=tastes)
    path = sample_folder() / "ratings.csv" if source == MUSIC else Path(source)
    beside = path.parent / "songs.csv"
    skip = scenario.data.skip_bad_rows
    catalogue = load_catalogue(beside, skip) if beside.exists() else EMPTY_CATALOGUE
    return Crowd(load_ratings(path, scenario.data.rating_scale, skip), catalogue)


def simulate(
    scenario: Scenario,
    crowd: Crowd,
    on_record: Callable[[RoundRecord], None] = lambda record: None,
    sealer_of: SealerOf = StandInSealer,
) -> Outcome:
    """Run it. DataError when the data does not suffice for so many nodes."""
    charter = charter_of(scenario, crowd.ratings)
    hands = deal(
        crowd.ratings,
        crowd.catalogue,
        scenario.data,
        scenario.run.nodes,
        scenario.run.seed,
        crowd.tastes,
    )
    grouping: Grouping | None = None
    if scenario.groups.several:
        tastes = tastes_of_nodes(crowd.ratings, crowd.catalogue, crowd.tastes, hands)
        charters = first_charters(
            scenario, lambda name: charter_of(scenario, crowd.ratings, name), tastes
        )
        members = make_members(scenario, charter, hands, sealer_of, charters)
        central = train_centrally(scenario, charter, crowd.ratings, hands, members)
        others = references(scenario, crowd.ratings, hands, members, tastes)
        driver = GroupsWorld(
            lambda name: charter_of(scenario, crowd.ratings, name),
            task_maker(scenario, members),
            tastes,
        )
        engine = Engine(scenario, members, central.by_node, on_record, driver=driver)
        engine.run()
        grouping = grouping_of(engine, driver, others)
    else:
        members = make_members(scenario, charter, hands, sealer_of)
        central = train_centrally(scenario, charter, crowd.ratings, hands, members)
        medium = SharedMedium if scenario.run.engine == "shared" else FullMedium
        engine = Engine(scenario, members, central.by_node, on_record, medium)
        engine.run()
    summary = replace(summary_of(scenario, engine, central.pooled), grouping=grouping)
    return Outcome(summary, tuple(engine.records), engine)


def charter_of(scenario: Scenario, ratings: Ratings, name: str = "") -> Charter:
    """Of the scenario's one group, or of the group `name`."""
    task = scenario.task
    return rating_charter(
        name or scenario.name[:64] or "simulation",
        scale=ratings.scale,
        factors=task.factors,
        damping=task.damping,
        prior=task.prior,
        prior_per_evidence=task.prior_per_evidence,
        bias_prior=task.bias_prior,
        seed=task.seed,
    )


def make_members(
    scenario: Scenario,
    charter: Charter,
    hands: list[Ratings],
    sealer_of: SealerOf,
    charters: Sequence[Charter] = (),
) -> list[SimulatedMember]:
    """The nodes; stragglers and attackers are drawn among them. charters: that of each node, when
    they are not all in the group of `charter`."""
    section, seed, nodes = scenario.members, scenario.run.seed, len(hands)
    rng = np.random.default_rng([seed, 7])
    slow = set(rng.permutation(nodes)[: round(section.straggler_fraction * nodes)].tolist())
    bad = set(rng.permutation(nodes)[: round(section.hostile_fraction * nodes)].tolist())
    kind = ATTACKS[section.attack]
    colluders: dict[int, Contribution] = {}
    members = []
    for index, hand in enumerate(hands):
        hostility = None
        if index in bad:
            hostility = Hostility(
                kind,
                section.attack_strength or kind.strength,
                section.attack_from_round,
                colluders,
                np.random.default_rng([seed, 8, index]),
            )
        data = flip_labels(hand) if hostility is not None and kind.flips_labels else hand
        task = MatrixFactorization.from_charter(
            charters[index] if charters else charter,
            data,
            split_ratings(data),
            scenario.training.min_row_evidence,
        )
        members.append(
            SimulatedMember(
                index,
                sealer_of(seed, index),
                task,
                straggler=index in slow,
                hostility=hostility,
            )
        )
    return members


def task_maker(scenario: Scenario, members: Sequence[SimulatedMember]) -> TaskOf:
    """Makes the task of a node, on its own data, in any group."""
    data = []
    for member in members:
        assert isinstance(member.task, MatrixFactorization)
        data.append((member.task.ratings, split_ratings(member.task.ratings)))

    def task_of(index: int, charter: Charter) -> MatrixFactorization:
        ratings, split = data[index]
        return MatrixFactorization.from_charter(
            charter, ratings, split, scenario.training.min_row_evidence
        )

    return task_of


def train_centrally(
    scenario: Scenario,
    charter: Charter,
    ratings: Ratings,
    hands: list[Ratings],
    members: list[SimulatedMember],
) -> Central:
    """The same task trained in one place on all honest nodes' data."""
    honest = [hand for hand, member in zip(hands, members, strict=True) if member.honest]
    names = {user for hand in honest for user in hand.users}
    if not names:
        raise DataError("no honest node has data")
    everything = only(ratings, np.array([user in names for user in ratings.users]))
    task = MatrixFactorization.from_charter(charter, everything, split_ratings(everything))
    model = train_alone(task, np.random.default_rng(0), max_rounds=CENTRAL_ROUNDS).model
    judges = {member.index: member.task for member in members if member.honest}
    by_node = {index: judge.evaluate(model, "test") for index, judge in judges.items()}
    validation = Fits.of([judge.evaluate(model) for judge in judges.values()])
    test = Fits.of(list(by_node.values()))
    return Central({"validation": validation.pooled, "test": test.pooled}, by_node)


def summary_of(scenario: Scenario, engine: Engine, central: dict[str, float]) -> Summary:
    """Of a run that is over. central: metric by split, of training in one place."""
    last = engine.records[-1]
    within = next((r for r in engine.records if r.against_central <= WITHIN), None)
    return Summary(
        scenario=scenario.name,
        seed=scenario.run.seed,
        nodes=scenario.run.nodes,
        engine=scenario.run.engine,
        wire=scenario.network.wire,
        rounds=scenario.run.rounds,
        central=central,
        final=last.test.pooled,
        against_central=last.against_central,
        first_within=within.round if within else None,
        published_until=within.published_bytes if within else None,
        published_bytes=last.published_bytes,
        deliveries=engine.state.deliveries,
        faults=engine.state.refused_by_name(),
        trace=engine.trace,
    )
