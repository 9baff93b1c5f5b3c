"""Make ratings.csv: 600 invented listeners in three taste communities rate the songs of songs.csv.

    python examples/music/generate.py [--out ratings.csv]

The same seed gives the same bytes on every platform and NumPy version: draws come from
`RandomState`, whose stream is frozen, as uniform numbers only, and everything after is additions
and multiplications in a fixed order.

How a rating comes about. A song is described by `FEATURES` numbers (think of energy, darkness,
complexity...): those of its genre, plus its own. A listener likes or dislikes each feature: a part
shared by all people of the community, a part of their own. Communities also hear some songs
differently: `SHARED` of what a song means is the same for everyone, the rest is seen only by one
community. The rating is a mean, plus how generous the listener is, how good the song is, whether
it is of the community's genres, and how well the two fit, plus noise; rounded to half stars.
Listeners mostly rate songs of their own community's genres, and famous songs (a long tail) far more
often than others.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 20250101
LISTENERS = 600
COMMUNITIES = (
    ("classical", "jazz"),
    ("rock", "metal"),
    ("hip-hop", "electronic", "pop"),
)
FEATURES = 4
SHARED = 0.7
MEAN = 3.4
SPREAD_OF_LISTENERS = 0.35
SPREAD_OF_SONGS = 0.35
SPREAD_OF_FIT = 0.75
NOISE = 0.45
AT_HOME, ABROAD = 0.25, -0.55
"""What a listener adds to songs of their community's genres, and to all others."""
OWN_GENRES = 0.65
"""Share of a listener's ratings that go to songs of their community's genres."""
FEWEST, MOST = 20, 60

Floats = NDArray[np.float64]


def normal(draw: np.random.RandomState, *shape: int) -> Floats:
    """Nearly standard normal numbers: twelve uniform ones added up, less six."""
    total = np.zeros(shape)
    for _ in range(12):
        total = total + draw.random_sample(shape)
    return total - 6.0


def fit(listeners: Floats, songs: Floats) -> Floats:
    """float64[listeners, songs]: how well each song suits each listener; fixed order of sums."""
    total = np.zeros((len(listeners), len(songs)))
    for feature in range(FEATURES):
        total = total + listeners[:, feature, None] * songs[None, :, feature]
    return total / FEATURES**0.5


def tastes(draw: np.random.RandomState, genres: list[str]) -> tuple[Floats, NDArray[np.intp]]:
    """(the exact rating each listener would give each song, the community of each listener)."""
    names = sorted(set(genres))
    genre = np.array([names.index(name) for name in genres])
    count = len(genres)
    of_genre = normal(draw, len(names), FEATURES)
    common = 0.6 * of_genre[genre] + 0.8 * normal(draw, count, FEATURES)
    community = draw.randint(0, len(COMMUNITIES), LISTENERS)
    of_community = normal(draw, len(COMMUNITIES), FEATURES)
    listeners = 0.4 * of_community[community] + 0.9 * normal(draw, LISTENERS, FEATURES)

    exact = MEAN + SPREAD_OF_LISTENERS * normal(draw, LISTENERS)[:, None]
    exact = exact + SPREAD_OF_SONGS * normal(draw, count)[None, :]
    for number in range(len(COMMUNITIES)):
        own_view = normal(draw, count, FEATURES)
        seen = SHARED**0.5 * common + (1 - SHARED) ** 0.5 * own_view
        members = community == number
        home = np.where(is_own(genres, number), AT_HOME, ABROAD)
        exact[members] = exact[members] + SPREAD_OF_FIT * fit(listeners[members], seen) + home
    return exact, community


def is_own(genres: list[str], community: int) -> NDArray[np.bool_]:
    """bool[songs]: which songs are of the community's genres."""
    return np.array([genre in COMMUNITIES[community] for genre in genres])


def popularity(draw: np.random.RandomState, count: int) -> Floats:
    """A long tail: the song of rank r is rated in proportion to 1 / (r + 15)."""
    weights = np.empty(count)
    weights[draw.permutation(count)] = 1.0 / (np.arange(count) + 15.0)
    return weights


def ratings(songs: list[dict[str, str]]) -> list[tuple[int, str, float]]:
    """(user_id, song_id, rating), by user and then in the order in which songs were rated."""
    draw = np.random.RandomState(SEED)
    genres = [song["genre"] for song in songs]
    exact, community = tastes(draw, genres)
    famous = popularity(draw, len(songs))
    rows: list[tuple[int, str, float]] = []
    for listener in range(LISTENERS):
        own = is_own(genres, community[listener])
        share = OWN_GENRES / math.fsum(famous[own])
        share_of_others = (1 - OWN_GENRES) / math.fsum(famous[~own])
        weights = famous * np.where(own, share, share_of_others)
        count = FEWEST + int(draw.random_sample() * (MOST - FEWEST + 1))
        # Waiting times u / weight order the songs so that heavy ones tend to come first.
        chosen = np.argsort(draw.random_sample(len(songs)) / weights, kind="stable")[:count]
        heard = exact[listener, chosen] + NOISE * normal(draw, count)
        stars = np.clip(np.floor(heard * 2 + 0.5) / 2, 0.5, 5.0)
        rows += [
            (listener + 1, songs[song]["song_id"], float(star))
            for song, star in zip(chosen, stars, strict=True)
        ]
    return rows


def ratings_csv() -> bytes:
    """The content of ratings.csv."""
    with (HERE / "songs.csv").open(encoding="utf-8", newline="") as stream:
        songs = list(csv.DictReader(stream))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("user_id", "song_id", "rating"))
    for user, song, star in ratings(songs):
        writer.writerow((user, song, f"{star:g}"))
    return text.getvalue().encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="make the sample ratings")
    parser.add_argument("--out", type=Path, default=HERE / "ratings.csv")
    options = parser.parse_args()
    options.out.write_bytes(ratings_csv())


if __name__ == "__main__":
    main()
