"""`plays.csv` as a node reads it, read like any export: to look into it, or to join several."""

from __future__ import annotations

from collections.abc import Iterator

from openfl.sources.interactions import Interactions, Item
from openfl.sources.own_form import PLAYS_HEADER, Entry, by_kind, entry_of
from openfl.sources.source import Head, Reading, Source
from openfl.sources.table_rows import column_chunks


def _sniff(head: Head) -> float:
    return float(head.table is not None and list(head.table.header) == PLAYS_HEADER)


def _entries(reading: Reading) -> Iterator[Entry]:
    table = reading.head.table
    assert table is not None
    known: dict[str, Item] = {}
    for columns in column_chunks(reading, table):
        rows = zip(*columns.cells, strict=True)
        for place, row in zip(columns.places, rows, strict=True):
            item = known.setdefault(row[1], Item(id=row[1]))
            entry = entry_of(place, row, item)
            if entry is None:
                reading.drop("not as `openfl-node data convert` writes it", place)
            else:
                yield entry


def _read(reading: Reading) -> Iterator[Interactions]:
    for _, chunk in by_kind(_entries(reading)):
        yield chunk


OWN = Source("openfl", "plays as a node reads them", "opaque", _sniff, _read)
