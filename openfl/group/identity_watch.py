"""`IdentityWatch`: whether another node signs with this member's key: a home folder was copied.

Members keep the deltas of the latest epoch that an identity signed, so one of two nodes with the
same identity teaches nobody, and both look fine. What decides is signed with this member's key, so
no stranger can bring it about: a delta or leave beyond all that this membership has signed. It may
also be this member's own past: of a run whose clock was ahead, met again. An epoch is the unix time
at which a membership began, in milliseconds; one that lies between the start of this membership
and now was therefore begun elsewhere. Where clocks disagree, the second time decides: the first
time this member goes on above whatever it met, and nothing of its past is beyond that.

A clean restart and a restored backup begin a later epoch than all before them, and meet nothing
beyond it.
"""

from __future__ import annotations

import math

from openfl.core.contribution import PeerId
from openfl.group import events as ev
from openfl.group.publisher import Publisher

KIND = "duplicate-identity"
APART_SECONDS = 30.0
"""What was met in one go may all be of the past: this long after, it is another time."""
FIRST_TURN_SECONDS = 60.0
LONGEST_TURN_SECONDS = 3600.0
"""How long the other one's word stands before this member goes on above it again, doubling: whoever
is left when its owner has mended it must not be ignored for ever, and two that overtake each other
at once would publish everything at each turn."""


class IdentityWatch:
    """`me`: this member. Goes on above what it meets, by `publisher`."""

    def __init__(self, me: PeerId, publisher: Publisher) -> None:
        """The membership's first epoch is the publisher's at this moment."""
        self._me = me
        self._publisher = publisher
        self._first_epoch = publisher.epoch
        self._began_at = 0.0
        self._passed_at = math.inf
        self._next_turn = -math.inf
        self._turn_seconds = FIRST_TURN_SECONDS
        self._certain = False
        self._news: list[ev.Effect] = []

    def start(self, now: float) -> None:
        """The membership begins."""
        self._began_at = now

    def is_beyond(self, epoch: int, seqno: int) -> bool:
        """Whether this membership has signed nothing as late as that."""
        return (epoch, seqno) > (self._publisher.epoch, self._publisher.seqno)

    def news(self) -> list[ev.Effect]:
        """What the owner is to be told, once."""
        news, self._news = self._news, []
        return news

    def takes_in(self, epoch: int, seqno: int, now: float) -> bool:
        """Whether to take in what this member's key has signed, its signature verified. This member
        goes on above it when that `is_beyond`."""
        if not self.is_beyond(epoch, seqno):
            return True
        elapsed = int(1000 * (now - self._began_at))
        begun_since = self._first_epoch < epoch <= self._first_epoch + elapsed
        if not self._certain and (begun_since or now >= self._passed_at + APART_SECONDS):
            self._certain = True
            self._news.append(ev.Tell("error", KIND, duplicate_text(self._me), {"peer": self._me}))
        if now < self._next_turn:
            return False
        if self._certain:
            self._next_turn = now + self._turn_seconds
            self._turn_seconds = min(LONGEST_TURN_SECONDS, 2 * self._turn_seconds)
        self._passed_at = min(self._passed_at, now)
        self._publisher.meet_own_past(epoch)
        return True


def duplicate_text(me: PeerId) -> str:
    """For the owners of both nodes."""
    return (
        f"another node has the identity of this one (..{me[-6:]}): its home folder was copied, and"
        " others listen to one of the two only. Stop the copy, delete identity.key in its home"
        " folder and start it again: it then has an identity of its own"
    )
