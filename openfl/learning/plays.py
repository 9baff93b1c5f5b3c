"""Plays and likes of listeners, read from CSV files, in the same shape as ratings.

Columns `user_id,song_id`, and how often in `plays` or `count`, or how well in `rating` (the first
of these that the file has). Without any of them every row is one play. Plays of a pair add up; of
ratings the last one counts, and one that is good enough is a like, which is one play.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from openfl.errors import ConfigError, DataError
from openfl.learning.csv_table import column_chunks, column_names, quoted, rows_with_lines
from openfl.learning.ratings import Ratings, is_number, last_of_each_pair, to_floats

STRENGTH_COLUMNS = ("plays", "count", "rating")
MAX_PLAYS = 1e9


def load_plays(path: Path | str, at_least: float = 1.0) -> Ratings:
    """The plays in a CSV file (UTF-8, with or without BOM; a header is required).

    `values[n]` is how often a song was played, 1 for a like. Pairs with fewer plays than
    `at_least`, or a lower rating, are no plays; they are kept in `left_out`. DataError names the
    file, line, column and value of what is wrong, also when nothing is left.
    """
    if not (at_least > 0 and np.isfinite(at_least)):
        raise ConfigError(f"the least strength must be above 0, got {at_least:g}")
    path = Path(path)
    names = column_names(path)
    column = next((name for name in STRENGTH_COLUMNS if name in names), None)
    users: defaultdict[str, int] = defaultdict()
    songs: defaultdict[str, int] = defaultdict()
    users.default_factory = users.__len__  # an unseen id gets the next number
    songs.default_factory = songs.__len__
    user_parts, song_parts, value_parts = [], [], []
    wanted = ("user_id", "song_id") if column is None else ("user_id", "song_id", column)
    for user_column, song_column, *strength in column_chunks(path, wanted):
        count = len(user_column)
        values = np.ones(count, np.float32) if column is None else to_floats(strength[0])
        if values is None or not _possible(values, column):
            _explain(path, wanted)
        user_parts.append(np.fromiter(map(users.__getitem__, user_column), np.int32, count))
        song_parts.append(np.fromiter(map(songs.__getitem__, song_column), np.int32, count))
        value_parts.append(values)
    if "" in users or "" in songs:
        _explain(path, wanted)
    if not value_parts or not sum(map(len, value_parts)):
        raise DataError(f"{path}: the file has a header but no plays")
    user_index, song_index, values, duplicates = _one_a_pair(
        np.concatenate(user_parts),
        np.concatenate(song_parts),
        np.concatenate(value_parts),
        len(songs),
        add=column != "rating",
    )
    strong = values >= np.float32(at_least)
    if not strong.any():
        raise DataError(
            f"{path}: no song has {at_least:g} {column or 'plays'} or more (data.min_strength)"
        )
    user_ids, song_ids = np.array(list(users), dtype=object), np.array(list(songs), dtype=object)
    left_out: dict[str, tuple[str, ...]] = {}
    for user, song in zip(user_index[~strong], song_index[~strong], strict=True):
        left_out[user_ids[user]] = (*left_out.get(user_ids[user], ()), song_ids[song])
    kept_users, user_numbers = np.unique(user_index[strong], return_inverse=True)
    kept_songs, song_numbers = np.unique(song_index[strong], return_inverse=True)
    played = np.ones(int(strong.sum()), np.float32) if column == "rating" else values[strong]
    return Ratings(
        users=tuple(user_ids[kept_users]),
        songs=tuple(song_ids[kept_songs]),
        user_index=user_numbers.astype(np.int32),
        song_index=song_numbers.astype(np.int32),
        values=played,
        scale=(0.0, float(played.max())),
        duplicates=duplicates,
        source=str(path),
        left_out=left_out,
    )


def _possible(values: NDArray[np.float32], column: str | None) -> bool:
    if column == "rating" or not len(values):
        return True
    return bool(values.min() >= 0 and values.max() <= MAX_PLAYS)


def _one_a_pair(
    user_index: NDArray[np.int32],
    song_index: NDArray[np.int32],
    values: NDArray[np.float32],
    song_count: int,
    add: bool,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], int]:
    """(users, songs, strengths, rows that were superseded or added up), a pair once."""
    kept = last_of_each_pair(user_index, song_index, song_count)
    duplicates = len(values) - len(kept)
    if not add or not duplicates:
        return user_index[kept], song_index[kept], values[kept], duplicates
    pair = user_index.astype(np.int64) * song_count + song_index
    _, number = np.unique(pair, return_inverse=True)
    sums = np.bincount(number, weights=values.astype(np.float64))
    summed = np.minimum(sums[number[kept]], MAX_PLAYS).astype(np.float32)
    return user_index[kept], song_index[kept], summed, duplicates


def _explain(path: Path, wanted: tuple[str, ...]) -> NoReturn:
    """The second, slow pass: raise the DataError for the first bad row."""
    for line, fields in rows_with_lines(path, wanted):
        for column, value in zip(wanted, fields, strict=True):
            if not value:
                raise DataError(f"{path}:{line}: column {column} is empty")
        if len(wanted) < 3:
            continue
        column, text = wanted[2], fields[2]
        values = to_floats((text,))
        if values is None:
            kind = "a finite number" if is_number(text) else "a number"
            raise DataError(f"{path}:{line}: column {column}: {quoted(text)} is not {kind}")
        if not _possible(values, column):
            raise DataError(f"{path}:{line}: column {column}: {text} is not within 0 to 1e9")
    raise DataError(f"{path}: the file changed while it was read")
