"""A simulated node that ends and starts again where it was, with other data."""

from __future__ import annotations

from openfl.learning.workload import Workload
from openfl.node.group_finder import MAX_ASKED
from openfl.simulation.engine import Engine
from openfl.simulation.member import SimulatedMember
from openfl.simulation.population import Population
from openfl.simulation.switch_driver import SimulatedSwitching
from openfl.wire import messages as wire


def restart(
    engine: Engine,
    driver: SimulatedSwitching,
    population: Population,
    member: SimulatedMember,
    workload: Workload,
    community: int,
) -> None:
    """The population's workloads and communities must be lists: they change."""
    workloads, communities = population.workloads, population.communities
    assert isinstance(workloads, list)
    assert isinstance(communities, list)
    workloads[member.index] = workload
    communities[member.index] = community
    member.saved = engine.medium.saved(member)
    driver.ending(member)
    engine.end(member)
    member.task = workload.task(member.charter)
    engine.start(member)
    _ask_for_groups(engine, driver, member)


def _ask_for_groups(engine: Engine, driver: SimulatedSwitching, member: SimulatedMember) -> None:
    """A real node asks whom it is connected to at its start; the simulator leaves that out."""
    question = wire.encode_groups_request()
    knows = driver.nodes[member.index].cards
    there = [m for m in engine.members if m.alive and m.place == member.place]
    for other in [m for m in there if m is not member][:MAX_ASKED]:
        cards = driver.nodes[other.index].cards
        knows.answered(cards.answer(member.peer_id, question, engine.now), engine.now)
