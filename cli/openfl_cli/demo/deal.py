"""Deals the sample ratings out: each listener's ratings go to one node, and to no other."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl.core.errors import DataError


@dataclass(frozen=True)
class Shard:
    """What one node got."""

    users: tuple[str, ...]
    ratings: int
    keenest: str
    """The user with the most ratings (the first of them), to recommend to."""


def deal(sample: Path, homes: Sequence[Path], seed: int) -> list[Shard]:
    """Write ratings.csv and songs.csv into each of `homes`; the same seed deals the same shards.

    `sample` holds ratings.csv (with a column user_id) and songs.csv. DataError when it does not, or
    when there are fewer users than homes.
    """
    header, rows_of = _read_by_user(sample / "ratings.csv")
    users = list(rows_of)
    if len(users) < len(homes):
        raise DataError(f"{sample}: {len(users)} users are too few for {len(homes)} nodes")
    random.Random(seed).shuffle(users)
    shards = []
    for index, home in enumerate(homes):
        mine = users[index :: len(homes)]
        with (home / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for user in mine:
                writer.writerows(rows_of[user])
        shutil.copyfile(sample / "songs.csv", home / "songs.csv")
        keenest = max(mine, key=lambda user: len(rows_of[user]))
        shards.append(Shard(tuple(mine), sum(len(rows_of[user]) for user in mine), keenest))
    return shards


def _read_by_user(file: Path) -> tuple[list[str], dict[str, list[list[str]]]]:
    rows_of: dict[str, list[list[str]]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if "user_id" not in header:
                raise DataError(f"{file}:1: no column user_id")
            column = header.index("user_id")
            for row in reader:
                if row:
                    rows_of.setdefault(row[column], []).append(row)
    except (OSError, IndexError) as error:
        raise DataError(f"{file}: cannot be read as the sample ratings: {error}") from None
    return header, rows_of
