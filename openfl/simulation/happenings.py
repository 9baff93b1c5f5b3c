"""What a scenario lets happen to its members: they join, leave, crash, return, are cut apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from openfl.simulation.member import SimulatedMember, pick
from openfl.simulation.scenario import Happening


@dataclass(frozen=True, slots=True)
class Doings:
    """What can be done to one member. reconnect: after members have changed sides."""

    start: Callable[[SimulatedMember], None]
    leave: Callable[[SimulatedMember], None]
    crash: Callable[[SimulatedMember], None]
    reconnect: Callable[[], None]


def happen(
    event: Happening,
    members: Sequence[SimulatedMember],
    rng: np.random.Generator,
    do: Doings,
) -> None:
    """Let `event` happen to as many of the members as it says. Somebody is always left."""
    count = event.how_many(len(members))
    most = min(count, sum(member.alive for member in members) - 1)
    match event.what:
        case "join":
            for member in pick(members, count, lambda m: not m.was_there, rng):
                member.side = 0
                do.start(member)
        case "return":
            for member in pick(members, count, lambda m: m.saved is not None, rng):
                do.start(member)
        case "leave":
            for member in pick(members, most, lambda m: m.alive, rng):
                do.leave(member)
        case "crash":
            for member in pick(members, most, lambda m: m.alive, rng):
                do.crash(member)
        case "partition":
            order = rng.permutation(len(members))
            for place, index in enumerate(order):
                members[index].side = place * event.parts // len(order)
            do.reconnect()
        case "heal":
            for member in members:
                member.side = 0
            do.reconnect()
