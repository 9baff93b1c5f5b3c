"""The rows of a table, a chunk of columns at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from openfl.core.errors import DataError
from openfl.sources.dialect import Table
from openfl.sources.interactions import CHUNK_ROWS
from openfl.sources.source import Reading
from openfl.sources.text import as_text, bounded_lines

RAGGED = "more or fewer fields than the table has"
_MAX_BAD = 0.5
"""Part of the rows without the form of the table beyond which it is another file than it seems."""


@dataclass(slots=True)
class Columns:
    """Rows as columns of text. places: the line of each row, counting records as lines."""

    places: Sequence[int]
    cells: Sequence[Sequence[str]]


def column_chunks(reading: Reading, table: Table) -> Iterator[Columns]:
    """All rows below the header that have the width of the table; the others are dropped.

    DataError: the text cannot be decoded, or most rows have another form.
    """
    name = reading.part.name
    good = bad = 0
    with reading.stream() as raw, as_text(raw, reading.head.encoding) as stream:
        rows = table.reader(bounded_lines(stream, name))
        if table.header:
            next(rows, None)
        place = 1 + bool(table.header)
        while True:
            try:
                chunk = list(islice(rows, CHUNK_ROWS))
            except csv.Error as error:
                raise DataError(
                    f"{name}: cannot be read as a table after row {good + bad:,}: {error}; is a"
                    " quote not closed, or data.separator another?"
                ) from None
            if not chunk:
                break
            places: Sequence[int] = range(place, place + len(chunk))
            place += len(chunk)
            if set(map(len, chunk)) != {table.width}:
                uneven = [(at, row) for at, row in zip(places, chunk, strict=True) if any(row)]
                for at, row in uneven:
                    if len(row) != table.width:
                        bad += 1
                        reading.drop(RAGGED, at)
                sound = [(at, row) for at, row in uneven if len(row) == table.width]
                if not sound:
                    continue
                places, chunk = map(list, zip(*sound, strict=True))
            good += len(chunk)
            yield Columns(places, tuple(zip(*chunk, strict=True)))
    if bad > _MAX_BAD * (good + bad):
        raise DataError(
            f"{name}: {bad:,} of {good + bad:,} rows do not have the {table.width} fields of the"
            ' first ones; say what separates them, for example data.separator = ";"'
        )
