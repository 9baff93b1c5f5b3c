"""Last.fm, as CSV: `uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid`.

Last.fm itself offers no file; the programs that fetch one's scrobbles write this, or, without a
header, artist, album, track and date. A scrobble is a play that counted already (half of the track,
or four minutes).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from openfl.sources import clock
from openfl.sources.interactions import NO_TIME, Interactions, Item, Kind
from openfl.sources.numbers import to_floats
from openfl.sources.source import Head, Reading, Source
from openfl.sources.table_rows import column_chunks

_PLAIN = {"artist": 0, "album": 1, "track": 2, "date": 3}
"""The columns of a file without a header, as one of those programs writes it."""


def _is_plain(head: Head) -> bool:
    table = head.table
    if table is None or table.header or table.width != len(_PLAIN):
        return False
    rows = [row for row in table.rows if len(row) == table.width]
    dated = sum(_time(row[_PLAIN["date"]]) != NO_TIME for row in rows)
    named = sum(bool(row[0].strip() and row[2].strip()) for row in rows)
    return len(rows) > 0 and min(dated, named) > 0.8 * len(rows) and not rows[0][3].isdigit()


def _sniff(head: Head) -> float:
    if _is_plain(head):
        return 0.9
    if head.has_columns("uts", "artist", "track"):
        return 1.0
    return 0.9 if head.has_columns("artist", "track", "artistmbid", "trackmbid") else 0.0


def _read(reading: Reading) -> Iterator[Interactions]:
    table = reading.head.table
    assert table is not None
    names = table.names if table.header else _PLAIN
    artist, title, uts = names["artist"], names["track"], names.get("uts")
    written = names.get("utctime", names.get("date"))
    for columns in column_chunks(reading, table):
        cells = columns.cells
        if uts is not None:
            seconds = np.nan_to_num(to_floats(cells[uts]), nan=NO_TIME)
            times = [int(s) if 0 < s < 4.1e9 else NO_TIME for s in seconds]
        elif written is not None:
            times = [_time(text) for text in cells[written]]
        else:
            times = [NO_TIME] * len(columns.places)
        yield Interactions(
            Kind.PLAY,
            [Item(t, a) for t, a in zip(cells[title], cells[artist], strict=True)],
            [1.0] * len(times),
            times,
            columns.places,
        )


def _time(text: str) -> int:
    found = clock.from_iso(text)
    return found if found != NO_TIME else clock.from_form(text, "%d %b %Y, %H:%M", "%d %b %Y %H:%M")


LASTFM = Source("lastfm", "Last.fm scrobbles", "music", _sniff, _read)
