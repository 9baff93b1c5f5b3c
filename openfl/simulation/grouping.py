"""Several groups at the beginning of a run, and what came of them at its end."""

from __future__ import annotations

from collections import Counter

import numpy as np

from openfl.core.contribution import Charter
from openfl.simulation.central import References
from openfl.simulation.communities import assign, purity
from openfl.simulation.engine import Engine
from openfl.simulation.population import Population
from openfl.simulation.records import Grouping
from openfl.simulation.scenario import Scenario
from openfl.simulation.switch_driver import SimulatedSwitching


def first_charters(scenario: Scenario, population: Population) -> list[Charter]:
    """The charter of each node's first group."""
    groups, rng = scenario.groups, np.random.default_rng([scenario.run.seed, 13])
    communities = [population.community_of(node) for node in range(len(population))]
    numbers = assign(groups.assignment, groups.count, communities, rng)
    charters = {n: population.found(_first_name(scenario, n + 1)) for n in sorted(set(numbers))}
    return [charters[n] for n in numbers]


def _first_name(scenario: Scenario, number: int) -> str:
    """The name of the first group of that number, from 1."""
    return f"{scenario.name[:56] or 'simulation'}-{number}"


def grouping_of(
    engine: Engine, driver: SimulatedSwitching, population: Population, found: References
) -> Grouping:
    """What came of the groups of a run that is over."""
    last = engine.records[-1]
    present = engine.state.present()
    honest = [member for member in present if member.honest]
    sizes = Counter(member.charter.name for member in present)
    return Grouping(
        mean=last.test.mean,
        oracle=found.oracle,
        together=found.together,
        random=found.random,
        purity=purity(
            [member.charter.group_id for member in honest],
            [population.community_of(member.index) for member in honest],
        ),
        moves=len(engine.state.moves),
        founded=sum(spent.founded for spent in driver.spent),
        last_move=max((number for number, *_ in engine.state.moves), default=None),
        sizes=dict(sorted(sizes.items())),
        directory_bytes=last.directory_bytes,
        probe_bytes=last.probe_bytes,
    )
