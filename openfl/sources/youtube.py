"""YouTube Music, from Google Takeout: `watch-history.json` (choose JSON there, not HTML).

An array of `header, title, subtitles[0].name, time`. The artist is the channel "X - Topic". In
front of the title, or behind it, stands "Watched", in the language of the account: what all titles
begin or end with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from openfl.sources import clock
from openfl.sources.interactions import Interactions, Item, Kind, Row, in_chunks
from openfl.sources.records import typed_records
from openfl.sources.source import Head, Reading, Source

_MUSIC = "YouTube Music"
_TOPIC = " - Topic"
_WATCHED = "Watched "
_ENOUGH = 5
"""Titles that tell what stands in front of all of them."""
_LABEL = re.compile(r"VEVO$")


class _Entry(msgspec.Struct):
    header: str | None = None
    title: str | None = None
    titleUrl: Any = None
    subtitles: Any = None
    time: str | None = None


def _sniff(head: Head) -> float:
    for key, record in head.records:
        if not key and {"header", "title", "time"} <= record.keys():
            return 1.0 if "YouTube" in str(record["header"]) else 0.0
    return 0.0


def around(titles: Sequence[str]) -> tuple[str, str]:
    """(what stands in front of all titles, what behind), whole words; empty when they have nothing
    in common, or are too few to tell."""
    if len(set(titles)) < _ENOUGH:
        return (_WATCHED if titles and all(t.startswith(_WATCHED) for t in titles) else ""), ""
    front = _common_start(titles)
    back = _common_start([title[::-1] for title in titles])[::-1]
    front = front[: front.rfind(" ") + 1]
    back = back[back.find(" ") :] if " " in back else ""
    return front, back


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # what these share, all share
    alike = (at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(alike, min(len(first), len(last)))]


def _read(reading: Reading) -> Iterator[Interactions]:
    yield from in_chunks(_rows(reading), Kind.PLAY)


def _rows(reading: Reading) -> Iterator[Row]:
    seen = [
        str(record.get("title"))
        for _, record in reading.head.records
        if "YouTube" in str(record.get("header")) and record.get("subtitles")
    ]
    front, back = around(seen)
    for place, _, entry in typed_records(reading, _Entry):
        if entry.header != _MUSIC:
            reading.drop("watched on YouTube, not heard in YouTube Music", place)
            continue
        channel = _channel(entry.subtitles)
        if not entry.title or not channel:
            reading.drop("no title or no artist (a video that was removed)", place)
            continue
        title = entry.title.removeprefix(front).removesuffix(back)
        if channel.endswith(_TOPIC):
            artist = channel.removesuffix(_TOPIC)
        else:  # a video: its title often has both
            named, dash, rest = title.partition(" - ")
            artist, title = (named, rest) if dash else (_LABEL.sub("", channel), title)
        yield Row(place, Item(title, artist), time=clock.from_iso(entry.time))


def _channel(subtitles: Any) -> str:
    if isinstance(subtitles, list) and subtitles and isinstance(subtitles[0], dict):
        name = subtitles[0].get("name")
        return name.strip() if isinstance(name, str) else ""
    return ""


YOUTUBE = Source("youtube-music", "YouTube Music watch history", "music", _sniff, _read)
