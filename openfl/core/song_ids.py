"""Ids of songs that mean the same elsewhere."""

from __future__ import annotations

import re

RECORDING = "https://musicbrainz.org/recording/"
_MBID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def recording_id(song_id: str) -> str | None:
    """The MusicBrainz id of a recording, if a song's id is one, plain or as an address."""
    found = song_id.strip().lower().removeprefix(RECORDING)
    return found if _MBID.fullmatch(found) else None
