"""`Rows`: interactions as columns of numbers, and finding those that say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from openfl.sources.interactions import Kind

SAME_PLAY_SECONDS = 600
"""So far apart may two services put one play: one tells its beginning, another its end."""
_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Rows:
    """person, item: int32[n], numbers. kind: int8[n], of `Kind`. source: int8[n], a number.
    strength: float32[n]. times: int64[n], unix seconds or NO_TIME."""

    person: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.int8]
    source: NDArray[np.int8]
    strength: NDArray[np.float32]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)

    def at(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
        """Some of them."""
        return Rows(*(getattr(self, column.name)[which] for column in fields(self)))


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows of some, in order."""
    empty = (np.int32, np.int32, np.int8, np.int8, np.float32, np.int64)
    return Rows(
        *(
            np.concatenate([np.zeros(0, kind), *(getattr(part, column.name) for part in parts)])
            for column, kind in zip(fields(Rows), empty, strict=True)
        )
    )


def added_up(rows: Rows, most: float) -> Rows:
    """With the strengths of one kind, person, item and time added up, to `most` at most."""
    order = np.lexsort((rows.times, rows.item, rows.person, rows.kind))
    first = _firsts(order, rows.kind, rows.person, rows.item, rows.times)
    sums = np.minimum(np.add.reduceat(rows.strength[order].astype(np.float64), first), most)
    back = np.argsort(order[first], kind="stable")
    kept = rows.at(order[first][back])
    return Rows(
        kept.person,
        kept.item,
        kept.kind,
        kept.source,
        sums[back].astype(np.float32),
        kept.times,
    )


def each_once(rows: Rows) -> Rows:
    """Without those that say again what another says.

    A PLAY is known by its source, person, item and minute (some sources tell no seconds), a COUNT
    or LIKE by its person and item; of several that say the same, the highest number counts: a newer
    export has the plays of the older, and more. Of ratings the latest counts, and of several at one
    time the last. Then plays go that another source has told of.
    """
    rated = rows.kind == Kind.RATING
    played = rows.kind == Kind.PLAY
    moment = np.where(played, rows.times // 60, 0)
    source = np.where(played, rows.source, np.int8(0))
    # Within what is the same, what counts comes last.
    worth = np.where(rated, rows.times, rows.strength.astype(np.int64))
    order = np.lexsort((worth, source, moment, rows.item, rows.person, rows.kind))
    del worth
    first = _firsts(order, rows.kind, rows.person, rows.item, moment, source)
    del moment
    last = np.append(first[1:], len(order)) - 1 if len(order) else first
    kept = rows.at(np.sort(order[last]))
    again = _told_by_others(kept)
    return kept.at(~again) if again.any() else kept


def _told_by_others(rows: Rows) -> NDArray[np.bool_]:
    """bool[n]: the plays that another source has told already: of the same person and item, and
    within `SAME_PLAY_SECONDS`. One play of a source is one of another at most, so that a song on
    repeat is counted as often as either source has it. Sources that tell days only take no part."""
    again = np.zeros(len(rows), np.bool_)
    single = (rows.kind == Kind.PLAY) & (rows.strength == 1)
    for source in np.unique(rows.source[single]):
        of_source = single & (rows.source == source)
        if (rows.times[of_source] % _DAY == 0).all():
            single &= ~of_source
    if not single.any() or len(np.unique(rows.source[single])) < 2:
        return again
    places = np.flatnonzero(single)
    chosen = rows.at(places)
    order = np.lexsort((chosen.times, chosen.item, chosen.person))
    first = _firsts(order, chosen.person, chosen.item)
    sources, times = chosen.source[order], chosen.times[order]
    ends = np.append(first[1:], len(order))
    mixed = np.minimum.reduceat(sources, first) != np.maximum.reduceat(sources, first)
    for start, end in zip(first[mixed].tolist(), ends[mixed].tolist(), strict=True):
        kept: list[tuple[int, set[int]]] = []  # (time, sources that have told of it)
        for at in range(start, end):
            time, source = int(times[at]), int(sources[at])
            kept = [play for play in kept if time - play[0] <= SAME_PLAY_SECONDS]
            known = next((told for _, told in kept if source not in told), None)
            if known is None:
                kept.append((time, {source}))
            else:
                known.add(source)
                again[places[order[at]]] = True
    return again


def _firsts(order: NDArray[np.intp], *columns: NDArray[np.generic]) -> NDArray[np.intp]:
    """Positions in `order` at which a new combination of the columns begins."""
    new = np.zeros(len(order), np.bool_)
    if len(order):
        new[0] = True
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    return np.flatnonzero(new)
