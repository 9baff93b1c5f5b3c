"""Spotify, account data (the last year, in minutes) and extended streaming history (all of it).

Account data: StreamingHistory_music_N.json and StreamingHistoryN.json, arrays of `endTime,
artistName, trackName, msPlayed`; YourLibrary.json, whose `tracks` were liked. Extended:
Streaming_History_Audio_*.json and endsong_N.json, arrays of `ts, ms_played,
master_metadata_track_name, ...`. Both give the end of a play: one that is in both is one.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from openfl.sources import clock
from openfl.sources.interactions import Interactions, Item, Kind, Row, in_chunks
from openfl.sources.records import typed_records
from openfl.sources.source import Head, Reading, Source

_PODCAST = "a podcast or video, not a song"
_LIKED = "tracks"


class _Play(msgspec.Struct):
    endTime: str | None = None
    artistName: str | None = None
    trackName: str | None = None
    msPlayed: float | None = None
    podcastName: str | None = None


class _Liked(msgspec.Struct):
    artist: str | None = None
    track: str | None = None
    uri: str | None = None


class _Extended(msgspec.Struct):
    # Nothing else is decoded: a record has the address, the country and the user's name, too.
    ts: str | None = None
    ms_played: float | None = None
    master_metadata_track_name: str | None = None
    master_metadata_album_artist_name: str | None = None
    spotify_track_uri: str | None = None


def _sniff_account(head: Head) -> float:
    for key, record in head.records:
        if not key and {"endTime", "msPlayed"} <= record.keys():
            return 1.0
        if key == _LIKED and {"artist", "track", "uri"} <= record.keys():
            return 0.95 if str(record["uri"]).startswith("spotify:") else 0.6
    return 0.0


def _sniff_extended(head: Head) -> float:
    marks = {"ts", "ms_played", "master_metadata_track_name"}
    return float(any(not key and marks <= record.keys() for key, record in head.records))


def _read_account(reading: Reading) -> Iterator[Interactions]:
    if any(key == _LIKED for key, _ in reading.head.records):
        yield from in_chunks(_liked(reading), Kind.LIKE)
    else:
        yield from in_chunks(_plays(reading), Kind.PLAY)


def _plays(reading: Reading) -> Iterator[Row]:
    for place, _, play in typed_records(reading, _Play):
        if not play.trackName or not play.artistName:
            reading.drop(_PODCAST, place)
            continue
        yield Row(
            place,
            Item(play.trackName, play.artistName),
            time=clock.from_iso(play.endTime),
            played=(play.msPlayed or 0) / 1000,
        )


def _liked(reading: Reading) -> Iterator[Row]:
    for place, _, liked in typed_records(reading, _Liked, _LIKED):
        if not liked.track or not liked.artist:
            reading.drop("no artist or no title", place)
            continue
        yield Row(place, Item(liked.track, liked.artist))


def _read_extended(reading: Reading) -> Iterator[Interactions]:
    yield from in_chunks(_extended(reading), Kind.PLAY)


def _extended(reading: Reading) -> Iterator[Row]:
    for place, _, play in typed_records(reading, _Extended):
        title, artist = play.master_metadata_track_name, play.master_metadata_album_artist_name
        if not title or not artist:
            reading.drop(_PODCAST, place)
            continue
        yield Row(
            place,
            Item(title, artist),
            time=clock.from_iso(play.ts),
            played=(play.ms_played or 0) / 1000,
        )


ACCOUNT = Source("spotify", "Spotify account data", "music", _sniff_account, _read_account)
EXTENDED = Source(
    "spotify-extended",
    "Spotify extended streaming history",
    "music",
    _sniff_extended,
    _read_extended,
)
