"""The signed deltas of one author that still matter, and which of its registers each one backs.

An entry lives while it backs at least one live register; the author's latest delta is kept even
when it backs none, because it says where the author is. Entries sit in numbered places, so that a
register needs only a small integer to say which delta it came from. Places are reused.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.delta import Delta
from openfl.core.contribution import Evaluation

Order = tuple[int, bytes]
"""(seqno, digest): the order of an author's deltas within an epoch. The digest only decides between
different deltas that a dishonest author gave one seqno; then every replica decides alike."""


@dataclass(slots=True)
class LogEntry:
    """One delta: its signed envelope, what it says of its author, and how many live registers
    it backs."""

    order: Order
    envelope: bytes
    round: int
    examples: int
    fit: Evaluation | None
    live_rows: int = 0

    @property
    def seqno(self) -> int:
        """The delta's number within its epoch."""
        return self.order[0]

    @property
    def digest(self) -> bytes:
        """sha-256 over the body of the delta."""
        return self.order[1]


class DeltaLog:
    """Entries of one author and epoch, by place and in order of (seqno, digest)."""

    def __init__(self) -> None:
        self._by_order: dict[Order, int] = {}
        self._sorted: list[Order] = []
        self._entries: list[LogEntry | None] = []
        self._seqnos: NDArray[np.uint64] = np.zeros(8, dtype=np.uint64)
        self._free: list[int] = []
        self.envelope_bytes = 0

    def __len__(self) -> int:
        """How many deltas are kept."""
        return len(self._sorted)

    @property
    def places(self) -> int:
        """How many places there are; registers hold numbers below this."""
        return len(self._entries)

    @property
    def orders(self) -> tuple[Order, ...]:
        """(seqno, digest) of all entries, ascending."""
        return tuple(self._sorted)

    def has(self, order: Order) -> bool:
        """Whether this very delta is kept."""
        return order in self._by_order

    def find(self, order: Order) -> LogEntry | None:
        """The entry of this very delta; None when it is not kept."""
        place = self._by_order.get(order)
        return None if place is None else self._entries[place]

    @property
    def latest(self) -> LogEntry | None:
        """The entry that is last in order."""
        return self.find(self._sorted[-1]) if self._sorted else None

    def variants(self, seqno: int) -> int:
        """How many different deltas with this seqno are logged: more than one is equivocation."""
        start = bisect.bisect_left(self._sorted, (seqno, b""))
        return bisect.bisect_left(self._sorted, (seqno + 1, b"")) - start

    def surviving(self, lost: NDArray[np.int64]) -> int:
        """How many entries would still back a register after losing `lost[place]` of them."""
        return sum(
            1
            for place, entry in enumerate(self._entries)
            if entry is not None and entry.live_rows > int(lost[place])
        )

    def older_than(self, order: Order) -> NDArray[np.bool_]:
        """bool[places]: which places hold deltas that come before `order`."""
        seqnos = self._seqnos[: len(self._entries)]
        older: NDArray[np.bool_] = seqnos < np.uint64(order[0])
        for place in np.flatnonzero(seqnos == np.uint64(order[0])):
            entry = self._entries[int(place)]
            older[place] = entry is not None and entry.order < order
        return older

    def add(self, delta: Delta, envelope: bytes) -> int:
        """A new entry without live rows; returns its place."""
        order = (delta.seqno, delta.digest)
        entry = LogEntry(order, envelope, delta.round, delta.examples, delta.fit)
        if self._free:
            place = self._free.pop()
            self._entries[place] = entry
        else:
            place = len(self._entries)
            self._entries.append(entry)
            if place >= len(self._seqnos):
                self._seqnos = np.resize(self._seqnos, 2 * len(self._seqnos))
        self._seqnos[place] = order[0]
        self._by_order[order] = place
        bisect.insort(self._sorted, order)
        self.envelope_bytes += len(envelope)
        return place

    def move_rows(self, lost: NDArray[np.int64], place: int, gained: int) -> None:
        """`lost[p]` registers of place p are now backed by other deltas, `gained` by `place`."""
        for other in np.flatnonzero(lost):
            entry = self._entries[int(other)]
            assert entry is not None, "a register points to an empty place"
            entry.live_rows -= int(lost[other])
        entry = self._entries[place]
        assert entry is not None
        entry.live_rows += gained

    def drop_superseded(self) -> None:
        """Forget entries without live rows, except the latest."""
        for order in [*self._sorted[:-1]]:
            place = self._by_order[order]
            entry = self._entries[place]
            if entry is not None and entry.live_rows == 0:
                del self._by_order[order]
                self._entries[place] = None
                self._free.append(place)
                self._seqnos[place] = 0
                self.envelope_bytes -= len(entry.envelope)
                self._sorted.remove(order)

    def after(self, seqno: int) -> Iterator[LogEntry]:
        """Entries with a higher seqno, in order."""
        for later in self._sorted[bisect.bisect_left(self._sorted, (seqno + 1, b"")) :]:
            entry = self.find(later)
            assert entry is not None
            yield entry
