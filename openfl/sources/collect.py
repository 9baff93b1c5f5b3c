"""Chunks of interactions -> one set of columns, in which every play, like and rating is once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from openfl.sources.identity import item_id, tidied
from openfl.sources.interactions import (
    ME,
    NO_TIME,
    SHOWN_PLACES,
    Drops,
    Interactions,
    Item,
    Kind,
)
from openfl.sources.limits import MAX_NAME
from openfl.sources.source import Items
from openfl.sources.text import tidy

COUNTS_FROM_SECONDS = 30.0
"""A play counts when it lasted so long, or half of the track."""
TOO_SHORT = "played for less than 30 s and less than half of the track"
NO_STRENGTH = "no number where the rating or the plays should be"
NO_PERSON = "no user"
NO_ITEM = "no title and no id, or one of more than 1,000 characters"
NO_PLAYS = "played 0 times"
MAX_PLAYS = 1e9


@dataclass(frozen=True, eq=False)
class Collected:
    """Who, what, how much, when: one row for each play, total, like or rating, in the order in
    which they were read.

    people: texts. item_ids: texts, and `labels` their (title, artist), "" where unknown. person,
    item: int32[n]. kind: int8[n], of `Kind`. strength: float32[n]. times: int64[n], unix seconds or
    NO_TIME. duplicates: rows that said again what another said, or that a later rating replaced.
    """

    people: tuple[str, ...]
    item_ids: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    person: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.int8]
    strength: NDArray[np.float32]
    times: NDArray[np.int64]
    duplicates: int = 0

    def __len__(self) -> int:
        return len(self.person)

    def only(self, chosen: NDArray[np.bool_]) -> Collected:
        """The rows marked in `chosen`, bool[n]; people and items that have none left go."""
        people, person = np.unique(self.person[chosen], return_inverse=True)
        items, item = np.unique(self.item[chosen], return_inverse=True)
        return Collected(
            tuple(self.people[n] for n in people),
            tuple(self.item_ids[n] for n in items),
            tuple(self.labels[n] for n in items),
            person.astype(np.int32),
            item.astype(np.int32),
            self.kind[chosen],
            self.strength[chosen],
            self.times[chosen],
            self.duplicates,
        )


@dataclass
class _Columns:
    person: list[NDArray[np.int32]] = field(default_factory=list)
    item: list[NDArray[np.int32]] = field(default_factory=list)
    kind: list[NDArray[np.int8]] = field(default_factory=list)
    strength: list[NDArray[np.float32]] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)


class _Numbers(dict[Item, int]):
    """Item -> its number, which is asked for once."""

    def __init__(self, ask: Callable[[Item], int]) -> None:
        super().__init__()
        self._ask = ask

    def __missing__(self, item: Item) -> int:
        self[item] = number = self._ask(item)
        return number


class Collector:
    """Takes chunks, file after file; `collected` gives what they say."""

    def __init__(self, drops: Drops, person: str = ME) -> None:
        self._drops = drops
        self._person = person
        self._people: defaultdict[str, int] = defaultdict()
        self._people.default_factory = self._people.__len__  # an unseen one gets the next number
        self._ids: dict[str, int] = {}
        self._labels: list[tuple[str, str]] = []
        self._of_item: dict[Items, _Numbers] = {}
        self._columns = _Columns()
        self._adding = _Columns()
        self.rows = 0
        """That were taken, duplicates too."""

    def add(self, chunk: Interactions, items: Items, name: str) -> None:
        """The rows of a chunk that can be used; the others are dropped. `name`: of their file."""
        count = len(chunk.items)
        numbers = self._item_numbers(chunk.items, items)
        strength = np.asarray(chunk.strength, np.float64)
        problems = [
            (NO_ITEM, numbers < 0),
            (NO_STRENGTH, ~np.isfinite(strength)),
        ]
        if chunk.people is None:
            person = np.full(count, self._people[self._person], np.int32)
        else:
            person = np.fromiter(map(self._people.__getitem__, chunk.people), np.int32, count)
            if "" in self._people:
                problems.append((NO_PERSON, person == self._people[""]))
        if chunk.kind in (Kind.PLAY, Kind.COUNT):
            strength = np.minimum(strength, MAX_PLAYS)
            problems.append((NO_PLAYS, strength <= 0))
        if chunk.played is not None:
            played = np.asarray(chunk.played, np.float64)
            enough = np.full(count, COUNTS_FROM_SECONDS)
            if chunk.length is not None:
                half = np.asarray(chunk.length, np.float64) / 2
                enough = np.fmin(enough, np.where(half > 0, half, np.inf))
            problems.append((TOO_SHORT, played < enough))
        good = np.ones(count, np.bool_)
        for reason, wrong in problems:
            wrong &= good
            if wrong.any():
                self._drop(reason, np.flatnonzero(wrong), chunk.places, name)
                good &= ~wrong
        self._keep(chunk, person, numbers, strength, good)

    def end_of_file(self) -> None:
        """What the file said in rows that add up is added up."""
        adding, self._adding = self._adding, _Columns()
        if not adding.person:
            return
        person, item, kind, strength, times = _joined(adding)
        order = np.lexsort((times, item, person, kind))
        first = _firsts(order, kind, person, item, times)
        sums = np.add.reduceat(strength[order].astype(np.float64), first)
        kept = order[first]
        self.rows -= len(order) - len(kept)
        back = np.argsort(kept, kind="stable")
        kept, sums = kept[back], np.minimum(sums[back], MAX_PLAYS)
        _append(
            self._columns,
            person[kept],
            item[kept],
            kind[kept],
            sums.astype(np.float32),
            times[kept],
        )

    def rename(self, wanted: dict[str, tuple[str, str]]) -> None:
        """Titles and artists of items that so far have none, by their ids."""
        for item, (title, artist) in wanted.items():
            number = self._ids.get(tidy(item))
            if number is not None and not self._labels[number][0]:
                self._labels[number] = tidy(title)[:MAX_NAME], tidy(artist)[:MAX_NAME]

    def collected(self) -> Collected:
        """What all files said, each thing once.

        A PLAY is known by its person, item and minute (some sources tell no seconds), a COUNT or
        LIKE by its person and item; of several that say the same, the highest number counts: a
        newer export has the plays of the older, and more. Of ratings the latest counts, and of
        several at one time the last.
        """
        self.end_of_file()
        person, item, kind, strength, times = _joined(self._columns)
        self._columns = _Columns()
        people = tuple(dict.fromkeys(map(tidy, self._people)))
        if people != tuple(self._people):  # one name may be written in several forms of Unicode
            number = {name: at for at, name in enumerate(people)}
            person = np.array([number[tidy(name)] for name in self._people], np.int32)[person]
        moment = np.where(kind == Kind.PLAY, times // 60, 0)
        rated = kind == Kind.RATING
        if rated.any():
            moment[rated] = 0
        # Within what is the same, what counts comes last.
        worth = np.where(rated, times, strength.astype(np.int64))
        order = np.lexsort((worth, moment, item, person, kind))
        del worth
        first = _firsts(order, kind, person, item, moment)
        del moment
        last = np.append(first[1:], len(order)) - 1 if len(order) else first
        kept = np.sort(order[last])
        del order
        return Collected(
            people,
            tuple(self._ids),
            tuple(self._labels),
            person[kept],
            item[kept],
            kind[kept],
            strength[kept],
            times[kept],
            len(person) - len(kept),
        ).only(np.ones(len(kept), np.bool_))

    def _item_numbers(self, items: Sequence[Item], of: Items) -> NDArray[np.int32]:
        """The number of each item; -1 of those without an id."""
        if of not in self._of_item:
            self._of_item[of] = _Numbers(lambda item: self._number(tidied(item), of))
        return np.fromiter(map(self._of_item[of].__getitem__, items), np.int32, len(items))

    def _number(self, item: Item, of: Items) -> int:
        name = item_id(item, of)
        if not name:
            return -1
        number = self._ids.setdefault(name, len(self._ids))
        if number == len(self._labels):
            self._labels.append((item.title, item.artist))
        elif item.title and not self._labels[number][0]:
            self._labels[number] = item.title, item.artist
        return number

    def _drop(self, reason: str, rows: NDArray[np.intp], places: Sequence[int], name: str) -> None:
        for row in rows[:SHOWN_PLACES].tolist():
            self._drops.add(reason, f"{name}:{places[row]}")
        if len(rows) > SHOWN_PLACES:
            self._drops.add(reason, f"{name}:{places[int(rows[-1])]}", len(rows) - SHOWN_PLACES)

    def _keep(
        self,
        chunk: Interactions,
        person: NDArray[np.int32],
        numbers: NDArray[np.int32],
        strength: NDArray[np.float64],
        good: NDArray[np.bool_],
    ) -> None:
        count = int(good.sum())
        self.rows += count
        _append(
            self._adding if chunk.adds else self._columns,
            person[good],
            numbers[good],
            np.full(count, chunk.kind, np.int8),
            strength[good].astype(np.float32),
            np.asarray(chunk.times, np.int64)[good],
        )


def _append(
    to: _Columns,
    person: NDArray[np.int32],
    item: NDArray[np.int32],
    kind: NDArray[np.int8],
    strength: NDArray[np.float32],
    times: NDArray[np.int64],
) -> None:
    to.person.append(person)
    to.item.append(item)
    to.kind.append(kind)
    to.strength.append(strength)
    to.times.append(times)


def _joined(
    columns: _Columns,
) -> tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.float32], NDArray[np.int64]
]:
    return (
        np.concatenate([np.zeros(0, np.int32), *columns.person]),
        np.concatenate([np.zeros(0, np.int32), *columns.item]),
        np.concatenate([np.zeros(0, np.int8), *columns.kind]),
        np.concatenate([np.zeros(0, np.float32), *columns.strength]),
        np.concatenate([np.full(0, NO_TIME, np.int64), *columns.times]),
    )


def _firsts(order: NDArray[np.intp], *columns: NDArray[np.generic]) -> NDArray[np.intp]:
    """Positions in `order` at which a new combination of the columns begins."""
    new = np.zeros(len(order), np.bool_)
    if len(order):
        new[0] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return np.flatnonzero(new)
