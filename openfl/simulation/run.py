"""`simulate`: a scenario and its population, from the first start to the summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openfl.core.contribution import Charter, Contribution
from openfl.core.errors import ConfigError
from openfl.network.base import Sealer
from openfl.simulation.attacks import ATTACKS
from openfl.simulation.central import references, train_alone_each, train_centrally
from openfl.simulation.dataset import load_dataset
from openfl.simulation.engine import Engine, MediumOf
from openfl.simulation.grouped_medium import GroupedMedium
from openfl.simulation.grouping import first_charters, grouping_of
from openfl.simulation.medium import FullMedium
from openfl.simulation.member import Hostility, SimulatedMember
from openfl.simulation.population import Population, population_of
from openfl.simulation.records import Fits, Grouping, RoundRecord, Summary
from openfl.simulation.scenario import Scenario
from openfl.simulation.sealing import StandInSealer
from openfl.simulation.shared_medium import SharedMedium
from openfl.simulation.switch_driver import SimulatedSwitching

WITHIN = 0.01

SealerOf = Callable[[int, int], Sealer]
"""(seed, number) -> the identity of a node."""


@dataclass(frozen=True)
class Outcome:
    """A run that is over. engine: as it was at the end. alone: how the honest nodes would do if
    each had its own data alone; None: that was not asked for."""

    summary: Summary
    records: tuple[RoundRecord, ...]
    engine: Engine
    alone: Fits | None = None


def load_population(scenario: Scenario, sample_folder: Callable[[], Path]) -> Population:
    """The nodes that a scenario asks for, with their data; DataError when it cannot be used or does
    not suffice for so many. sample_folder: where the sample data is."""
    return population_of(scenario, load_dataset(scenario, sample_folder))


def simulate(
    scenario: Scenario,
    population: Population,
    on_record: Callable[[RoundRecord], None] = lambda record: None,
    sealer_of: SealerOf = StandInSealer,
    alone: bool = False,
) -> Outcome:
    """Run it. alone: work out as well how each node would do alone. ConfigError when the population
    has not `run.nodes` nodes; DataError when nothing can be learned from its data."""
    if len(population) != scenario.run.nodes:
        raise ConfigError(
            f"run.nodes: is {scenario.run.nodes}, but the population has {len(population)} nodes"
        )
    grouping: Grouping | None = None
    if scenario.groups.several:
        charters = first_charters(scenario, population)
        members = make_members(scenario, population, charters, sealer_of)
        central = train_centrally(population, charter_of(scenario, population), members)
        others = references(scenario, population, members)
        driver = SimulatedSwitching(population)
        medium: MediumOf = GroupedMedium if scenario.run.engine == "shared" else FullMedium
        engine = Engine(scenario, members, central.by_node, on_record, medium, driver)
        engine.run()
        grouping = grouping_of(engine, driver, population, others)
    else:
        charter = charter_of(scenario, population)
        members = make_members(scenario, population, [charter] * len(population), sealer_of)
        central = train_centrally(population, charter, members)
        medium = SharedMedium if scenario.run.engine == "shared" else FullMedium
        engine = Engine(scenario, members, central.by_node, on_record, medium)
        engine.run()
    summary = replace(summary_of(scenario, engine, central.pooled), grouping=grouping)
    by_itself = train_alone_each(population, members[0].charter, members) if alone else None
    return Outcome(summary, tuple(engine.records), engine, by_itself)


def charter_of(scenario: Scenario, population: Population) -> Charter:
    """Of the scenario's one group."""
    return population.found(scenario.name[:64] or "simulation")


def make_members(
    scenario: Scenario,
    population: Population,
    charters: Sequence[Charter],
    sealer_of: SealerOf = StandInSealer,
) -> list[SimulatedMember]:
    """The nodes, each in the group of its charter; stragglers and attackers are drawn among them.
    ConfigError when the data is not such that the attack is possible."""
    section, seed, nodes = scenario.members, scenario.run.seed, len(population)
    rng = np.random.default_rng([seed, 7])
    slow = set(rng.permutation(nodes)[: round(section.straggler_fraction * nodes)].tolist())
    bad = set(rng.permutation(nodes)[: round(section.hostile_fraction * nodes)].tolist())
    kind = ATTACKS[section.attack]
    colluders: dict[int, Contribution] = {}
    members = []
    for index, charter in enumerate(charters):
        hostility = None
        if index in bad:
            hostility = Hostility(
                kind,
                section.attack_strength or kind.strength,
                section.attack_from_round,
                colluders,
                np.random.default_rng([seed, 8, index]),
            )
        flips = hostility is not None and kind.flips_labels
        workload = population.mislabelled(index) if flips else population.workloads[index]
        members.append(
            SimulatedMember(
                index,
                sealer_of(seed, index),
                workload.task(charter),
                straggler=index in slow,
                hostility=hostility,
            )
        )
    return members


def summary_of(scenario: Scenario, engine: Engine, central: dict[str, float]) -> Summary:
    """How a run that is over ended. central: the pooled metric of central training, by split."""
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
        metric=last.metric,
    )
