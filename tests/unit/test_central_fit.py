"""Training alone: where it starts, exact steps, when it stops."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.core.contribution import Charter, Contribution, Evaluation, ModelView, RowBlock
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import LEAST_GAIN, SoloModel, StartsAlone, merge, train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.proposals import RELAXATION, exact_step, newton_step
from openfl.learning.rating.charter import ITEMS, MEAN, rating_charter
from openfl.learning.rating.spectral import spectral_rows
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.ridge import sparse_pair
from openfl.learning.splitting import Split

NOTHING = np.empty(0, dtype=np.intp)
GROUP = rating_charter("music", factors=2, prior=0.7, user_prior=0.0, relevance=0.0)


def ratings_of(user: np.ndarray, song: np.ndarray, values: np.ndarray) -> Ratings:
    return Ratings(
        users=tuple(f"u{n}" for n in range(user.max() + 1)),
        songs=tuple(f"s{n}" for n in range(song.max() + 1)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=(np.clip(np.round(values * 2), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def some_ratings(users: int = 50, songs: int = 20, chance: float = 0.6, seed: int = 0) -> Ratings:
    draw = np.random.default_rng(seed)
    user, song = np.nonzero(draw.random((users, songs)) < chance)
    liked = draw.normal(size=(users, 2)) @ draw.normal(size=(2, songs))
    return ratings_of(user, song, 3 + liked[user, song] + 0.3 * draw.normal(size=len(user)))


def task_of(ratings: Ratings, charter: Charter = GROUP, **how: int) -> MatrixFactorization:
    everything = Split(np.arange(len(ratings)), NOTHING, NOTHING)
    return MatrixFactorization.from_charter(charter, ratings, everything, **how)


# --- exact steps ---------------------------------------------------------------------------------


def test_an_exact_step_leads_to_the_optimum_in_closed_form_and_further_by_the_relaxation() -> None:
    draw = np.random.default_rng(0)
    schema, count, width = GROUP.table(ITEMS), 5, 3
    start, gradient = draw.normal(size=(count, width)), draw.normal(size=(count, width))
    half = draw.normal(size=(count, width, width))
    gram = half @ half.transpose(0, 2, 1)
    more = draw.uniform(0, 1, (count, width))
    evidence = np.array([1, 2, 3, 40, 900], dtype=np.float32)
    curvature = np.array([0.3, 0.5, 1.0], dtype=np.float32)
    keys = np.arange(count, dtype=np.uint64)
    plain = newton_step(schema, keys, start, gradient, evidence, curvature)
    rows = np.array([True, False, True, True, True])
    upper, lower = np.triu_indices(width)
    block = exact_step(schema, plain, rows, start, gradient, gram[:, upper, lower], more)
    assert np.array_equal(block.values[1], plain.values[1])
    merged = merge(GROUP, [Contribution((block,))]).rows(ITEMS, keys)
    for n in np.flatnonzero(rows):
        prior = np.array([0.7, 0.7, 5.0]) + np.array([0.05, 0.05, 0.0]) * evidence[n]
        right = gradient[n] - prior * start[n]
        there = np.linalg.solve(gram[n] + np.diag(prior + more[n]), right)
        assert merged[n] == pytest.approx(start[n] + RELAXATION * there, abs=1e-4)


def test_only_rows_that_nobody_else_has_are_stepped_exactly() -> None:
    ratings = some_ratings()
    solo = SoloModel(task_of(ratings), np.random.default_rng(0))
    solo.step()
    keys = solo.model.keys(ITEMS)
    others = np.zeros(len(keys))
    others[::2] = 3
    tables = dict(solo.model.tables)
    tables[ITEMS] = DenseTable(keys, tables[ITEMS].rows, tables[ITEMS].evidence + others)
    with_others = DenseModel(GROUP, tables)
    rng = np.random.default_rng(0)
    alone = task_of(ratings).local_step(solo.model, rng).blocks[0]
    among = task_of(ratings).local_step(with_others, rng).blocks[0]
    same = (alone.values == among.values).all(axis=1)
    assert list(same) == [n % 2 == 1 for n in range(len(keys))]


def objective(ratings: Ratings, model: DenseModel) -> float:
    """What training minimizes: the users' squared errors and ridge, and that of the items."""
    task = task_of(ratings)
    task.local_step(model, np.random.default_rng(0))
    users = task.private_state()["user_factors"].astype(float)
    keys = item_keys(ratings.songs, 40)
    items, mean = model.rows(ITEMS, keys).astype(float), float(model.tables[MEAN].rows[0, 0])
    p, q = users[ratings.user_index], items[ratings.song_index]
    told = mean + p[:, -1] + q[:, -1] + np.einsum("nk,nk->n", p[:, :-1], q[:, :-1])
    error = task.parameters.to_units(ratings.values) - told
    ridges = [
        (
            task.parameters.ridge(np.bincount(index, minlength=len(rows)).astype(float)) * rows**2
        ).sum()
        for index, rows in ((ratings.user_index, users), (ratings.song_index, items))
    ]
    return float((error**2).sum() + sum(ridges))


