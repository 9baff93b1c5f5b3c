"""Ratings of users and the catalogue of songs, read from CSV files.

ratings.csv: columns `user_id,song_id,rating`, in any order, other columns ignored. Ids are kept as
text. songs.csv: `song_id,title`, and `artist,genre` when known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.csv_table import (
    BadRows,
    Columns,
    Table,
    canonical,
    column_names,
    not_a_number,
    read_table,
    rows_with_lines,
)
from openfl.learning.factorization.rating_scale import (
    Scale,
    detect_scale,
    format_scale,
    looks_like_unix_time,
    parse_scale,
    scale_without_strays,
)

RATING_COLUMNS = ("user_id", "song_id", "rating")
PLAYS_COLUMNS = ("plays", "count")
MAX_RATING = 1e9


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what how: `values[n]` by user `users[user_index[n]]` of `songs[song_index[n]]`.

    user_index, song_index: int32[n]. values: float32[n], all within `scale`. A (user, song) pair
    occurs once. `duplicates`: how many rows were superseded by a later row of the same pair;
    `skipped`: how many could not be used, and were left out because the owner said so. `doubt`:
    about a rating that is far off all others, but was believed all the same. Ids are
    canonical (see `csv_table.canonical`). The arrays are made read-only.
    `source` is the file they came from, "" when made in memory. `left_out`: songs that a user has
    met but that are no part of this (too few plays, too low a rating); never to be recommended.
    """

    users: tuple[str, ...]
    songs: tuple[str, ...]
    user_index: NDArray[np.int32]
    song_index: NDArray[np.int32]
    values: NDArray[np.float32]
    scale: Scale
    duplicates: int = 0
    source: str = ""
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: int = 0
    doubt: str = ""

    def __post_init__(self) -> None:
        for array in (self.user_index, self.song_index, self.values):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _user_positions(self) -> dict[str, int]:
        return {user: position for position, user in enumerate(self.users)}

    def has_user(self, user: str) -> bool:
        """Whether there are ratings of this user, however the id is written."""
        return canonical(user) in self._user_positions

    def of_user(self, user: str) -> dict[str, float]:
        """{song id: rating} of one user; empty when unknown."""
        position = self._user_positions.get(canonical(user))
        if position is None:
            return {}
        chosen = np.flatnonzero(self.user_index == position)
        return {self.songs[self.song_index[n]]: float(self.values[n]) for n in chosen}

    def only_users(self, wanted: Callable[[str], bool]) -> Ratings:
        """The ratings of the users that `wanted` accepts, interned anew, in the same order."""
        keep_user = np.fromiter(map(wanted, self.users), dtype=np.bool_, count=len(self.users))
        chosen = np.flatnonzero(keep_user[self.user_index])
        users, user_index = np.unique(self.user_index[chosen], return_inverse=True)
        songs, song_index = np.unique(self.song_index[chosen], return_inverse=True)
        return Ratings(
            users=tuple(self.users[n] for n in users),
            songs=tuple(self.songs[n] for n in songs),
            user_index=user_index.astype(np.int32),
            song_index=song_index.astype(np.int32),
            values=self.values[chosen],
            scale=self.scale,
            source=self.source,
            left_out={user: songs for user, songs in self.left_out.items() if wanted(user)},
        )


