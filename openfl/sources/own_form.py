"""The files that a node learns from, written from what was imported, and added to.

A folder with `ratings.csv` (`user_id,song_id,rating,time`) or `plays.csv`
(`user_id,song_id,plays,time,kind,source`), and `songs.csv` (`song_id,title,artist`) where names are
known. Rows stay apart, each with its time, so that a newer export of the same person adds what is
new to them and nothing twice: plays.csv is read with the export, and what both say is one row. A
node adds up the plays of a song itself, and ignores the columns it does not know.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openfl.core.atomic_files import reason
from openfl.core.errors import DataError, StateError
from openfl.core.files import open_named
from openfl.sources.collect import Collected, Collector
from openfl.sources.containers import told_of
from openfl.sources.interactions import CHUNK_ROWS, NO_TIME, Interactions, Item, Kind, Task
from openfl.sources.source import Items

PLAYS = "plays.csv"
RATINGS = "ratings.csv"
SONGS = "songs.csv"
PLAYS_HEADER = ["user_id", "song_id", "plays", "time", "kind", "source"]
_RATINGS_HEADER = ["user_id", "song_id", "rating", "time"]
_SONGS_HEADER = ["song_id", "title", "artist"]
_WORDS = {Kind.PLAY: "play", Kind.COUNT: "total", Kind.LIKE: "like", Kind.RATING: "rating"}
_KINDS = {word: kind for kind, word in _WORDS.items()}
_TEMPORARY = ".openfl-import."
_MAX_SOURCES = 60
_LONGEST_NAME = 40
_LAST_TIME = 1 << 40
_BLOCK = 1 << 16
"""Rows that are written at once."""


@dataclass(frozen=True)
class Written:
    """What `write` has made. rows: file -> rows in it. songs: None where no names are known."""

    rows: dict[Path, int]
    songs: Path | None


def data_file(folder: Path, collected: Collected, task: Task) -> Path:
    """The file that `task` learns from, of what `write` makes of `collected` in `folder`."""
    has_plays = bool((collected.rows.kind != Kind.RATING).any())
    return folder / (PLAYS if task == "implicit" and has_plays else RATINGS)


def write(collected: Collected, folder: Path) -> Written:
    """Make `folder`, or replace the files in it.

    StateError: it cannot be written; then what was there before is there still, and nothing else.
    """
    rated = collected.rows.kind == Kind.RATING
    named = any(title for title, _ in collected.labels)
    songs = folder / SONGS if named else None
    rows: dict[Path, int] = {}
    temporary: dict[Path, Path] = {}
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        if songs is not None:  # first: more names than songs do no harm
            before = _labels(songs) if songs.exists() else {}
            lines = _song_lines(collected, before)
            temporary[songs] = _written(folder, _SONGS_HEADER, lines)
        if rated.any():
            chosen, path = collected.only(rated), folder / RATINGS
            rows[path] = len(chosen)
            temporary[path] = _written(folder, _RATINGS_HEADER, _rating_lines(chosen))
        if not rated.all():
            chosen, path = collected.only(~rated), folder / PLAYS
            rows[path] = len(chosen)
            temporary[path] = _written(folder, PLAYS_HEADER, _play_lines(chosen))
        for path in list(temporary):
            os.replace(temporary[path], path)
            del temporary[path]
    except OSError as error:
        raise StateError(f"{folder}: cannot be written: {reason(error)}") from error
    finally:
        for name in temporary.values():
            with suppress(OSError):
                name.unlink()
        if made:
            with suppress(OSError):
                folder.rmdir()  # only when it is empty
    return Written(rows, songs)


def read_into(collector: Collector, folder: Path, items: Items) -> None:
    """What `write` wrote into a folder before, first of all: what is read later is newer.

    Items of music are named anew by their titles and artists, in case the rule has changed since.
    DataError: a file there is not of this form.
    """
    names = _labels(folder / SONGS) if (folder / SONGS).exists() else {}
    for file, header in ((PLAYS, PLAYS_HEADER), (RATINGS, _RATINGS_HEADER)):
        path = folder / file
        if path.exists():
            for source, chunk in _chunks(path, header, names, items):
                collector.add(chunk, items, str(path), source)


def _item(item_id: str, names: dict[str, tuple[str, str]], items: Items) -> Item:
    title, artist = names.get(item_id, ("", ""))
    if items == "music" and title and artist:
        return Item(title, artist)
    return Item("" if items == "film" else title, artist, item_id)


def _chunks(
    path: Path, header: list[str], names: dict[str, tuple[str, str]], items: Items
) -> Iterator[tuple[str, Interactions]]:
    """(name of the source, rows of it)"""
    known: dict[str, Item] = {}

    def entries() -> Iterator[Entry]:
        for place, row in _rows(path, header):
            if row[1] not in known:
                known[row[1]] = _item(row[1], names, items)
            entry = entry_of(place, row, known[row[1]])
            if entry is None:
                raise _not_ours(path, place)
            yield entry

    return by_kind(entries())


class Entry(NamedTuple):
    """A row of plays.csv or ratings.csv."""

    place: int
    person: str
    item: Item
    strength: float
    time: int
    kind: Kind
    source: str


def entry_of(place: int, row: Sequence[str], item: Item) -> Entry | None:
    """The row at `place`; None when it is not as `write` writes one."""
    kind, source = (_KINDS.get(row[4]), row[5]) if len(row) > 4 else (Kind.RATING, "")
    try:
        strength, time = float(row[2]), int(row[3]) if row[3] else NO_TIME
    except ValueError:
        return None
    if kind is None or not -1 <= time < _LAST_TIME or len(source) > _LONGEST_NAME:
        return None
    return Entry(place, row[0], item, strength, time, kind, source)


def by_kind(entries: Iterable[Entry]) -> Iterator[tuple[str, Interactions]]:
    """(source, chunk) of the entries: those of one kind and source together. Of more than
    `_MAX_SOURCES` sources the rest are "other"."""
    waiting: dict[tuple[Kind, str], list[Entry]] = {}
    for entry in entries:
        key = entry.kind, entry.source
        if key not in waiting and len(waiting) >= _MAX_SOURCES:
            key = entry.kind, "other"
        rows = waiting.setdefault(key, [])
        rows.append(entry)
        if len(rows) == CHUNK_ROWS:
            yield key[1], _chunk(rows)
            rows.clear()
    for (_, source), rows in waiting.items():
        if rows:
            yield source, _chunk(rows)


def _chunk(rows: Sequence[Entry]) -> Interactions:
    places, people, items, strength, times, kinds, _ = zip(*rows, strict=True)
    return Interactions(kinds[0], items, strength, times, places, people)


def _rows(path: Path, header: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of each row. DataError: the file has another header, or a row another form."""
    with (
        told_of(str(path)),
        open_named(path) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", newline="") as stream,
    ):
        rows = csv.reader(stream)
        if next(rows, None) != header:
            raise _not_ours(path, 1)
        try:
            for place, row in enumerate(rows, 2):
                if len(row) != len(header):
                    raise _not_ours(path, place)
                yield place, row
        except csv.Error:
            raise _not_ours(path, rows.line_num) from None


