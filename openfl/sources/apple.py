"""Apple Music, from privacy.apple.com: two of its many files.

`Apple Music - Play History Daily Tracks.csv` has how often a song was played on a day, with artist
and title in one text. `Apple Music Play Activity.csv` has every play, in some years with the
artist, in others without. Where both are there, the first is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from openfl.core.errors import DataError
from openfl.sources import clock
from openfl.sources.interactions import UNKNOWN, Interactions, Item, Kind, Row, in_chunks
from openfl.sources.numbers import to_floats
from openfl.sources.source import Head, Reading, Source
from openfl.sources.table_rows import column_chunks

_TITLES = ("songname", "contentname", "tracktitle")
_ARTISTS = ("artistname", "artist", "containerartistname")


def _is_daily(head: Head) -> bool:
    return head.has_columns("trackdescription", "playcount", "dateplayed")


def _is_activity(head: Head) -> bool:
    table = head.table
    marks = head.has_columns("playdurationmilliseconds", "eventtype")
    return marks and table is not None and table.position(*_TITLES) is not None


def _sniff(head: Head) -> float:
    return float(_is_daily(head) or _is_activity(head))


def _choose(heads: Sequence[Head]) -> dict[str, str]:
    daily = [head.name for head in heads if _is_daily(head)]
    if not daily:
        return {}
    why = f"tells of the same plays as {daily[0]}"
    return {head.name: why for head in heads if not _is_daily(head)}


def _read(reading: Reading) -> Iterator[Interactions]:
    if _is_daily(reading.head):
        yield from in_chunks(_days(reading), Kind.PLAY, adds=True)
    else:
        yield from in_chunks(_events(reading), Kind.PLAY)


def _days(reading: Reading) -> Iterator[Row]:
    table = reading.head.table
    assert table is not None
    lasted_at = table.names.get("playdurationmilliseconds")
    for columns in column_chunks(reading, table):
        cells = columns.cells
        plays = np.nan_to_num(to_floats(cells[table.names["playcount"]]))
        lasted = (
            np.full(len(plays), UNKNOWN)
            if lasted_at is None
            else to_floats(cells[lasted_at]) / 1000
        )
        each = zip(
            columns.places,
            cells[table.names["trackdescription"]],
            cells[table.names["dateplayed"]],
            plays.tolist(),
            lasted.tolist(),
            strict=True,
        )
        for place, described, day, count, seconds in each:
            artist, dash, title = described.partition(" - ")
            if not dash:
                reading.drop('no artist: no " - " in the description of the track', place)
                continue
            if count < 1:
                reading.drop("skipped: played 0 times", place)
                continue
            time = clock.from_form(day, "%Y%m%d", "%Y-%m-%d")
            yield Row(place, Item(title, artist), count, time, seconds / count)


def _events(reading: Reading) -> Iterator[Row]:
    table = reading.head.table
    assert table is not None
    artist_at, title_at = table.position(*_ARTISTS), table.position(*_TITLES)
    if artist_at is None or title_at is None:
        raise DataError(
            f"{reading.part.name}: has no column with the artist, so that its songs cannot be"
            ' told apart; read "Apple Music - Play History Daily Tracks.csv" of the same download'
        )
    when_at = table.position("eventendtimestamp", "eventstarttimestamp", "eventreceivedtimestamp")
    length_at = table.names.get("mediadurationinmilliseconds")
    for columns in column_chunks(reading, table):
        cells = columns.cells
        blank = ("",) * len(columns.places)
        each = zip(
            columns.places,
            cells[title_at],
            cells[artist_at],
            cells[table.names["eventtype"]],
            blank if when_at is None else cells[when_at],
            (to_floats(cells[table.names["playdurationmilliseconds"]]) / 1000).tolist(),
            (to_floats(blank if length_at is None else cells[length_at]) / 1000).tolist(),
            strict=True,
        )
        for place, title, artist, event, when, played, length in each:
            if event.strip().upper() != "PLAY_END":
                reading.drop("not the end of a play", place)
            elif not title.strip() or not artist.strip():
                reading.drop("no artist or no title", place)
            else:
                yield Row(place, Item(title, artist), 1.0, clock.from_iso(when), played, length)


APPLE = Source("apple-music", "Apple Music", "music", _sniff, _read, choose=_choose)
