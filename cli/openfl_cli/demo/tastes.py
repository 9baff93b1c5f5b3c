"""Makes up the ratings of listeners in communities that hear music differently.

Within a community listeners agree on what a song is like; communities share nothing but the
catalogue: what one has learned about a song misleads the next. So every node should end up with the
nodes of its own community, and which those are can only be told from the ratings.

The same seed gives the same files on every platform and NumPy version: draws come from
`RandomState`, whose stream is frozen, as uniform numbers only.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEATURES = 2
SONGS = 60
LISTENERS = 12
RATINGS = 40
"""Of each listener."""
MEAN = 3.2
SPREAD_OF_LISTENERS = 0.25
SPREAD_OF_SONGS = 0.7
SPREAD_OF_FIT = 0.7
NOISE = 0.35

NO_TASTE = -1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Listeners:
    """Whose ratings a node got: their ids, how many ratings, the community they are of (`NO_TASTE`
    when nobody knows of any)."""

    users: tuple[str, ...]
    ratings: int
    community: int

    @property
    def keenest(self) -> str:
        """The user to recommend to; all have rated equally many songs."""
        return self.users[0]


def write_communities(
    sample: Path, homes: Sequence[Path], communities: int, seed: int
) -> list[Listeners]:
    """Write ratings.csv and songs.csv into each home; home `n` is of community `n % communities`.

    `sample` holds songs.csv with a column song_id, of which the first `SONGS` are rated.
    """
    with (sample / "songs.csv").open(newline="", encoding="utf-8") as stream:
        songs = [row["song_id"] for row in csv.DictReader(stream)][:SONGS]
    draw = np.random.RandomState(seed)
    worlds = [
        (SPREAD_OF_SONGS * _normal(draw, len(songs)), _normal(draw, len(songs), FEATURES))
        for _ in range(communities)
    ]
    shards = []
    for number, home in enumerate(homes):
        community = number % communities
        users = tuple(f"u{number + 1}-{listener + 1}" for listener in range(LISTENERS))
        count = 0
        with (home / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("user_id", "song_id", "rating"))
            for user in users:
                for song, stars in _rated(draw, *worlds[community]):
                    writer.writerow((user, songs[song], f"{stars:g}"))
                    count += 1
        shutil.copyfile(sample / "songs.csv", home / "songs.csv")
        shards.append(Listeners(users, count, community))
    return shards


def _rated(draw: np.random.RandomState, good: Floats, like: Floats) -> list[tuple[int, float]]:
    """(song, stars) of one listener; `good`, `like`: how its community hears each song."""
    own = _normal(draw, FEATURES)
    exact = MEAN + SPREAD_OF_LISTENERS * float(_normal(draw, 1)[0]) + good
    for feature in range(FEATURES):
        exact = exact + SPREAD_OF_FIT * own[feature] * like[:, feature] / FEATURES**0.5
    chosen = np.argsort(draw.random_sample(len(good)), kind="stable")[:RATINGS]
    heard = exact[chosen] + NOISE * _normal(draw, RATINGS)
    stars = np.clip(np.floor(heard * 2 + 0.5) / 2, 0.5, 5.0)
    return [(int(song), float(star)) for song, star in zip(chosen, stars, strict=True)]


def _normal(draw: np.random.RandomState, *shape: int) -> Floats:
    """Nearly standard normal numbers: twelve uniform ones added up, less six."""
    total = np.zeros(shape)
    for _ in range(12):
        total = total + draw.random_sample(shape)
    return total - 6.0
