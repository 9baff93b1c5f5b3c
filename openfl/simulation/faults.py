"""Fault injection: members join, leave, crash, return and are cut apart as a scenario says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.simulation.member import SimulatedMember, pick
from openfl.simulation.scenario import Fault


@dataclass(frozen=True, slots=True)
class FaultActions:
    """What can be done to one member. connect: to be called after members have changed sides."""

    start: Callable[[SimulatedMember], None]
    leave: Callable[[SimulatedMember], None]
    crash: Callable[[SimulatedMember], None]
    connect: Callable[[], None]


def inject(
    fault: Fault,
    members: Sequence[SimulatedMember],
    rng: np.random.Generator,
    actions: FaultActions,
) -> None:
    """Let `fault` happen to as many of the members as it says. Somebody is always left."""
    count = fault.how_many(len(members))
    most = min(count, sum(member.alive for member in members) - 1)
    match fault.what:
        case "join":
            for member in pick(members, count, lambda m: not m.was_there, rng):
                member.side = 0
                actions.start(member)
        case "return":
            for member in pick(members, count, lambda m: m.saved is not None, rng):
                actions.start(member)
        case "leave":
            for member in pick(members, most, lambda m: m.alive, rng):
                actions.leave(member)
        case "crash":
            for member in pick(members, most, lambda m: m.alive, rng):
                actions.crash(member)
        case "partition":
            order = rng.permutation(len(members))
            for place, index in enumerate(order):
                members[index].side = place * fault.parts // len(order)
            actions.connect()
        case "heal":
            for member in members:
                member.side = 0
            actions.connect()
