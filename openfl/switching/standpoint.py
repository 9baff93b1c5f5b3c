"""`Standpoint`: what a node compares other groups with: its own group, as it knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from openfl.aggregation.member_judge import HARMFUL
from openfl.core.contribution import Charter, ModelView, PeerId
from openfl.group.session import GroupSession
from openfl.switching.policy import Finding

HARM = -3.0
"""A member with such an influence on own data, in standard errors, clearly does it harm."""
GOOD = 0.5
"""A member with that much influence on own data, in standard errors, did it good."""
KIN_PART = 0.8
"""Of those members of another group that this node knows, so many must have done it good."""
MAX_OPINIONS = 4096


def anything(_: Finding) -> bool:
    """Where no policy says otherwise, every group is fetched signed."""
    return True


@dataclass(frozen=True, slots=True)
class Standpoint:
    """One moment of a node's membership. others: the plain mean of all other members, None when
    there are none: what this node taught would make its own group look better to it than any other.
    circle: that of those others that do its data no harm; None when they are no circle of their own
    (see `standpoint_of`). unjudged: a circle is asked for, but nobody's influence is known, as of a
    kind that does not tell. promising: whether a group of which only a summary was fetched is to be
    looked at closer; it must be true of all that the policy would move for."""

    charter: Charter
    others: ModelView | None
    circle: ModelView | None = None
    promising: Callable[[Finding], bool] = anything
    unjudged: bool = False


def standpoint_of(
    session: GroupSession, harmful_part: float, least_circle: int, circle: bool
) -> Standpoint:
    """Where the session's node is. circle: whether that is asked for; there is one when at least
    the part `harmful_part` of the others does harm, and `least_circle` remain."""
    replica, me = session.replica, session.me
    others = [state.peer_id for state in replica.members() if state.peer_id != me]
    if not others:
        return Standpoint(session.charter, None)
    opinions = session.opinions() if circle else {}
    model = replica.view_without((me,))
    left_out = session.left_out if circle else {}
    # Whoever is far off is left out for that; but data of another kind, and not an attack on
    # everybody, is what harmed this node before.
    harmful = [
        peer
        for peer in others
        if left_out.get(peer) == HARMFUL or (peer in left_out and opinions.get(peer, 0.0) < HARM)
    ]
    enough = len(harmful) >= harmful_part * len(others) > 0
    if not circle or not harmful or not enough or len(others) - len(harmful) < least_circle:
        return Standpoint(session.charter, model, unjudged=circle and not opinions)
    return Standpoint(session.charter, model, replica.view_without((me, *harmful)))


class Acquaintances:
    """Members that this node has judged in any group, and whether they did its data good. The last
    to be judged are remembered."""

    def __init__(self) -> None:
        self._opinions: dict[PeerId, float] = {}

    def judged(self, opinions: Mapping[PeerId, float]) -> None:
        """What was found of members' influence, as z."""
        for peer, z in opinions.items():
            self._opinions.pop(peer, None)
            self._opinions[peer] = z
        while len(self._opinions) > MAX_OPINIONS:
            del self._opinions[next(iter(self._opinions))]

    def harmful(self) -> tuple[int, int]:
        """(how many clearly did harm, how many were judged)."""
        return sum(z < HARM for z in self._opinions.values()), len(self._opinions)

    def are_kin(self, members: Iterable[PeerId]) -> bool:
        """Whether these are known, and nearly all of those known did good."""
        known = [self._opinions[peer] > GOOD for peer in members if peer in self._opinions]
        return bool(known) and sum(known) >= KIN_PART * len(known)
