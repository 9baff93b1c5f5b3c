"""Communities of users: read from files, told of a grouping of nodes, and first groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.csv_table import BadRows, Columns, Table, read_table
from openfl.simulation.scenario import DataSection

Numbers = NDArray[np.int64]


# --- from files -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowUsers:
    """Whose the rows of some files are. user_of_row: int64[rows], all files one after the other."""

    users: tuple[str, ...]
    user_of_row: Numbers
    by_file: list[tuple[str, ...]]


def read_users(paths: Sequence[Path], section: DataSection, sizes: Sequence[int]) -> RowUsers:
    """By the column `data.user_column`; without it each row is a user of its own. sizes: how many
    rows of each file are used. DataError when a file has no such column, or rows were left out."""
    if section.user_column:
        by_file = [
            _column_of_rows(path, section.user_column, size, "data.user_column")
            for path, size in zip(paths, sizes, strict=True)
        ]
    else:
        by_file = [
            tuple(f"{number}:{row}" for row in range(size)) for number, size in enumerate(sizes)
        ]
    users = tuple(dict.fromkeys(name for names in by_file for name in names))
    number_of = {name: number for number, name in enumerate(users)}
    rows = np.array([number_of[name] for names in by_file for name in names], dtype=np.int64)
    return RowUsers(users, rows, by_file)


def read_communities(
    paths: Sequence[Path],
    section: DataSection,
    users: tuple[str, ...],
    user_column: str,
    user_of_row: Numbers | None = None,
    sizes: Sequence[int] = (),
) -> Numbers:
    """int64[users]: what most rows of each user have in the column `data.community_column`.

    Whose a row is tells the column `user_column` or, where rows are units, `user_of_row`. DataError
    when a file has no such column, or a row nothing in it.
    """
    found: dict[str, Counter[str]] = {user: Counter() for user in users}
    column = section.community_column
    if user_of_row is None:
        for path in paths:
            for user, community in _rows(path, (user_column, column), section.skip_bad_rows):
                if user in found:
                    found[user][community] += 1
    else:
        named = [
            community
            for path, size in zip(paths, sizes, strict=True)
            for community in _column_of_rows(path, column, size, "data.community_column")
        ]
        for number, community in zip(user_of_row.tolist(), named, strict=True):
            found[users[number]][community] += 1
    return _numbered([min(seen, key=lambda name: (-seen[name], name)) for seen in found.values()])


def read_user_communities(path: Path, users: tuple[str, ...]) -> Numbers:
    """int64[users]: by a file with the columns user_id and community. DataError when it does not
    name a community for everybody, or two for somebody."""
    community_of: dict[str, str] = {}
    for user, community in _rows(path, ("user_id", "community"), skip=False):
        if community_of.setdefault(user, community) != community:
            raise DataError(
                f"{path}: user {user} is in two communities: {community_of[user]} and {community}"
            )
    missing = [user for user in users if user not in community_of]
    if missing:
        whose = f"user {missing[0]}"
        if len(missing) > 1:
            whose = f"{len(missing)} users of the data, the first of them {missing[0]}"
        raise DataError(f"{path}: names no community of {whose}")
    return _numbered([community_of[user] for user in users])


def _numbered(names: Sequence[str]) -> Numbers:
    """Communities are numbered in the order of their names."""
    numbers: Numbers = np.unique(np.array(names, dtype=object), return_inverse=True)[1]
    return numbers.astype(np.int64)


def _rows(path: Path, columns: tuple[str, ...], skip: bool) -> list[tuple[str, ...]]:
    """The fields of each row of the file in these columns, none of which may be empty."""
    wanted = tuple(column.strip().lower() for column in columns)

    def take(chunks: Iterator[Columns]) -> list[tuple[str, ...]]:
        rows = [row for chunk in chunks for row in zip(*chunk, strict=True)]
        if not all(map(all, rows)):
            raise BadRows
        return rows

    def problem(row: Sequence[str]) -> str | None:
        empty = [name for name, text in zip(wanted, row, strict=False) if not text]
        return f"column {empty[0]} is empty" if empty else None

    rows, _ = read_table(Table(path, wanted, problem=problem), take, skip)
    return rows


def _column_of_rows(path: Path, column: str, rows: int, setting: str) -> tuple[str, ...]:
    """The column's text in each of the `rows` rows of the file that are used."""
    found = tuple(text for (text,) in _rows(path, (column,), skip=False))
    if len(found) != rows:
        raise DataError(
            f"{path}: some rows were left out, so that {setting} cannot be matched with the others:"
            " mend the file, or leave data.skip_bad_rows off"
        )
    return found


# --- of nodes -------------------------------------------------------------------------------------


def purity(groups: Sequence[Hashable], communities: Sequence[int]) -> float:
    """Part of the nodes that are in a group whose most common community is theirs (Manning,
    Raghavan, Schuetze 2008, 16.3): 1 when no group mixes them. NaN when there is nobody."""
    if not groups:
        return float("nan")
    most = 0
    for group in dict.fromkeys(groups):
        inside = [own for g, own in zip(groups, communities, strict=True) if g == group]
        most += max(inside.count(community) for community in set(inside))
    return most / len(groups)


def assign(
    assignment: str, groups: int, communities: Sequence[int], rng: np.random.Generator
) -> list[int]:
    """The number of each node's first group. random: equal shares; zipf: of each group the share of
    its rank (Zipf's law with the exponent 1), one node at least; single: all in the first; oracle:
    a group for each community, whatever `groups` says."""
    match assignment:
        case "single":
            return [0] * len(communities)
        case "oracle":
            number = {community: n for n, community in enumerate(sorted(set(communities)))}
            return [number[community] for community in communities]
        case "random":
            places = np.empty(len(communities), dtype=np.int64)
            places[rng.permutation(len(communities))] = np.arange(len(communities)) % groups
            return [int(place) for place in places]
        case "zipf":
            share = 1 / np.arange(1, groups + 1)
            spare = len(communities) - groups
            sizes = 1 + np.floor(share / share.sum() * spare).astype(np.int64)
            sizes[: len(communities) - int(sizes.sum())] += 1
            numbers = np.repeat(np.arange(groups), sizes)
            return [int(number) for number in rng.permutation(numbers)]
    raise ValueError(f"there is no assignment {assignment!r}")


def most_common(values: Iterable[int]) -> int:
    """The value that occurs most often; the least of several."""
    found = list(values)
    return min(set(found), key=lambda value: (-found.count(value), value))
