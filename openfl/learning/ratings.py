"""Ratings of listeners and the catalogue of songs, read from CSV files.

ratings.csv: columns `user_id,song_id,rating`, in any order, other columns ignored. Ids are kept as
text. songs.csv: `song_id,title`, and `artist,genre` when known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from openfl.errors import DataError
from openfl.learning.csv_table import column_chunks, quoted, rows_with_lines
from openfl.learning.rating_scale import Scale, detect_scale, format_scale, parse_scale

RATING_COLUMNS = ("user_id", "song_id", "rating")


@dataclass(frozen=True, eq=False)
class Ratings:
    """Who rated what how: `values[n]` by user `users[user_index[n]]` of `songs[song_index[n]]`.

    user_index, song_index: int32[n]. values: float32[n], all within `scale`. A (user, song) pair
    occurs once. `duplicates`: how many rows were superseded by a later row of the same pair. The
    arrays are made read-only.
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

    def __post_init__(self) -> None:
        for array in (self.user_index, self.song_index, self.values):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _user_positions(self) -> dict[str, int]:
        return {user: position for position, user in enumerate(self.users)}

    def has_user(self, user: str) -> bool:
        return user in self._user_positions

    def of_user(self, user: str) -> dict[str, float]:
        """{song id: rating} of one user; empty when unknown."""
        position = self._user_positions.get(user)
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


def load_ratings(path: Path | str, scale: str | Scale = "auto") -> Ratings:
    """The ratings in a CSV file (UTF-8, with or without BOM; a header is required).

    `scale` is "auto", "LOWEST-HIGHEST" or a pair. Of rows with the same user and song the last one
    counts. DataError names the file, line, column and value of what is wrong; ConfigError when
    `scale` is not a scale.
    """
    path = Path(path)
    wanted_scale = parse_scale(scale) if isinstance(scale, str) else scale
    users: defaultdict[str, int] = defaultdict()
    songs: defaultdict[str, int] = defaultdict()
    users.default_factory = users.__len__  # an unseen id gets the next number
    songs.default_factory = songs.__len__
    user_parts: list[NDArray[np.int32]] = []
    song_parts: list[NDArray[np.int32]] = []
    value_parts: list[NDArray[np.float32]] = []
    for user_column, song_column, rating_column in column_chunks(path, RATING_COLUMNS):
        count = len(rating_column)
        values = to_floats(rating_column)
        if values is None or not _within(values, wanted_scale):
            _explain(path, wanted_scale)
        value_parts.append(values)
        user_parts.append(np.fromiter(map(users.__getitem__, user_column), np.int32, count))
        song_parts.append(np.fromiter(map(songs.__getitem__, song_column), np.int32, count))
    if "" in users or "" in songs:
        _explain(path, wanted_scale)
    if not value_parts or not sum(map(len, value_parts)):
        raise DataError(f"{path}: the file has a header but no ratings")
    values = np.concatenate(value_parts)
    if wanted_scale is None:
        wanted_scale = detect_scale(float(values.min()), float(values.max()))
        if wanted_scale is None:
            raise DataError(
                f"{path}: every rating is {values[0]:g}, which says nothing about the scale; "
                f'give it, for example "0-{values[0]:g}"'
            )
    user_index, song_index = np.concatenate(user_parts), np.concatenate(song_parts)
    kept = last_of_each_pair(user_index, song_index, len(songs))
    return Ratings(
        users=tuple(users),
        songs=tuple(songs),
        user_index=user_index[kept],
        song_index=song_index[kept],
        values=values[kept],
        scale=wanted_scale,
        duplicates=len(values) - len(kept),
        source=str(path),
    )


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


def _explain(path: Path, scale: Scale | None) -> NoReturn:
    """The second, slow pass: raise the DataError for the first bad row."""
    for line, (user, song, text) in rows_with_lines(path, RATING_COLUMNS):
        for column, value in (("user_id", user), ("song_id", song), ("rating", text)):
            if not value:
                raise DataError(f"{path}:{line}: column {column} is empty")
        values = to_floats((text,))
        if values is None:
            kind = "a finite number" if is_number(text) else "a number"
            raise DataError(f"{path}:{line}: column rating: {quoted(text)} is not {kind}")
        if not _within(values, scale):
            assert scale is not None
            raise DataError(
                f"{path}:{line}: column rating: {text} is outside the scale {format_scale(scale)}"
            )
    raise DataError(f"{path}: the file changed while it was read")


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


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
    song_id: str
    title: str
    artist: str | None = None
    genre: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """What songs are called. `in` and `get` go by song id."""

    songs: Mapping[str, Song]

    def __len__(self) -> int:
        return len(self.songs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.songs)

    def __contains__(self, song_id: object) -> bool:
        return song_id in self.songs

    def get(self, song_id: str) -> Song | None:
        return self.songs.get(song_id)


EMPTY_CATALOGUE = Catalogue({})


def load_catalogue(path: Path | str) -> Catalogue:
    """The songs in a CSV file with columns `song_id,title` and optional `artist,genre`.

    Of rows with the same song_id the last one counts. A song without a title is called by its id.
    DataError as for `load_ratings`.
    """
    path = Path(path)
    songs: dict[str, Song] = {}
    for columns in column_chunks(path, ("song_id", "title"), ("artist", "genre")):
        for song_id, title, artist, genre in zip(*columns, strict=True):
            songs[song_id] = Song(song_id, title or song_id, artist or None, genre or None)
    if "" in songs:
        for line, (song_id, *_) in rows_with_lines(path, ("song_id", "title")):
            if not song_id:
                raise DataError(f"{path}:{line}: column song_id is empty")
    if not songs:
        raise DataError(f"{path}: the file has a header but no songs")
    return Catalogue(songs)
