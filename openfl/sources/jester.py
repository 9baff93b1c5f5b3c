"""A matrix: a line a person, a column an item, a mark where there is no rating.

As Jester has it: ratings from -10 to 10, 99 for none, and in front, mostly, how many were given. Or
with 0 for none, of whole numbers up to 10. People and items are called by their numbers, from 1 on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from openfl.sources.dialect import Table
from openfl.sources.interactions import NO_TIME, Interactions, Item, Kind
from openfl.sources.numbers import to_floats
from openfl.sources.source import Head, Reading, Source
from openfl.sources.table_rows import column_chunks

_LEAST_WIDTH = 20
_JESTER_NONE = 99.0


def _form(head: Head) -> tuple[float, bool] | None:
    """(the mark for no rating, whether the first column counts ratings); None when it is no
    matrix."""
    table = head.table
    if table is None or table.header or table.width < _LEAST_WIDTH:
        return None
    rows = [row for row in table.rows if len(row) == table.width]
    if not rows:
        return None
    values = _values(rows, table)
    if np.isnan(values).any():
        return None
    for none in (_JESTER_NONE, 0.0):
        for counted in (True, False):
            ratings = values[:, int(counted) :]
            given = ratings != none
            if counted and (values[:, 0] != given.sum(axis=1)).any():
                continue
            if given.all() or not given.any() or not _plausible(ratings[given], none):
                continue
            return none, counted
    return None


def _plausible(ratings: NDArray[np.float64], none: float) -> bool:
    if none == _JESTER_NONE:
        return bool(np.abs(ratings).max() <= 10)
    return bool(ratings.min() >= 1 and ratings.max() <= 10 and (ratings == ratings.round()).all())


def _values(rows: Sequence[Sequence[str]], table: Table) -> NDArray[np.float64]:
    flat = [cell for row in rows for cell in row]
    return to_floats(flat, table.decimal_comma).reshape(len(rows), -1)


def _sniff(head: Head) -> float:
    return 0.9 if _form(head) is not None else 0.0


def _read(reading: Reading) -> Iterator[Interactions]:
    table = reading.head.table
    form = _form(reading.head)
    if table is None or form is None:
        return
    none, counted = form
    reading.remarks.append(
        f"a line a person and a column an item, {none:g} for no rating"
        + (", the first column counts ratings" if counted else "")
    )
    items = [Item(id=str(at + 1)) for at in range(table.width - int(counted))]
    for columns in column_chunks(reading, table):
        values = np.stack([to_floats(cells, table.decimal_comma) for cells in columns.cells])
        ratings = values[int(counted) :].T
        rows, at = np.nonzero((ratings != none) & ~np.isnan(ratings))
        places = [columns.places[row] for row in rows.tolist()]
        yield Interactions(
            Kind.RATING,
            [items[column] for column in at.tolist()],
            ratings[rows, at].tolist(),
            [NO_TIME] * len(places),
            places,
            list(map(str, places)),
        )


JESTER = Source("jester", "matrix of ratings", "opaque", _sniff, _read)
