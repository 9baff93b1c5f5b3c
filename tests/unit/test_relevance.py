"""The ridge by directions: its matrix, fits with it, what charters say of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from openfl.core.contribution import Charter
from openfl.core.errors import ConfigError, GroupError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import SoloModel, merge, train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.users import one_user
from openfl.learning.rating.charter import (
    ITEMS,
    MEAN,
    MEAN_KEYS,
    rating_charter,
    rating_parameters,
)
from openfl.learning.rating.head import RatingHead
from openfl.learning.rating.relevance import LEAST, RELEVANCE, relevance_shape
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.rating.user_prior import USER_PRIOR, map_keys
from openfl.learning.splitting import Split

NOTHING = np.empty(0, dtype=np.intp)
FACTORS = 2


def group(relevance: float = 30.0, **changes: float) -> Charter:
    usual = {"factors": FACTORS, "prior": 2.0, "relevance": relevance}
    return rating_charter("music", **{**usual, **changes})  # type: ignore[arg-type]


def some_ratings(users: int = 40, songs: int = 30, chance: float = 0.6, seed: int = 0) -> Ratings:
    draw = np.random.default_rng(seed)
    user, song = np.nonzero(draw.random((users, songs)) < chance)
    liked = draw.normal(size=(users, FACTORS)) @ draw.normal(size=(FACTORS, songs))
    noisy = 3 + liked[user, song] + 0.6 * draw.normal(size=len(user))
    return Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"s{n}" for n in range(songs)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=(np.clip(np.round(noisy * 2), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def task_of(charter: Charter, ratings: Ratings) -> MatrixFactorization:
    everything = Split(np.arange(len(ratings)), NOTHING, NOTHING)
    return MatrixFactorization.from_charter(charter, ratings, everything)


def learned(charter: Charter, ratings: Ratings, rounds: int = 8) -> DenseModel:
    solo = SoloModel(task_of(charter, ratings), np.random.default_rng(0))
    for _ in range(rounds):
        solo.step()
    return solo.model


def test_a_direction_is_held_the_less_the_more_items_differ_along_it() -> None:
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    factors = np.array([[1.0, 0], [-1, 0], [0, 0.2], [0, -0.2]]) @ turn
    evidence = np.array([3.0, 1, 2, 4])
    keys = np.arange(4, dtype=np.uint64)
    rows = np.column_stack((factors, np.ones(4))).astype(np.float32)
    model = DenseModel(group(), {ITEMS: DenseTable(keys, rows, evidence)})
    shape = relevance_shape(model, ITEMS, 30.0)
    assert shape is not None
    held = np.diag([1 / (1 + 30 * 0.4**2), 1 / (1 + 30 * (0.04 * 0.6) ** 2)])
    assert shape[:2, :2] == pytest.approx(turn.T @ held @ turn, abs=1e-6)
    assert list(shape[2]) == list(shape[:, 2]) == [0, 0, 1], "the bias stands alone"
    assert relevance_shape(model, ITEMS, 0.0) is None
    assert relevance_shape(DenseModel.empty(group()), ITEMS, 30.0) is None


def test_no_row_that_anybody_sends_takes_the_ridge_away() -> None:
    keys = np.arange(3, dtype=np.uint64)
    rows = np.full((3, 3), 100.0, dtype=np.float32)
    model = DenseModel(group(), {ITEMS: DenseTable(keys, rows, np.full(3, 1e6))})
    shape = relevance_shape(model, ITEMS, 1e6)
    assert np.linalg.eigvalsh(shape) == pytest.approx([LEAST, 1, 1], abs=1e-6)


@pytest.mark.parametrize("user_prior", [0.0, 0.4])
def test_users_are_fitted_with_it_by_the_node_and_by_whoever_asks(user_prior: float) -> None:
    ratings = some_ratings()
    charter = group(user_prior=user_prior)
    model = learned(charter, ratings)
    shape = relevance_shape(model, ITEMS, 30.0)
    assert shape is not None
    assert shape[0, 0] < 0.9, "nothing is tested"
    task = task_of(charter, ratings)
    task.local_step(model, np.random.default_rng(0))
    users = task.private_state()["user_factors"]
    parameters = rating_parameters(charter)
    mean = float(model.rows(MEAN, MEAN_KEYS)[0, 0])
    keys = item_keys(ratings.songs, 40)
    for user in (0, 7, 39):
        own = ratings.user_index == user
        rows = model.rows(ITEMS, keys[ratings.song_index[own]]).astype(float)
        features = np.column_stack((rows[:, :-1], np.ones(len(rows))))
        root = np.sqrt(parameters.ridge(np.array([float(own.sum())]))[0])
        held = np.diag(root) @ shape @ np.diag(root)
        near = np.zeros(FACTORS + 1)
        if user_prior:
            matrix = model.rows(USER_PRIOR, map_keys(FACTORS)).astype(float)
            near = len(rows) ** -0.8 * rows[:, :-1].sum(axis=0) @ matrix
        left = parameters.to_units(ratings.values[own]) - mean - rows[:, -1]
        right = features.T @ left + held @ near
        expected = np.linalg.solve(features.T @ features + held, right)
        assert users[user] == pytest.approx(expected, abs=1e-4)

        head = RatingHead(charter, model)
        given = one_user(ratings.values[own].astype(float))
        asked = head.fold_in(given, keys[ratings.song_index[own]])
        assert asked[0] == pytest.approx(expected, abs=1e-4)
        # What each song adds to a prediction adds up to it, but for what is of the song and of all.
        parts = head.influence(given, keys[ratings.song_index[own]], keys[:4])
        others = model.rows(ITEMS, keys[:4]).astype(float)
        told = parameters.unit * (others[:, :-1] @ expected[:-1] + expected[-1])
        assert parts.sum(axis=1) == pytest.approx(told, abs=1e-4)


@pytest.mark.parametrize("user_prior", [0.0, 0.4])
def test_own_losses_leave_a_rating_out_of_the_fit_with_it(user_prior: float) -> None:
    """Against fits by a head, which is asked as if the rating did not exist."""
    ratings = some_ratings(users=12)
    charter = group(user_prior=user_prior, prior_per_evidence=0.0)
    model = learned(charter, ratings)
    losses = task_of(charter, ratings).own_losses(model).losses
    head, keys = RatingHead(charter, model), item_keys(ratings.songs, 40)
    for n in range(0, len(ratings), 17):
        own = np.flatnonzero(ratings.user_index == ratings.user_index[n])
        own = own[own != n]
        user = head.fold_in(
            one_user(ratings.values[own].astype(float)), keys[ratings.song_index[own]]
        )
        at = keys[ratings.song_index[n] : ratings.song_index[n] + 1]
        told = head.shown(head.scores(user, at)[0])[0]
        assert losses[n] == pytest.approx((told - ratings.values[n]) ** 2, abs=2e-3)


def test_nodes_together_end_where_training_in_one_place_ends() -> None:
    ratings = some_ratings()
    parts = [
        ratings.only_users(lambda user, n=n: int(user[1:]) % 3 == n)  # type: ignore[misc]
        for n in range(3)
    ]
    charter = group()
    tasks = [task_of(charter, part) for part in parts]
    together = DenseModel.empty(charter)
    for _ in range(150):
        together = merge(
            charter, [task.local_step(together, np.random.default_rng(0)) for task in tasks]
        )
    alone = learned(charter, ratings, 150)
    keys = alone.keys(ITEMS)
    rows, others = alone.rows(ITEMS, keys), together.rows(ITEMS, keys)
    # The same items' rows, but for a turn of all of them.
    assert rows[:, -1] == pytest.approx(others[:, -1], abs=2e-3)
    products = [one[:, :-1] @ one[:, :-1].T for one in (rows, others)]
    assert products[0] == pytest.approx(products[1], abs=5e-3)


def held_out_error(charter: Charter, ratings: Ratings) -> float:
    order = np.random.default_rng(0).permutation(len(ratings))
    test, validation = np.sort(order[: len(order) // 5]), np.sort(order[len(order) // 5 :][::9])
    train = np.setdiff1d(order, np.concatenate((test, validation)))
    task = MatrixFactorization.from_charter(charter, ratings, Split(train, validation, test))
    return train_alone(task, np.random.default_rng(0)).test.value


def test_many_ratings_of_much_taste_are_told_more_exactly_with_it() -> None:
    ratings = some_ratings(users=150, songs=100)
    without, usual = (held_out_error(group(r, prior=7.0), ratings) for r in (0.0, 50.0))
    assert usual < 0.99 * without


def test_training_alone_gives_the_same_bits_again() -> None:
    ratings = some_ratings()
    models = [learned(group(), ratings, 5) for _ in range(2)]
    for name, table in models[0].tables.items():
        assert table.rows.tobytes() == models[1].tables[name].rows.tobytes()


def test_a_charter_says_it_and_without_it_is_as_before() -> None:
    made = group(12.5)
    assert rating_parameters(made).relevance == 12.5
    assert made.group_id != group(13.0).group_id
    assert RELEVANCE not in group(0.0).hyperparameters
    assert rating_parameters(group(0.0)).relevance == 0.0
    assert made.tables == group(0.0).tables, "it adds nothing to what is sent"


@pytest.mark.parametrize("value", [-1.0, 1e7, float("nan"), "much", True])
def test_nonsense_is_refused(value: object) -> None:
    wrong = {**group().hyperparameters, RELEVANCE: value}
    with pytest.raises(GroupError):
        rating_parameters(dataclasses.replace(group(), hyperparameters=wrong))  # type: ignore[arg-type]
    if isinstance(value, float):
        with pytest.raises(ConfigError, match="relevance"):
            group(value)
