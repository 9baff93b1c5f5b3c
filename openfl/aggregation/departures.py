"""Who is gone, so that stale copies of what they said do not bring them back.

A *leave* is signed by its author and relayed like a delta: registers of its epoch and older count
no longer, anywhere. An *expiry* is this replica's own decision after hearing nothing for the time
to live; it is undone by any newer sign of life. Both memories are bounded: the oldest goes first,
and after twice the time to live nobody holds the stale registers any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from openfl.aggregation.version_vector import Version
from openfl.core.contribution import PeerId


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`author` left in `epoch`; `envelope` is its signed word for it. `since`: when anyone
    first heard it, as far as relayed ages tell."""

    author: PeerId
    epoch: int
    envelope: bytes
    since: float


@dataclass(frozen=True, slots=True)
class Expired:
    """`last` is the highest version heard of the author, `last_heard` when (caller's clock)."""

    last: Version
    last_heard: float
    since: float


class Departures:
    """At most `capacity` tombstones and `capacity` expiries."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._left: OrderedDict[PeerId, Tombstone] = OrderedDict()
        self._expired: OrderedDict[PeerId, Expired] = OrderedDict()

    def __len__(self) -> int:
        """Tombstones and expiries together."""
        return len(self._left) + len(self._expired)

    @property
    def envelope_bytes(self) -> int:
        """What the signed leaves weigh together."""
        return sum(len(stone.envelope) for stone in self._left.values())

    def left_epoch(self, author: PeerId) -> int:
        """Deltas of this epoch and older are void; 0 when the author never left."""
        stone = self._left.get(author)
        return 0 if stone is None else stone.epoch

    def expired(self, author: PeerId) -> Expired | None:
        """What was known of the author when it expired; None when it has not."""
        return self._expired.get(author)

    def tombstone(self, author: PeerId) -> Tombstone | None:
        """The author's leave; None when it never left."""
        return self._left.get(author)

    def tombstones(self) -> Iterator[Tombstone]:
        """All leaves, the one heard longest ago first."""
        yield from self._left.values()

    def leave(self, author: PeerId, epoch: int, envelope: bytes, since: float) -> None:
        """`author` left in `epoch`: its signed word `envelope`, first heard at `since`."""
        self._expired.pop(author, None)
        self._left.pop(author, None)
        self._left[author] = Tombstone(author, epoch, envelope, since)
        if len(self._left) > self._capacity:
            self._left.popitem(last=False)

    def expire(self, author: PeerId, last: Version, last_heard: float, now: float) -> None:
        """`author` was silent for too long; `last` is the highest version heard of it."""
        self._expired.pop(author, None)
        self._expired[author] = Expired(last, last_heard, now)
        if len(self._expired) > self._capacity:
            self._expired.popitem(last=False)

    def is_back(self, author: PeerId) -> None:
        """A newer sign of life than the expiry: forget the expiry. A tombstone stays."""
        self._expired.pop(author, None)

    def forget_before(self, moment: float) -> None:
        """Drop what dates from before `moment`."""
        for author in [a for a, stone in self._left.items() if stone.since < moment]:
            del self._left[author]
        for author in [a for a, expired in self._expired.items() if expired.since < moment]:
            del self._expired[author]
