"""Snapshots and pulls: a replica's live envelopes in canonical order, page by page.

Pages are stateless: all that the server needs is in the request. Because live deltas may become
superseded, or late ones arrive, between two pages, each page states exactly what it covers
(`Completeness`), and the asker uses a statement only when it connects to what it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from openfl.aggregation.departures import Departures
from openfl.aggregation.member import Member
from openfl.aggregation.version_vector import NOTHING, VersionVector
from openfl.core.contribution import PeerId

ITEM_BYTES = 128
"""Counted for each item of a page beside its envelope: framing, author, age."""


@dataclass(frozen=True, slots=True)
class Item:
    """One signed envelope as it is handed on. `age_seconds`: since the author was last heard of;
    of a leave, since that was first heard."""

    kind: Literal["delta", "leave"]
    author: PeerId
    envelope: bytes
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Completeness:
    """Of this author's deltas with after < seqno <= upto, all that are live were handed on."""

    author: PeerId
    epoch: int
    after: int
    upto: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next page goes on: behind (author, epoch, seqno) in canonical order."""

    author: PeerId
    epoch: int
    seqno: int


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a snapshot or pull: envelopes, and what they make complete."""

    items: tuple[Item, ...]
    complete: tuple[Completeness, ...]
    cursor: Cursor | None
    """None when there is nothing more."""


def make_page(
    members: Mapping[PeerId, Member],
    departures: Departures,
    known: VersionVector,
    now: float,
    max_bytes: int,
    cursor: Cursor | None,
    authors: Collection[PeerId] | None,
) -> Page:
    """See `Replica.page`."""
    everyone = {stone.author for stone in departures.tombstones()} | set(members)
    wanted = everyone if authors is None else everyone.intersection(authors)
    page = _PageBuilder(max_bytes)
    for author in sorted(wanted):
        if cursor is not None and author < cursor.author:
            continue
        # Epoch 0 in a cursor: nothing of this author was sent yet.
        resumed = (
            cursor if cursor is not None and cursor.epoch and author == cursor.author else None
        )
        if page.full:
            return page.end(Cursor(author, 0, 0))
        have = known.get(author, NOTHING)
        stone = departures.tombstone(author)
        if stone is not None and resumed is None and have.epoch <= stone.epoch:
            page.add(Item("leave", author, stone.envelope, max(0.0, now - stone.since)))
        member = members.get(author)
        if member is None or have.epoch > member.epoch:
            continue
        start = have.seqno if have.epoch == member.epoch else 0
        if resumed is not None and resumed.epoch == member.epoch:
            start = max(start, resumed.seqno)
        age = max(0.0, now - member.last_heard)
        sent = start
        for entry in member.log.after(start):
            if entry.seqno != sent and not page.has_room(entry.envelope):
                upto = min(sent, member.heard.complete)
                page.declare(Completeness(author, member.epoch, start, upto, age))
                return page.end(Cursor(author, member.epoch, sent))
            page.add(Item("delta", author, entry.envelope, age))
            sent = entry.seqno
        page.declare(Completeness(author, member.epoch, start, member.heard.complete, age))
    return page.end(None)


class _PageBuilder:
    """Collects a page of about `max_bytes`; the first item always fits."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes
        self._items: list[Item] = []
        self._complete: list[Completeness] = []

    @property
    def full(self) -> bool:
        return self._free <= 0 and bool(self._items or self._complete)

    def has_room(self, envelope: bytes) -> bool:
        return not self._items or len(envelope) + ITEM_BYTES <= self._free

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._free -= len(item.envelope) + ITEM_BYTES

    def declare(self, statement: Completeness) -> None:
        """Statements that say nothing are left out."""
        if statement.upto > statement.after:
            self._complete.append(statement)
            self._free -= ITEM_BYTES

    def end(self, cursor: Cursor | None) -> Page:
        return Page(tuple(self._items), tuple(self._complete), cursor)