def load_ratings(
    path: Path | str,
    scale: str | Scale = "auto",
    skip_bad_rows: bool = False,
    believed: Scale | None = None,
) -> Ratings:
    """The ratings in a CSV file (UTF-8, with or without BOM; a header is required).

    `scale` is "auto", "LOWEST-HIGHEST" or a pair. Of rows with the same user and song the last one
    counts. DataError names the file, and the line, column and value of each row that is wrong
    (unless they are to be skipped); with "auto" also when a few ratings are far off the scale of
    all others (see `scale_without_strays`), unless all lie within the scale `believed`: then the
    result has a `doubt` about the first of them. ConfigError when `scale` is not a scale.
    """
    path = Path(path)
    names = column_names(path)
    if "rating" not in names and (plays := next((c for c in PLAYS_COLUMNS if c in names), None)):
        raise DataError(
            f"{path}:1: missing column rating in the header; what is in column {plays} is learned"
            ' with task.kind = "implicit"'
        )
    wanted_scale = parse_scale(scale) if isinstance(scale, str) else scale
    table = Table(path, RATING_COLUMNS, problem=lambda row: _row_problem(row, wanted_scale))
    # Without the bad rows at first, so that ratings that are astray are told together with them.
    read, skipped = read_table(table, lambda chunks: _read(chunks, wanted_scale), skip=True)
    doubt = ""
    if wanted_scale is None and len(read.values):
        lowest, highest = float(read.values.min()), float(read.values.max())
        _refuse_no_ratings(path, lowest, highest)
        near = scale_without_strays(read.values)
        if near is not None and believed is not None and _within(read.values, believed):
            # The group has learned from these ratings already: its members would be cut off now.
            doubt = _doubt(_table_without_strays(path, near, read.values))
            near = None
        wanted_scale = near or detect_scale(lowest, highest)
        if near is not None:
            table = _table_without_strays(path, near, read.values)
            read, skipped = read_table(table, lambda c: _read(c, wanted_scale), skip_bad_rows)
    if skipped and not skip_bad_rows:
        read_table(table, lambda chunks: _read(chunks, wanted_scale), skip=False)
    values = read.values
    if not len(values):
        raise DataError(f"{path}: the file has a header but no ratings")
    if wanted_scale is None:
        raise DataError(
            f"{path}: every rating is {values[0]:g}, which says nothing about the scale; "
            f'give it, for example data.rating_scale = "0-{abs(values[0]):g}"'
        )
    kept = last_of_each_pair(read.user_index, read.song_index, len(read.songs))
    return Ratings(
        users=read.users,
        songs=read.songs,
        user_index=read.user_index[kept],
        song_index=read.song_index[kept],
        values=values[kept],
        scale=wanted_scale,
        duplicates=len(values) - len(kept),
        source=str(path),
        skipped=skipped,
        doubt=doubt,
    )