def test_rounds_alone_go_down_to_an_optimum_and_stay_there() -> None:
    ratings = some_ratings()
    solo = SoloModel(task_of(ratings), np.random.default_rng(0))
    course = [objective(ratings, solo.step()) for _ in range(25)]
    assert course[4] < course[0]
    assert course[9] == pytest.approx(course[24], rel=1e-3)
    last = solo.model.rows(ITEMS, solo.model.keys(ITEMS)).copy()
    solo.step()
    assert solo.model.rows(ITEMS, solo.model.keys(ITEMS)) == pytest.approx(last, abs=2e-3)
    draw = np.random.default_rng(1)
    keys = solo.model.keys(ITEMS)
    for _ in range(5):
        rows = solo.model.rows(ITEMS, keys) + 0.02 * draw.normal(size=(len(keys), 3))
        table = DenseTable(keys, rows.astype(np.float32), solo.model.evidence(ITEMS, keys))
        moved = DenseModel(GROUP, {**solo.model.tables, ITEMS: table})
        assert objective(ratings, moved) > objective(ratings, solo.model)


# --- where it starts -----------------------------------------------------------------------------


def test_the_start_spans_the_leading_singular_vectors() -> None:
    draw = np.random.default_rng(0)
    tastes, traits = draw.normal(size=(60, 2)), draw.normal(size=(25, 2))
    values = tastes @ traits.T
    values -= values.mean(axis=0)  # without biases
    values -= values.mean(axis=1)[:, None]
    user, song = np.indices(values.shape).reshape(2, -1)
    _, targets = sparse_pair(user, song, values.ravel(), values.shape)
    rows = spectral_rows(targets, 0.0, 5.0, draw.normal(size=(25, 2)))
    assert rows is not None
    leading = np.linalg.svd(values)[2][:2]
    found = np.linalg.qr(rows[:, :2])[0]
    assert np.linalg.norm(leading @ found) ** 2 == pytest.approx(2, abs=1e-6)
    assert rows[:, 2] == pytest.approx(np.zeros(25), abs=1e-9)


@pytest.mark.parametrize(
    ("user", "song", "values"),
    [
        ([0], [0], [4.0]),
        ([0] * 9, list(range(9)), [3.0, 4, 5, 1, 2, 3, 4, 5, 1]),
        (list(range(9)), [0] * 9, [3.0, 4, 5, 1, 2, 3, 4, 5, 1]),
        ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0, 1, 2, 3, 0, 1, 2, 3, 0, 3], [3.0] * 10),
    ],
    ids=["one rating", "one user", "one song", "all alike"],
)
def test_the_least_that_can_be_trained_on_gives_finite_models(
    user: list[int], song: list[int], values: list[float]
) -> None:
    ratings = ratings_of(np.array(user), np.array(song), np.array(values))
    for charter in (GROUP, rating_charter("music")):
        solo = SoloModel(task_of(ratings, charter), np.random.default_rng(0))
        for _ in range(4):
            model = solo.step()
        assert all(np.isfinite(table.rows).all() for table in model.tables.values())
        told = task_of(ratings, charter).evaluate(model, "train").value
        assert told <= max(1e-3, float(np.std(values)) + 1e-3)


def test_songs_too_few_have_rated_are_not_in_the_start() -> None:
    """With `training.min_row_evidence`, as in a group: their rows would say who rated what."""
    ratings = some_ratings()
    counts = np.bincount(ratings.song_index)
    limit = int(np.sort(counts)[5])
    task = task_of(ratings, min_row_evidence=limit)
    assert isinstance(task, StartsAlone)
    model = task.first_guess()
    expected = item_keys([s for s, n in zip(ratings.songs, counts, strict=True) if n >= limit], 40)
    assert list(model.keys(ITEMS)) == sorted(expected)
    assert sorted(model.evidence(ITEMS, expected)) == sorted(counts[counts >= limit])


# --- when it stops -------------------------------------------------------------------------------


class Scripted:
    """A task whose validation goes through given values."""

    charter = GROUP
    train_examples = 1

    def __init__(self, values: list[float]) -> None:
        self._values = iter(values)

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        keys, ones = np.zeros(1, dtype=np.uint64), np.ones(1, dtype=np.float32)
        return Contribution((RowBlock(MEAN, keys, ones[:, None], ones, ones),))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        return Evaluation("rmse", next(self._values) if split == "validation" else 0.0, 0.1, 9)


def test_it_stops_when_some_rounds_together_gain_too_little_and_keeps_the_best() -> None:
    tiny = 0.2 * LEAST_GAIN
    values = [1.0, 0.9, 0.9 - tiny, 0.9 - 2 * tiny, 0.9 - 1.5 * tiny, 0.1]
    result = train_alone(Scripted(values), np.random.default_rng(0), patience=3)  # type: ignore[arg-type]
    assert result.rounds == 4
    assert result.validation.value == 0.9 - 2 * tiny
    assert result.history == tuple(values[:5])


def test_small_gains_that_add_up_are_worth_going_on() -> None:
    values = [1.0 - 0.5 * LEAST_GAIN * n for n in range(20)]
    result = train_alone(Scripted(values), np.random.default_rng(0), max_rounds=20)  # type: ignore[arg-type]
    assert result.rounds == 20
