"""All sources there are, and which one a file is of."""

from __future__ import annotations

from collections.abc import Sequence

from openfl.core.errors import DataError
from openfl.sources import (
    apple,
    itunes,
    jester,
    lastfm,
    listenbrainz,
    own,
    rated,
    spotify,
    table,
    youtube,
)
from openfl.sources.source import Head, Source

SURE = 0.5
"""Least confidence that a file is of a source."""

SOURCES: Sequence[Source] = (
    spotify.ACCOUNT,
    spotify.EXTENDED,
    lastfm.LASTFM,
    listenbrainz.LISTENBRAINZ,
    apple.APPLE,
    itunes.ITUNES,
    youtube.YOUTUBE,
    rated.LETTERBOXD,
    rated.IMDB,
    rated.GOODREADS,
    own.OWN,
    jester.JESTER,
    table.TABLE,
    table.CATALOGUE,
)
"""Of two that are equally sure, the first one is meant."""


def source_named(name: str) -> Source:
    """DataError when there is none of that name."""
    known = {source.name: source for source in SOURCES}
    if name not in known:
        raise DataError(f'data.format = "{name}": no such format; there are {", ".join(known)}')
    return known[name]


def recognise(head: Head) -> Source | None:
    """The source of a file; None when no source is sure enough."""
    best, confidence = None, 0.0
    for source in SOURCES:
        if (found := source.sniff(head)) > confidence:
            best, confidence = source, found
    return best if confidence >= SURE else None
