"""Lists of songs in the formats that other programs read: CSV, M3U8 and JSPF.

Names can come from strangers. Whatever a format has for it, an escape or quotes, is used; what it
has nothing for, such as a control character in CSV, is shown as U+FFFD, as `clean` does.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from openfl.core.names import is_unseen
from openfl.core.song_ids import RECORDING, recording_id
from openfl_cli.text import clean, to_json

FORMATS = ("table", "json", "csv", "m3u8", "jspf")

PLAYLIST_EXTENSION = "https://musicbrainz.org/doc/jspf#playlist"
_FORMULA = ("=", "+", "-", "@", "\t")
_NOT_IN_FILE_NAMES = re.compile(r'[/\\:*?"<>|]')
_MAX_NAME = 200


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """RFC 4180 with a header, but a plain newline after each row. None is empty.

    A text that a spreadsheet would take for a formula has an apostrophe put before it: the name of
    a song must not be able to run one.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column)) for column in columns])
    return written.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    text = "".join("\ufffd" if is_unseen(c) and c not in "\n\t" else c for c in lines)
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_m3u8(title: str, songs: Iterable[Mapping[str, Any]]) -> str:
    """Extended M3U in UTF-8. There are no files to point at, so an entry is called by its artist
    and title: programs that look songs up by name read `#EXTINF`. Nothing in a name becomes a path
    or an address."""
    lines = ["#EXTM3U", f"#PLAYLIST:{clean(title, _MAX_NAME)}"]
    for song in songs:
        name = clean(_name(song), _MAX_NAME)
        place = _NOT_IN_FILE_NAMES.sub("_", name).lstrip("#. ") or "_"
        lines += [f"#EXTINF:-1,{name}", place]
    return "".join(f"{line}\n" for line in lines)


def as_jspf(title: str, songs: Sequence[Mapping[str, Any]], now: float) -> str:
    """A playlist in JSON (https://xspf.org/jspf), as ListenBrainz reads it: a song whose id is a
    MusicBrainz recording's has that in `identifier`. now: unix seconds, of `date`."""
    tracks = []
    for song in songs:
        track: dict[str, Any] = {"title": song["title"] or str(song["song_id"])}
        if song["artist"]:
            track["creator"] = song["artist"]
        if recording := recording_id(song["song_id"]):
            track["identifier"] = [f"{RECORDING}{recording}"]
        if song.get("why"):
            track["annotation"] = f"because of {', '.join(_name(own) for own in song['why'])}"
        tracks.append(track)
    playlist = {
        "title": title,
        "creator": "openfl-node",
        "date": datetime.fromtimestamp(int(now), UTC).isoformat(),
        "extension": {PLAYLIST_EXTENSION: {"public": False}},
        "track": tracks,
    }
    return to_json({"playlist": playlist}, indent=2) + "\n"


def jspf_note(songs: Sequence[Mapping[str, Any]]) -> str | None:
    """What to know before a list goes to ListenBrainz; None when it takes it as it is."""
    without = sum(recording_id(song["song_id"]) is None for song in songs)
    if not without:
        return None
    return (
        f"{without} of {len(songs)} songs have no MusicBrainz recording as their id: ListenBrainz"
        " takes only lists in which all have one; others go by title and creator"
    )


def _name(song: Mapping[str, Any]) -> str:
    title = song["title"] or str(song["song_id"])
    return f"{song['artist']} - {title}" if song["artist"] else title
