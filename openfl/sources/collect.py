"""Chunks of interactions -> one set of columns, in which every play, like and rating is once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
from openfl.sources.rows import Rows, added_up, each_once, joined
from openfl.sources.source import Items
from openfl.sources.text import tidy

COUNTS_FROM_SECONDS = 30.0
"""A play counts when it lasted so long, or half of the track."""
TOO_SHORT = "played for less than 30 s and less than half of the track"
NO_STRENGTH = "no number where the rating or the plays should be"
NO_PERSON = "no user"
NO_ITEM = "no title and no id, or one of more than 1,000 characters"
NO_PLAYS = "played 0 times"
NO_MOMENT = "no time, so that it cannot be told from another play"
MAX_PLAYS = 1e9


@dataclass(frozen=True, eq=False)
class Collected:
    """Who, what, how much, when: one row for each play, total, like or rating, in the order in
    which they were read.

    people: texts. item_ids: texts, and `labels` their (title, artist), "" where unknown. sources:
    names. duplicates: rows that said again what another said, or that a later rating replaced.
    """

    people: tuple[str, ...]
    item_ids: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]
    rows: Rows
    duplicates: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def only(self, chosen: NDArray[np.bool_]) -> Collected:
        """The rows marked in `chosen`, bool[n]; people and items that have none left go."""
        rows = self.rows.at(chosen)
        people, person = np.unique(rows.person, return_inverse=True)
        items, item = np.unique(rows.item, return_inverse=True)
        return replace(
            self,
            people=tuple(self.people[n] for n in people),
            item_ids=tuple(self.item_ids[n] for n in items),
            labels=tuple(self.labels[n] for n in items),
            rows=replace(rows, person=person.astype(np.int32), item=item.astype(np.int32)),
        )


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
        self._sources: defaultdict[str, int] = defaultdict()
        self._sources.default_factory = self._sources.__len__
        self._parts: list[Rows] = []
        self._adding: list[Rows] = []
        self.rows = 0
        """That were taken, duplicates too."""

    def add(self, chunk: Interactions, items: Items, name: str, source: str) -> None:
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
        if chunk.kind == Kind.PLAY:
            problems.append((NO_MOMENT, np.asarray(chunk.times) == NO_TIME))
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
        self._keep(
            chunk,
            Rows(
                person,
                numbers,
                np.full(count, chunk.kind, np.int8),
                np.full(count, self._sources[source], np.int8),
                strength.astype(np.float32),
                np.asarray(chunk.times, np.int64),
            ).at(good),
        )

    def end_of_file(self) -> None:
        """What the file said in rows that add up is added up."""
        if self._adding:
            adding, self._adding = joined(self._adding), []
            if len(adding):
                self._parts.append(added_up(adding, MAX_PLAYS))
                self.rows += len(self._parts[-1]) - len(adding)

    def rename(self, wanted: dict[str, tuple[str, str]]) -> None:
        """Titles and artists of items that so far have none, by their ids."""
        for item, (title, artist) in wanted.items():
            number = self._ids.get(tidy(item))
            if number is not None and not self._labels[number][0]:
                self._labels[number] = tidy(title)[:MAX_NAME], tidy(artist)[:MAX_NAME]

    def collected(self) -> Collected:
        """What all files said, each thing once (`rows.each_once`)."""
        self.end_of_file()
        rows, self._parts = joined(self._parts), []
        people = tuple(dict.fromkeys(map(tidy, self._people)))
        if people != tuple(self._people):  # one name may be written in several forms of Unicode
            number = {name: at for at, name in enumerate(people)}
            person = np.array([number[tidy(name)] for name in self._people], np.int32)[rows.person]
            rows = replace(rows, person=person)
        count = len(rows)
        rows = each_once(rows)
        ids, labels, sources = tuple(self._ids), tuple(self._labels), tuple(self._sources)
        found = Collected(people, ids, labels, sources, rows, count - len(rows))
        return found.only(np.ones(len(rows), np.bool_))

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

    def _keep(self, chunk: Interactions, rows: Rows) -> None:
        self.rows += len(rows)
        (self._adding if chunk.adds else self._parts).append(rows)
