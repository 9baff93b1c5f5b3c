"""Plays and likes of users, read from CSV files, in the same shape as ratings.

Columns `user_id,song_id`, and how often in `plays` or `count`, or how well in `rating` (the first
of these that the file has). Without any of them every row is one play. Plays of a pair add up; of
ratings the last one counts, and one that is good enough is a like, which is one play.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import ConfigError, DataError
from openfl.learning.csv_table import Columns, Table, column_names, not_a_number, read_table
from openfl.learning.factorization.rating_scale import looks_like_unix_time
from openfl.learning.factorization.ratings import (
    PLAYS_COLUMNS,
    Ratings,
    Rows,
    last_of_each_pair,
    read_rows,
    to_floats,
)

STRENGTH_COLUMNS = (*PLAYS_COLUMNS, "rating")
MAX_PLAYS = 1e9
STRAY_PLAYS = 1e6
STRAY_FACTOR = 100.0


def load_plays(
    path: Path | str, at_least: float = 1.0, skip_bad_rows: bool = False, most: float = 0.0
) -> Ratings:
    """The plays in a CSV file (UTF-8, with or without BOM; a header is required).

    `values[n]` is how often a song was played, 1 for a like. Pairs with fewer plays than
    `at_least`, or a lower rating, are no plays; they are kept in `left_out`. `most`: no row can
    have more plays; 0 finds that out (see `plausible_most`). DataError names the file, and the
    line, column and value of each row that is wrong (unless they are to be skipped), also when
    nothing is left.
    """
    if not (at_least > 0 and np.isfinite(at_least)):
        raise ConfigError(f"the least strength must be above 0, got {at_least:g}")
    path = Path(path)
    names = column_names(path)
    column = next((name for name in STRENGTH_COLUMNS if name in names), None)
    counted = column in PLAYS_COLUMNS
    limit = (most or MAX_PLAYS) if counted else np.inf
    wanted = ("user_id", "song_id") if column is None else ("user_id", "song_id", column)
    table = Table(path, wanted, problem=lambda row: _row_problem(row, column, limit))
    # Without the bad rows at first, so that plays that are astray are told together with them.
    read, skipped = read_table(table, lambda chunks: _read(chunks, column, limit), skip=True)
    if counted and len(read.values):
        if looks_like_unix_time(float(read.values.min()), float(read.values.max())):
            raise DataError(
                f"{path}: column {column}: all values look like unix times, not like numbers of"
                " plays: is the header in the order of the columns?"
            )
        if not most and (found := plausible_most(read.values)) is not None:
            limit, others = found, float(read.values[read.values <= found].max())
            highest = float(read.values.max())
            advice = f"data.max_plays = {highest:.0f} says that it is meant"
            table = replace(
                table,
                problem=lambda row: _row_problem(row, column, limit, others),
                advice=advice,
            )
            read, skipped = read_table(
                table, lambda chunks: _read(chunks, column, limit), skip_bad_rows
            )
    if skipped and not skip_bad_rows:
        read_table(table, lambda chunks: _read(chunks, column, limit), skip=False)
    users, songs = read.users, read.songs
    if not len(read.values):
        raise DataError(f"{path}: the file has a header but no plays")
    user_index, song_index, values, duplicates = _one_a_pair(
        read.user_index,
        read.song_index,
        read.values,
        len(songs),
        add=column != "rating",
    )
    strong = values >= np.float32(at_least)
    if not strong.any():
        raise DataError(
            f"{path}: no song has {at_least:g} {column or 'plays'} or more (data.min_strength):"
            f" the most is {values.max():g}"
        )
    user_ids, song_ids = np.array(users, dtype=object), np.array(songs, dtype=object)
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
        skipped=skipped,
    )


def counts_plays(path: Path) -> bool:
    """Whether rows of the file are plays that add up, not ratings that are likes."""
    names = column_names(path)
    return next((name for name in STRENGTH_COLUMNS if name in names), "plays") != "rating"


def plausible_most(values: NDArray[np.floating]) -> float | None:
    """Above which number of plays (of `values`, n > 0) only mistakes stand; None when there are
    none, as in any honest file.

    The rule. Plays are very unequal (of 90,000 rows of Last.fm half are at most 260, the highest is
    352,698, and one user has 324,663 of one song and at most 2,441 of any other). A few rows
    (one in a hundred, or one of five) of a million plays or more, and at least a hundred times as
    many as all others, are mistakes: a million songs take six years. Smaller slips do no harm, as
    plays beyond `task.plays_limit` say nothing more.
    """
    if len(values) < 5:
        return None
    ascending = np.sort(values)
    few = max(1, len(values) // 100)
    for at in range(len(values) - few, len(values)):
        below = max(1.0, float(ascending[at - 1]))
        if ascending[at] >= STRAY_PLAYS and ascending[at] >= STRAY_FACTOR * below:
            return below
    return None


def _read(chunks: Iterator[Columns], column: str | None, most: float) -> Rows:
    """BadRows when an id is empty, or a strength not possible."""

    def to_values(columns: Columns) -> NDArray[np.float32] | None:
        if column is None:
            return np.ones(len(columns[0]), np.float32)
        values = to_floats(columns[2])
        return values if values is not None and _possible(values, column, most) else None

    return read_rows(chunks, to_values)


def _possible(values: NDArray[np.float32], column: str | None, most: float) -> bool:
    if column == "rating" or not len(values):
        return True
    return bool(values.min() >= 0 and values.max() <= np.float32(most))


def _row_problem(
    row: Sequence[str], column: str | None, most: float, others: float | None = None
) -> str | None:
    """`others`: the most plays of any other row, when `most` is what was found plausible."""
    for name, value in zip(("user_id", "song_id"), row, strict=False):
        if not value:
            return f"column {name} is empty"
    if column is None:
        return None
    text = row[2]
    values = to_floats((text,))
    if not text:
        return f"column {column} is empty"
    if values is None:
        return f"column {column}: {not_a_number(text)}"
    if not _possible(values, column, most):
        if others is not None and values[0] > 0:
            return f"column {column}: {text} is far off: all others are at most {others:g}"
        return f"column {column}: {text} is not within 0 to {most:g}"
    return None


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