def _not_ours(path: Path, place: int) -> DataError:
    return DataError(
        f"{path}:{place}: not as `openfl-node data convert` writes it; name another folder"
    )


def _labels(path: Path) -> dict[str, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for _, row in _rows(path, _SONGS_HEADER)}


# --- writing --------------------------------------------------------------------------------------


def _clear(folder: Path) -> None:
    """Away with what a process that was killed has left."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):
            path.unlink()


def _written(folder: Path, header: list[str], lines: Iterator[str]) -> Path:
    """A temporary file in `folder` with a header and lines, safe on the disk."""
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(",".join(header) + "\n")
            stream.writelines(lines)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    return Path(name)


def _field(text: str) -> str:
    """`text` as a field of a CSV file."""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _numbers(values: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], list[str]]:
    """A function that writes some of `values`, each as short as it can be told."""
    known = np.unique(values)
    written = [str(int(v)) if v == int(v) else str(v) for v in known]
    return lambda some: [written[at] for at in np.searchsorted(known, some).tolist()]


def _blocks(collected: Collected) -> Iterator[slice]:
    for start in range(0, len(collected), _BLOCK):
        yield slice(start, start + _BLOCK)


def _common(collected: Collected) -> Iterator[tuple[slice, Iterator[tuple[str, str, str, str]]]]:
    """Blocks of rows, and of each row the fields (user, item, strength, time)."""
    people = [_field(person) for person in collected.people]
    items = [_field(item) for item in collected.item_ids]
    numbers = _numbers(collected.rows.strength)
    for block in _blocks(collected):
        times = ("" if t == NO_TIME else str(t) for t in collected.rows.times[block].tolist())
        yield (
            block,
            zip(
                (people[at] for at in collected.rows.person[block].tolist()),
                (items[at] for at in collected.rows.item[block].tolist()),
                numbers(collected.rows.strength[block]),
                times,
                strict=True,
            ),
        )


def _play_lines(collected: Collected) -> Iterator[str]:
    words = [_WORDS[kind] for kind in Kind]
    for block, rows in _common(collected):
        kinds = collected.rows.kind[block].tolist()
        sources = collected.rows.source[block].tolist()
        for (person, item, strength, time), kind, source in zip(rows, kinds, sources, strict=True):
            name = collected.sources[source]
            yield f"{person},{item},{strength},{time},{words[kind]},{name}\n"


def _rating_lines(collected: Collected) -> Iterator[str]:
    for _, rows in _common(collected):
        for person, item, strength, time in rows:
            yield f"{person},{item},{strength},{time}\n"


def _song_lines(collected: Collected, before: dict[str, tuple[str, str]]) -> Iterator[str]:
    now = zip(collected.item_ids, collected.labels, strict=True)
    merged = before | {item: label for item, label in now if label[0]}
    for item, (title, artist) in merged.items():
        yield f"{_field(item)},{_field(title)},{_field(artist)}\n"
