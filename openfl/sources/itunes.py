"""iTunes and Music: the library as XML (File > Library > Export Library), a property list.

Read as a stream, by events of expat, and without entities: those that a file declares itself could
grow without end, and the exports have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat

from openfl.core.errors import DataError
from openfl.sources import clock
from openfl.sources.interactions import CHUNK_ROWS, Interactions, Item, Kind, Row, in_chunks
from openfl.sources.limits import MAX_DEPTH, MAX_RECORD_BYTES
from openfl.sources.source import Head, Reading, Source

_WANTED = frozenset(
    {"Name", "Artist", "Play Count", "Rating", "Play Date UTC", "Total Time"}
    | {"Rating Computed", "Loved", "Podcast", "Movie", "TV Show", "Audiobook", "Disabled"}
)
_NOT_SONGS = ("Podcast", "Movie", "TV Show", "Audiobook")
_STARS = 20
"""Of the rating, which goes to 100."""
_TRACK_DEPTH = 4
"""plist, its dict, that of Tracks, that of one track."""
_MAX_TEXT = 1 << 16
_BLOCK = 1 << 16


class _Tracks:
    """The tracks of a library, in the order in which their elements close."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._data
        self.parser.EntityDeclHandler = self._entity
        self.parser.buffer_text = True
        self.ready: list[dict[str, str]] = []
        self._open: list[str] = []
        self._key = ""
        self._section = ""
        self._text: list[str] = []
        self._size = 0
        self._track: dict[str, str] | None = None

    def _entity(self, *declared: object) -> None:
        raise DataError(f"{self._name}: declares entities, which no library does: not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append(tag)
        if len(self._open) > MAX_DEPTH:
            raise DataError(f"{self._name}: nested too deeply; not a library")
        self._text.clear()
        self._size = 0
        if tag == "dict" and len(self._open) == _TRACK_DEPTH and self._section == "Tracks":
            self._track = {}

    def _data(self, text: str) -> None:
        self._size += len(text)
        if self._size <= _MAX_TEXT:
            self._text.append(text)

    def _end(self, tag: str) -> None:
        self._open.pop()
        depth = len(self._open)
        text = "".join(self._text)
        self._text.clear()
        if tag == "key":
            if depth == 2:
                self._section = text
            self._key = text
        elif self._track is not None and depth == _TRACK_DEPTH:
            if self._key in _WANTED:
                self._track[self._key] = tag if tag in ("true", "false") else text
        elif self._track is not None and depth == _TRACK_DEPTH - 1:
            self.ready.append(self._track)
            self._track = None


def _sniff(head: Head) -> float:
    text = head.text
    if not re.match(r"\s*<\?xml|\s*<!DOCTYPE plist|\s*<plist", text[:1000]):
        return 0.0
    if "<plist" not in text or "<key>Tracks</key>" not in text:
        return 0.0
    return 1.0


def _tracks(reading: Reading) -> Iterator[tuple[int, dict[str, str]]]:
    """(number from 1, what is wanted of it) of each track. DataError: it is no well-formed XML."""
    tracks = _Tracks(reading.part.name)
    number = since = 0
    with reading.stream() as stream:
        try:
            while block := stream.read(_BLOCK):
                tracks.parser.Parse(block, False)
                since += len(block)
                if tracks.ready:
                    since = 0
                elif since > 64 * MAX_RECORD_BYTES:
                    raise DataError(f"{reading.part.name}: 64 MB without a track; not a library")
                for track in tracks.ready:
                    number += 1
                    yield number, track
                tracks.ready.clear()
            tracks.parser.Parse(b"", True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            raise DataError(
                f"{reading.part.name}:{error.lineno}: damaged or cut off: {why}; export it again"
            ) from None
    for track in tracks.ready:
        number += 1
        yield number, track


def _read(reading: Reading) -> Iterator[Interactions]:
    rows: dict[Kind, list[Row]] = {Kind.COUNT: [], Kind.LIKE: [], Kind.RATING: []}
    for place, track in _tracks(reading):
        for kind, row in _rows(reading, place, track):
            rows[kind].append(row)
            if len(rows[kind]) == CHUNK_ROWS:
                yield from in_chunks(rows[kind], kind, adds=kind == Kind.COUNT)
                rows[kind].clear()
    for kind, rest in rows.items():
        yield from in_chunks(rest, kind, adds=kind == Kind.COUNT)


def _rows(reading: Reading, place: int, track: dict[str, str]) -> Iterator[tuple[Kind, Row]]:
    if any(track.get(what) == "true" for what in _NOT_SONGS):
        reading.drop("a podcast, film or audiobook, not a song", place)
        return
    item = Item(track.get("Name", ""), track.get("Artist", ""))
    if not item.title.strip() or not item.artist.strip():
        reading.drop("no artist or no title", place)
        return
    plays, rating = _whole(track.get("Play Count")), _whole(track.get("Rating"))
    played_at = clock.from_iso(track.get("Play Date UTC"))
    if plays > 0:
        yield Kind.COUNT, Row(place, item, float(plays))
    if 0 < rating <= 100 and track.get("Rating Computed") != "true":
        yield Kind.RATING, Row(place, item, rating / _STARS, played_at)
    if track.get("Loved") == "true":
        yield Kind.LIKE, Row(place, item)
    elif plays <= 0 and (rating <= 0 or track.get("Rating Computed") == "true"):
        reading.drop("never played, rated or loved", place)


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


ITUNES = Source("itunes", "iTunes or Music library", "music", _sniff, _read, scale=(0.5, 5.0))
