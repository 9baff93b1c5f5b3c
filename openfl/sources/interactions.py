"""`Interactions`: what every source is read as, some rows at a time, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 4096
NO_TIME = -1
UNKNOWN = math.nan
SHOWN_PLACES = 3
"""Places that are kept of rows dropped for one reason."""

Task = Literal["rating", "implicit"]
"""What can be learned, as `task.kind` calls it."""
ME = "me"
"""The person of an export that is one person's."""


class Kind(IntEnum):
    """What the rows of a chunk say. The numbers are kept in no file."""

    PLAY = 0
    """One play, or the plays of one day, at a time."""
    COUNT = 1
    """All plays so far: the next export has the same ones, and more."""
    LIKE = 2
    """Marked as liked: a play, and no more."""
    RATING = 3


class Item(NamedTuple):
    """An item as its source writes it. `id`: of this source, where it has one that lasts."""

    title: str = ""
    artist: str = ""
    id: str = ""


@dataclass(slots=True)
class Interactions:
    """Up to some thousand rows of one kind; all sequences are of one length.

    strength: plays of a PLAY or COUNT, the rating of a RATING, 1 of a LIKE. times: unix seconds, or
    NO_TIME. people: None when all are of the one who asked for the export. played, length: seconds
    heard, and of the whole track; NaN where unknown, None when nowhere known. places: lines or
    numbers of records, for messages. adds: PLAY and COUNT rows of the same person, item and time
    are plays beside each other, not one play told twice.
    """

    kind: Kind
    items: Sequence[Item]
    strength: Sequence[float] | NDArray[np.float64]
    times: Sequence[int] | NDArray[np.int64]
    places: Sequence[int]
    people: Sequence[str] | None = None
    played: Sequence[float] | None = None
    length: Sequence[float] | None = None
    adds: bool = False


class Row(NamedTuple):
    """One row on its way into a chunk."""

    place: int
    item: Item
    strength: float = 1.0
    time: int = NO_TIME
    played: float = UNKNOWN
    length: float = UNKNOWN


def in_chunks(rows: Iterable[Row], kind: Kind, adds: bool = False) -> Iterator[Interactions]:
    """The rows, all of one kind and of one person, as chunks of columns."""
    waiting = iter(rows)
    while chunk := list(islice(waiting, CHUNK_ROWS)):
        places, items, strength, times, played, length = zip(*chunk, strict=True)
        yield Interactions(kind, items, strength, times, places, None, played, length, adds)


@dataclass(slots=True)
class Dropped:
    """Rows that were left out for one reason."""

    rows: int = 0
    first: list[str] = field(default_factory=list)
    """Where the first of them stand."""


@dataclass(slots=True)
class Drops:
    """Reason -> the rows that were left out for it, of all files together."""

    reasons: dict[str, Dropped] = field(default_factory=dict)

    def add(self, reason: str, where: str, rows: int = 1) -> None:
        """`where`: "name:line" of the first of `rows`."""
        dropped = self.reasons.setdefault(reason, Dropped())
        dropped.rows += rows
        if len(dropped.first) < SHOWN_PLACES:
            dropped.first.append(where)

    @property
    def rows(self) -> int:
        """All rows that were left out."""
        return sum(dropped.rows for dropped in self.reasons.values())