def _doubt(table: Table) -> str:
    """What is wrong with the first row that is."""
    for line, row in rows_with_lines(table.path, table.required):
        if (wrong := table.problem(row)) is not None:
            return f"{table.path}:{line}: {wrong}"
    return ""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as they stand in the file: like `Ratings`, but pairs may occur again."""

    users: tuple[str, ...]
    songs: tuple[str, ...]
    user_index: NDArray[np.int32]
    song_index: NDArray[np.int32]
    values: NDArray[np.float32]


def _read(chunks: Iterator[Columns], scale: Scale | None) -> Rows:
    """BadRows when an id is empty, or a rating no number within the scale."""

    def to_values(columns: Columns) -> NDArray[np.float32] | None:
        values = to_floats(columns[2])
        return values if values is not None and _within(values, scale) else None

    return read_rows(chunks, to_values)


def read_rows(
    chunks: Iterator[Columns], to_values: Callable[[Columns], NDArray[np.float32] | None]
) -> Rows:
    """Rows of (user, song, ...) with ids interned. BadRows when an id is empty, or `to_values` has
    none for a chunk."""
    users: defaultdict[str, int] = defaultdict()
    songs: defaultdict[str, int] = defaultdict()
    users.default_factory = users.__len__  # an unseen id gets the next number
    songs.default_factory = songs.__len__
    user_parts = [np.zeros(0, np.int32)]
    song_parts = [np.zeros(0, np.int32)]
    value_parts = [np.zeros(0, np.float32)]
    for columns in chunks:
        count = len(columns[0])
        values = to_values(columns)
        if values is None:
            raise BadRows
        value_parts.append(values)
        user_parts.append(np.fromiter(map(users.__getitem__, columns[0]), np.int32, count))
        song_parts.append(np.fromiter(map(songs.__getitem__, columns[1]), np.int32, count))
    if "" in users or "" in songs:
        raise BadRows
    return Rows(
        tuple(users),
        tuple(songs),
        np.concatenate(user_parts),
        np.concatenate(song_parts),
        np.concatenate(value_parts),
    )


def _row_problem(row: Sequence[str], scale: Scale | None) -> str | None:
    user, song, text = row
    for column, value in (("user_id", user), ("song_id", song), ("rating", text)):
        if not value:
            return f"column {column} is empty"
    values = to_floats((text,))
    if values is None:
        return f"column rating: {not_a_number(text)}"
    if not _within(values, scale):
        assert scale is not None
        return f"column rating: {text} is outside the scale {format_scale(scale)}"
    return None


def _refuse_no_ratings(path: Path, lowest: float, highest: float) -> None:
    """DataError when what stands in the column cannot be ratings at all."""
    if looks_like_unix_time(lowest, highest):
        raise DataError(
            f"{path}: column rating: all values lie between {lowest:.0f} and {highest:.0f}, which"
            " looks like unix times, not ratings: is the header in the order of the columns?"
        )
    if max(abs(lowest), abs(highest)) > MAX_RATING:
        worst = lowest if abs(lowest) > MAX_RATING else highest
        at, text = locate_rating_outside(str(path), (-MAX_RATING, MAX_RATING)) or (
            path,
            f"{worst:g}",
        )
        raise DataError(f"{at}: column rating: {text} is beyond +-1e9, no scale reaches that far")


def _table_without_strays(path: Path, near: Scale, values: NDArray[np.float32]) -> Table:
    """The file as it is read when ratings off the scale `near` count as mistakes."""
    others = values[(values >= _f32(near[0])) & (values <= _f32(near[1]))]
    within = f"all others lie within {others.min():g} to {others.max():g}"
    whole = detect_scale(float(values.min()), float(values.max())) or near

    def problem(row: Sequence[str]) -> str | None:
        wrong = _row_problem(row, None)
        if wrong is None and not _within(np.array([float(row[2])], np.float32), near):
            wrong = f"column rating: {row[2]} is far off: {within}"
        return wrong

    advice = f'data.rating_scale = "{format_scale(whole)}" says that it is meant'
    return Table(path, RATING_COLUMNS, problem=problem, advice=advice)


def locate_rating_outside(source: str, scale: Scale) -> tuple[str, str] | None:
    """("file:line", value) of the first rating outside `scale`; None when it cannot be told (the
    ratings are of no file, or it has changed since)."""
    try:
        for line, (_, _, text) in rows_with_lines(Path(source), RATING_COLUMNS):
            if not _within(np.array([float(text)], dtype=np.float32), scale):
                return f"{source}:{line}", text
    except (DataError, ValueError):
        pass
    return None


def to_floats(texts: tuple[str, ...]) -> NDArray[np.float32] | None:
    """float32 of each text; None when one is not a finite number."""
    if "_" in "".join(texts):  # Python reads "1_0" as 10; a data file does not mean that
        return None
    try:
        wide = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    with np.errstate(over="ignore"):
        values = wide.astype(np.float32)
    return values if bool(np.isfinite(values).all()) else None


def _within(values: NDArray[np.float32], scale: Scale | None) -> bool:
    if scale is None or not len(values):
        return True
    return bool(_f32(scale[0]) <= values.min() and values.max() <= _f32(scale[1]))


def _f32(value: float) -> np.float32:
    """The bound as ratings are held: 0.1 must count as within a scale that starts at 0.1."""
    return np.float32(value)


def last_of_each_pair(
    user_index: NDArray[np.int32], song_index: NDArray[np.int32], song_count: int
) -> NDArray[np.intp]:
    """Positions of the rows that count, ascending: the last of each (user, song) pair."""
    pair = user_index.astype(np.int64) * song_count + song_index
    order = np.argsort(pair, kind="stable")
    in_order = pair[order]
    is_last = np.append(in_order[1:] != in_order[:-1], True)
    return np.sort(order[is_last])


@dataclass(frozen=True, slots=True)
class Song:
    """What a catalogue says of a song; its id is canonical (see `csv_table.canonical`)."""

    song_id: str
    title: str
    artist: str | None = None
    genre: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """What songs are called. `in` and `get` go by song id. `skipped`: rows of the file that were
    left out because they could not be used."""

    songs: Mapping[str, Song]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.songs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.songs)

    def __contains__(self, song_id: object) -> bool:
        return song_id in self.songs

    def get(self, song_id: str) -> Song | None:
        """The song of this id; None when it is not in the catalogue."""
        return self.songs.get(song_id)


EMPTY_CATALOGUE = Catalogue({})


def load_catalogue(path: Path | str, skip_bad_rows: bool = False) -> Catalogue:
    """The songs in a CSV file with columns `song_id,title` and optional `artist,genre`.

    Of rows with the same song_id the last one counts. A song without a title is called by its id.
    DataError as for `load_ratings`.
    """
    path = Path(path)

    def problem(row: Sequence[str]) -> str | None:
        return None if row[0] else "column song_id is empty"

    table = Table(path, ("song_id", "title"), ("artist", "genre"), problem)
    songs, skipped = read_table(table, _read_songs, skip_bad_rows)
    if not songs:
        raise DataError(f"{path}: the file has a header but no songs")
    return Catalogue(songs, skipped)


def _read_songs(chunks: Iterator[Columns]) -> dict[str, Song]:
    """BadRows when an id is empty."""
    songs: dict[str, Song] = {}
    for columns in chunks:
        for song_id, title, artist, genre in zip(*columns, strict=True):
            songs[song_id] = Song(song_id, title or song_id, artist or None, genre or None)
    if "" in songs:
        raise BadRows
    return songs
