"""Factors that died in a poor founder's model, and come to life with those who join."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.core.contribution import Charter
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import merge
from openfl.learning.factorization.dead_factors import DEAD, revival
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.rating.charter import ITEMS, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

GROUP = rating_charter("music", factors=4)
SONGS = tuple(f"s{n}" for n in range(40))
KEYS = np.sort(item_keys(SONGS, 40))


def ratings_of(members: int, taste: float) -> list[Ratings]:
    """A part for each member, of the same songs; `taste`: how much listeners differ about them."""
    draw = np.random.default_rng(5)
    like, users = draw.normal(size=(2, len(SONGS))), 12
    parts = []
    for member in range(members):
        user, song = np.nonzero(draw.random((users, len(SONGS))) < 0.6)
        exact = 3.2 + taste * np.sum(draw.normal(size=(users, 2))[user] * like.T[song], axis=1)
        noisy = exact + 0.3 * draw.normal(size=len(user))
        parts.append(
            Ratings(
                users=tuple(f"u{member}-{n}" for n in range(users)),
                songs=SONGS,
                user_index=user.astype(np.int32),
                song_index=song.astype(np.int32),
                values=np.clip(noisy, 0.5, 5.0).astype(np.float32),
                scale=(0.5, 5.0),
            )
        )
    return parts


def tasks_of(members: int, taste: float, charter: Charter = GROUP) -> list[MatrixFactorization]:
    return [
        MatrixFactorization.from_charter(charter, part, split_ratings(part))
        for part in ratings_of(members, taste)
    ]


def learned(tasks: list[MatrixFactorization], model: DenseModel, rounds: int) -> DenseModel:
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        model = merge(model.charter, [task.local_step(model, rng) for task in tasks])
    return model


def strongest(model: DenseModel) -> float:
    """Root mean square over the songs of the strongest direction of the factors."""
    factors = model.rows(ITEMS, KEYS)[:, :-1].astype(float)
    return float(np.sqrt(np.linalg.eigvalsh(factors.T @ factors / len(factors))[-1]))


def model_of(factors: np.ndarray, charter: Charter = GROUP) -> DenseModel:
    rows = np.hstack([factors, np.ones((len(factors), 1))]).astype(np.float32)
    keys = KEYS[: len(rows)]
    return DenseModel(charter, {ITEMS: DenseTable(keys, rows, np.ones(len(keys)))})


@pytest.mark.parametrize(("relevance", "rounds"), [(0.0, 25), (50.0, 30)])
def test_a_group_gets_out_of_the_dead_model_of_its_founder(relevance: float, rounds: int) -> None:
    group = rating_charter("music", factors=4, relevance=relevance)
    tasks = tasks_of(4, 0.4, group)
    founded = learned(tasks[:1], DenseModel.empty(group), 60)
    assert strongest(founded) < DEAD
    joined = learned(tasks, founded, rounds)
    together = learned(tasks, DenseModel.empty(group), 60)
    assert strongest(together) > 5 * DEAD
    for task in tasks:
        assert task.evaluate(joined).value == pytest.approx(
            task.evaluate(together).value, rel=0.005
        )


def test_a_direction_of_no_use_stays_dead() -> None:
    tasks = tasks_of(4, taste=0.0)
    assert strongest(learned(tasks, DenseModel.empty(GROUP), 60)) < DEAD


def test_only_what_is_dead_gets_any_life() -> None:
    alive = 0.3 * np.random.default_rng(1).normal(size=(len(SONGS), 4))
    assert revival(GROUP, model_of(alive), ITEMS, KEYS) is None

    direction = np.full(4, 0.5)
    one_dead = alive - np.outer(alive @ direction, direction)
    life = revival(GROUP, model_of(one_dead), ITEMS, KEYS)
    assert life is not None
    along = life @ direction
    assert np.std(along) > DEAD
    assert life == pytest.approx(np.outer(along, direction), abs=1e-5)


def test_of_few_rows_nothing_is_told() -> None:
    assert revival(GROUP, model_of(np.zeros((7, 4))), ITEMS, KEYS) is None
    assert revival(GROUP, model_of(np.zeros((8, 4))), ITEMS, KEYS) is not None
