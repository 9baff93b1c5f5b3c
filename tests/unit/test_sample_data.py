"""The sample data: reproducible, well-formed, and worth learning together."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np

from openfl.core.model_view import DenseModel
from openfl.learning.central import merge, train_alone
from openfl.learning.factorization.ratings import load_catalogue, load_ratings
from openfl.learning.rating.charter import rating_charter
from openfl.learning.rating.task import MatrixFactorization

SAMPLE = Path(__file__).parents[2] / "examples" / "music"


def test_the_generator_makes_the_committed_ratings_byte_for_byte() -> None:
    spec = importlib.util.spec_from_file_location("sample_generator", SAMPLE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert generator.ratings_csv() == (SAMPLE / "ratings.csv").read_bytes()


def test_every_song_is_a_distinct_work_with_title_artist_and_genre() -> None:
    with (SAMPLE / "songs.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["song_id"] for row in rows] == [str(n) for n in range(1, 301)]
    assert len({(row["title"], row["artist"]) for row in rows}) == 300
    assert all(row["title"] and row["artist"] for row in rows)
    assert set(Counter(row["genre"] for row in rows)) == {
        *("classical", "jazz"),
        *("rock", "metal"),
        *("hip-hop", "electronic", "pop"),
    }


def test_the_ratings_are_half_stars_of_600_listeners_of_songs_in_the_catalogue() -> None:
    ratings = load_ratings(SAMPLE / "ratings.csv")
    assert ratings.scale == (0.5, 5.0)
    assert ratings.duplicates == 0
    assert set(ratings.users) == {str(n) for n in range(1, 601)}
    assert all(song in load_catalogue(SAMPLE / "songs.csv") for song in ratings.songs)
    assert set(ratings.values * 2) == set(range(1, 11))
    assert np.bincount(ratings.user_index).min() >= 20
    assert (SAMPLE / "ratings.csv").stat().st_size < 500_000


def test_four_nodes_together_beat_each_of_them_alone_by_a_tenth() -> None:
    ratings = load_ratings(SAMPLE / "ratings.csv")
    group = rating_charter("music", ratings.scale)
    rng = np.random.default_rng(0)
    tasks = [
        MatrixFactorization.from_charter(
            group, ratings.only_users(lambda user, n=n: int(user) % 4 == n)
        )
        for n in range(4)
    ]
    model = DenseModel.empty(group)
    for _ in range(10):
        model = merge(group, [task.local_step(model, rng) for task in tasks])
    for task in tasks:
        alone = train_alone(task, rng)
        assert task.evaluate(model).value < 0.93 * alone.validation.value
        assert task.evaluate(model, "test").value < 0.93 * alone.test.value
