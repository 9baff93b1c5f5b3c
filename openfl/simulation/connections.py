"""Who is connected to whom, for requests: a random graph that is mended as members come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openfl.core.contribution import PeerId
from openfl.simulation.member import SimulatedMember


def connections(
    present: Sequence[SimulatedMember], wanted: int, rng: np.random.Generator
) -> Mapping[PeerId, frozenset[PeerId]]:
    """Everybody keeps its connections to members that are there and on its side, and opens others
    until it has `wanted`. A connection goes both ways, so that some have more."""
    side = {member.peer_id: member.side for member in present}
    links = {m.peer_id: {peer for peer in m.reachable if side.get(peer) == m.side} for m in present}
    for member in present:
        mine = links[member.peer_id]
        if len(mine) >= wanted:
            continue
        others = [
            other.peer_id
            for other in present
            if other is not member and other.side == member.side and other.peer_id not in mine
        ]
        missing = min(wanted - len(mine), len(others))
        for n in sorted(rng.choice(len(others), missing, replace=False)) if missing else ():
            mine.add(others[n])
            links[others[n]].add(member.peer_id)
    return {peer: frozenset(found) for peer, found in links.items()}
