"""ListenBrainz export: `listens/YEAR/MONTH.jsonl`, a listen a line, and `feedback.jsonl`.

A listen is one that counted already (half of the track, or four minutes). Feedback names recordings
by MusicBrainz id only; what these are called is known from the listens, which are read first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from openfl.sources import clock
from openfl.sources.interactions import UNKNOWN, Interactions, Item, Kind, Row, in_chunks
from openfl.sources.records import typed_lines, typed_records
from openfl.sources.source import Head, Reading, Source


class _Additional(msgspec.Struct):
    # Whatever a player has sent: text where a number should be is no reason to lose a listen.
    duration_ms: Any = None
    duration: Any = None
    duration_played: Any = None
    recording_mbid: Any = None


class _Mapping(msgspec.Struct):
    recording_mbid: str | None = None


class _Track(msgspec.Struct):
    artist_name: str | None = None
    track_name: str | None = None
    additional_info: _Additional | None = None
    mbid_mapping: _Mapping | None = None


class _Listen(msgspec.Struct):
    listened_at: float | None = None
    track_metadata: _Track | None = None


class _Feedback(msgspec.Struct):
    score: int | None = None
    recording_mbid: str | None = None
    track_metadata: _Track | None = None
    created: float | None = None


def _sniff(head: Head) -> float:
    first = head.first_line
    if first is None and head.records:
        first = head.records[0][1]
    if first is None:
        return 0.0
    if "track_metadata" in first and "listened_at" in first:
        return 1.0
    return 0.95 if "recording_mbid" in first and "score" in first else 0.0


def _is_feedback(head: Head) -> bool:
    first = head.first_line or (head.records[0][1] if head.records else {})
    return "listened_at" not in first


def _read(reading: Reading) -> Iterator[Interactions]:
    if _is_feedback(reading.head):
        yield from in_chunks(_feedback(reading), Kind.LIKE)
    else:
        yield from in_chunks(_listens(reading), Kind.PLAY)


def _rows_of(reading: Reading, form: type[msgspec.Struct]) -> Iterator[tuple[int, msgspec.Struct]]:
    if reading.head.json_start == "[":  # older exports are one array
        yield from ((place, record) for place, _, record in typed_records(reading, form))
    else:
        yield from typed_lines(reading, form)


def _listens(reading: Reading) -> Iterator[Row]:
    called: dict[str, Item] = reading.memory.setdefault("recordings", {})
    for place, listen in _rows_of(reading, _Listen):
        assert isinstance(listen, _Listen)
        track = listen.track_metadata
        if track is None or not track.artist_name or not track.track_name:
            reading.drop("no artist or no title", place)
            continue
        item = Item(track.track_name, track.artist_name)
        more = track.additional_info or _Additional()
        mapped = track.mbid_mapping
        for mbid in (mapped.recording_mbid if mapped else None, more.recording_mbid):
            if isinstance(mbid, str):
                called.setdefault(mbid, item)
        length = _number(more.duration_ms) / 1000
        if math.isnan(length):
            length = _number(more.duration)
        played = _number(more.duration_played)
        yield Row(place, item, 1.0, clock.from_number(listen.listened_at), played, length)


def _number(value: object) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and value > 0 else UNKNOWN  # type: ignore[arg-type, operator]


def _feedback(reading: Reading) -> Iterator[Row]:
    called: dict[str, Item] = reading.memory.get("recordings", {})
    for place, told in _rows_of(reading, _Feedback):
        assert isinstance(told, _Feedback)
        if told.score != 1:
            reading.drop("not liked (feedback that is no love)", place)
            continue
        item = called.get(told.recording_mbid or "")
        track = told.track_metadata
        if track is not None and track.artist_name and track.track_name:
            item = Item(track.track_name, track.artist_name)
        if item is None:
            reading.drop("liked, but in no listen: no artist and title are known", place)
            continue
        yield Row(place, item, 1.0, clock.from_number(told.created))


LISTENBRAINZ = Source(
    "listenbrainz",
    "ListenBrainz export",
    "music",
    _sniff,
    _read,
    order=lambda head: int(_is_feedback(head)),
)
