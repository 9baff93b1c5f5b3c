"""The rating task: its charter, its steps, its fixed point, its evaluation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.core.contribution import (
    MAX_EVIDENCE,
    Charter,
    Contribution,
    Evaluation,
    GroupId,
    ModelView,
    RowBlock,
)
from openfl.core.errors import ConfigError, DataError, GroupError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import SoloModel, merge, train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings, load_ratings
from openfl.learning.rating import task as matrix_factorization
from openfl.learning.rating.charter import (
    ITEMS,
    MEAN,
    MEAN_KEYS,
    check_ratings_fit,
    rating_charter,
    rating_parameters,
)
from openfl.learning.rating.task import MIN_CURVATURE, MatrixFactorization
from openfl.learning.ridge import solve_sums
from openfl.learning.splitting import Split, split_ratings

NOTHING = np.empty(0, dtype=np.intp)


def some_ratings(seed: int = 0, users: int = 12, songs: int = 15, chance: float = 0.6) -> Ratings:
    draw = np.random.default_rng(seed)
    user, song = np.nonzero(draw.random((users, songs)) < chance)
    taste = draw.normal(size=(users, 2)) @ draw.normal(size=(2, songs))
    exact = 3.2 + draw.normal(size=users)[:, None] * 0.4 + taste
    noisy = exact[user, song] + 0.2 * draw.normal(size=len(user))
    return Ratings(
        users=tuple(f"u{n}" for n in range(users)),
        songs=tuple(f"s{n}" for n in range(songs)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=(np.clip(np.round(noisy * 2), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def all_training(ratings: Ratings) -> Split:
    return Split(np.arange(len(ratings)), NOTHING, NOTHING)


def charter(**changes: float) -> Charter:
    """Without a prior of users and relevance, which other tests are about."""
    usual = {"factors": 3, "user_prior": 0.0, "relevance": 0.0}
    return rating_charter("music", **{**usual, **changes})  # type: ignore[arg-type]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def items(contribution: Contribution) -> RowBlock:
    return next(block for block in contribution.blocks if block.table == ITEMS)


def step(task: MatrixFactorization, model: DenseModel) -> Contribution:
    return task.local_step(model, rng())


def a_model(task: MatrixFactorization, rounds: int = 2) -> DenseModel:
    solo = SoloModel(task, rng())
    for _ in range(rounds):
        solo.step()
    return solo.model


def with_others(model: DenseModel) -> DenseModel:
    """The model with one rating more of each row, by somebody else: so that no step is exact."""
    return DenseModel(
        model.charter,
        {
            name: DenseTable(table.keys, table.rows, table.evidence + 1)
            for name, table in model.tables.items()
        },
    )


# --- the step ------------------------------------------------------------------------------------


def slow_step(
    ratings: Ratings, model: DenseModel, group: Charter
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """The step as the module's docstring says it, rating by rating: (g, y) by song, and m."""
    parameters = rating_parameters(group)
    k = parameters.factors
    mean = float(model.rows(MEAN, MEAN_KEYS)[0, 0])
    y = {song: model.rows(ITEMS, item_keys((song,), 40))[0].astype(float) for song in ratings.songs}
    g = {song: np.zeros(k + 1) for song in ratings.songs}
    squares: list[np.ndarray] = []
    for user in range(len(ratings.users)):
        mine = [
            (ratings.songs[s], parameters.to_units(v))
            for u, s, v in zip(ratings.user_index, ratings.song_index, ratings.values, strict=True)
            if u == user
        ]
        ridge = np.append(
            np.full(k, parameters.prior + parameters.prior_per_evidence * len(mine)),
            parameters.bias_prior,
        )
        features = np.array([np.append(y[song][:k], 1.0) for song, _ in mine]).reshape(-1, k + 1)
        left = np.array([value - mean - y[song][k] for song, value in mine])
        p = np.linalg.solve(features.T @ features + np.diag(ridge), features.T @ left)
        for (song, value), feature in zip(mine, features, strict=True):
            error = value - mean - y[song][k] - feature @ p
            g[song] += error * np.append(p[:k], 1.0)
            squares.append(np.append(p[:k], 1.0) ** 2)
    return g, y, np.mean(squares, axis=0)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_is_what_its_description_says_rating_by_rating(seed: int) -> None:
    ratings = some_ratings(seed)
    task = MatrixFactorization.from_charter(charter(prior=0.5), ratings, all_training(ratings))
    model = with_others(a_model(task, 6))
    g, y, m = slow_step(ratings, model, task.charter)
    fresh = MatrixFactorization.from_charter(task.charter, ratings, all_training(ratings))
    block = items(step(fresh, model))
    damping = fresh.parameters.damping
    assert block.curvature == pytest.approx(np.maximum(damping * m, MIN_CURVATURE), rel=1e-5)
    assert m[:-1].max() > 2 * MIN_CURVATURE
    keys = {
        int(key): song
        for key, song in zip(item_keys(ratings.songs, 40), ratings.songs, strict=True)
    }
    for key, value, evidence in zip(block.keys, block.values, block.evidence, strict=True):
        song = keys[int(key)]
        count = sum(ratings.songs[s] == song for s in ratings.song_index)
        assert evidence == count
        target = y[song] + g[song] / (count * block.curvature)
        assert value == pytest.approx(target, abs=1e-4)


def test_a_contribution_keeps_the_rules_of_a_row_block() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings)
    contribution = step(task, DenseModel.empty(task.charter))
    assert [block.table for block in contribution.blocks] == [ITEMS, MEAN]
    for block in contribution.blocks:
        schema = task.charter.table(block.table)
        assert block.keys.dtype == np.uint64
        assert (block.keys[1:] > block.keys[:-1]).all()
        assert block.keys.max() < 2**schema.key_bits
        assert block.values.dtype == block.evidence.dtype == block.curvature.dtype == np.float32
        assert block.values.shape == (len(block.keys), schema.width)
        assert np.isfinite(block.values).all()
        assert np.abs(block.values).max() <= schema.value_limit
        assert block.evidence.shape == block.keys.shape
        assert (block.evidence == np.floor(block.evidence)).all()
        assert ((block.evidence >= 1) & (block.evidence <= MAX_EVIDENCE)).all()
        assert block.curvature.shape == (schema.width,)
        assert (block.curvature > 0).all()
    assert items(contribution).evidence.sum() == task.train_examples


def test_held_out_ratings_are_not_trained_on() -> None:
    ratings = some_ratings()
    split = split_ratings(ratings, 0.2, 0.2)
    held_out = np.concatenate([split.validation, split.test])
    values = ratings.values.copy()
    values[held_out] = 5.5 - values[held_out]
    changed = dataclasses.replace(ratings, values=values)
    first, second = (
        step(MatrixFactorization.from_charter(charter(), r, split), DenseModel.empty(charter()))
        for r in (ratings, changed)
    )
    assert np.array_equal(items(first).values, items(second).values)
    assert np.array_equal(items(first).evidence, items(second).evidence)


def test_a_step_is_the_same_bits_whatever_the_rng_and_whatever_came_before() -> None:
    ratings = some_ratings()
    model = a_model(MatrixFactorization.from_charter(charter(), ratings), 3)
    fresh = MatrixFactorization.from_charter(charter(), ratings)
    used = MatrixFactorization.from_charter(charter(), ratings)
    step(used, DenseModel.empty(charter()))
    first = fresh.local_step(model, np.random.default_rng(1))
    second = used.local_step(model, np.random.default_rng(2))
    for one, other in zip(first.blocks, second.blocks, strict=True):
        assert one.values.tobytes() == other.values.tobytes()
        assert one.curvature.tobytes() == other.curvature.tobytes()


def test_rows_with_too_little_evidence_are_kept_private() -> None:
    ratings = some_ratings(chance=0.3)
    whole, some = (
        items(
            step(
                MatrixFactorization.from_charter(charter(), ratings, None, least),
                DenseModel.empty(charter()),
            )
        )
        for least in (1, 3)
    )
    assert whole.evidence.min() < 3
    assert some.evidence.min() >= 3
    assert set(some.keys) == set(whole.keys[whole.evidence >= 3])


def test_a_node_that_keeps_all_its_rows_private_still_tells_its_mean() -> None:
    task = MatrixFactorization.from_charter(charter(), some_ratings(), None, 10_000)
    contribution = step(task, DenseModel.empty(task.charter))
    assert [block.table for block in contribution.blocks] == [MEAN]


# --- what makes many nodes learn one model -------------------------------------------------------


def test_where_nothing_moves_any_more_the_gradient_balances_the_prior() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(
        charter(damping=3.0, prior=1.0), ratings, all_training(ratings)
    )
    model = a_model(task, 400)
    g, y, _ = slow_step(ratings, model, task.charter)
    schema = task.charter.table(ITEMS)
    largest = 0.0
    for song in ratings.songs:
        count = model.evidence(ITEMS, item_keys((song,), 40))[0]
        prior = np.array(schema.prior) + np.array(schema.prior_per_evidence) * count
        assert g[song] == pytest.approx(prior * y[song], abs=2e-3)
        largest = max(largest, float(np.abs(prior * y[song]).max()))
    assert largest > 0.5  # otherwise zero would balance zero


@settings(max_examples=25, deadline=None)
@given(owner=st.lists(st.integers(0, 3), min_size=12, max_size=12), rounds=st.integers(0, 3))
def test_parts_together_pull_every_row_as_the_whole_does(owner: list[int], rounds: int) -> None:
    ratings = some_ratings()
    whole = MatrixFactorization.from_charter(charter(), ratings)
    model = with_others(a_model(whole, rounds + 1))
    # Afresh: a task that has seen rows turn back steps from a bit back of them.
    whole = MatrixFactorization.from_charter(charter(), ratings)
    node = dict(zip(ratings.users, owner, strict=True))
    parts = [
        MatrixFactorization.from_charter(
            charter(), ratings.only_users(lambda user, n=n: node[user] == n)
        )
        for n in sorted(set(owner))
    ]
    assert sum(part.train_examples for part in parts) == whole.train_examples

    def pulls(tasks: list[MatrixFactorization]) -> dict[int, np.ndarray]:
        """g of each row: h (x - y), summed over nodes."""
        total: dict[int, np.ndarray] = {}
        for task in tasks:
            block = items(step(task, model))
            moved = block.values.astype(float) - model.rows(ITEMS, block.keys)
            h = block.evidence[:, None].astype(float) * block.curvature
            for key, pull in zip(block.keys, h * moved, strict=True):
                total[int(key)] = total.get(int(key), np.zeros(4)) + pull
        return total

    expected, found = pulls([whole]), pulls(parts)
    assert set(found) == set(expected)
    for key, pull in expected.items():
        assert found[key] == pytest.approx(pull, abs=1e-3)

    centrally = merge(charter(), [step(whole, model)])
    merged = merge(charter(), [step(part, model) for part in parts])
    keys = centrally.keys(ITEMS)
    assert np.array_equal(merged.evidence(ITEMS, keys), centrally.evidence(ITEMS, keys))
    # Every node's curvature of a bias is the same, so biases agree even far from the fixed point.
    assert merged.rows(ITEMS, keys)[:, -1] == pytest.approx(
        centrally.rows(ITEMS, keys)[:, -1], abs=1e-4
    )
    assert merged.rows(MEAN, MEAN_KEYS) == pytest.approx(centrally.rows(MEAN, MEAN_KEYS), abs=1e-5)


def test_nodes_together_reach_the_central_model_and_beat_each_alone() -> None:
    ratings = some_ratings(users=80, songs=40, chance=0.4)
    group = charter(prior=2.0)
    whole = MatrixFactorization.from_charter(group, ratings)
    central = whole.evaluate(a_model(whole, 30), "test")
    tasks = [
        MatrixFactorization.from_charter(
            group, ratings.only_users(lambda user, n=n: int(user[1:]) % 4 == n)
        )
        for n in range(4)
    ]
    model = DenseModel.empty(group)
    for _ in range(30):
        model = merge(group, [step(task, model) for task in tasks])
    together = [task.evaluate(model, "test") for task in tasks]
    alone = [train_alone(task, rng()).test.value for task in tasks]
    pooled = math.sqrt(sum(e.value**2 * e.count for e in together) / sum(e.count for e in together))
    assert pooled == pytest.approx(central.value, rel=0.005)
    assert pooled < 0.95 * np.mean(alone)


# --- evaluation ----------------------------------------------------------------------------------


def test_evaluation_is_the_rmse_of_clipped_predictions_in_units_of_the_ratings() -> None:
    stars = some_ratings(users=30)
    ratings = dataclasses.replace(stars, values=np.clip(stars.values, 2, 4), scale=(2.0, 4.0))
    split = split_ratings(ratings, 0.2, 0.2)
    group = rating_charter("m", ratings.scale, factors=3, prior=0.5)
    task = MatrixFactorization.from_charter(group, ratings, split)
    model = a_model(task, 5)
    step(task, model)
    users = task.private_state()["user_factors"].astype(float)
    parameters = task.parameters
    mean = float(model.rows(MEAN, MEAN_KEYS)[0, 0])
    errors = []
    outside = 0
    for n in split.test:
        row = model.rows(ITEMS, item_keys((ratings.songs[ratings.song_index[n]],), 40))[0].astype(
            float
        )
        p = users[ratings.user_index[n]]
        raw = parameters.to_ratings(np.array([mean + p[-1] + row[-1] + p[:-1] @ row[:-1]]))[0]
        outside += not 2 <= raw <= 4
        errors.append((min(max(raw, 2), 4) - float(ratings.values[n])) ** 2)
    result = task.evaluate(model, "test")
    assert outside > 0
    assert result.metric == "rmse"
    assert result.count == len(split.test)
    assert result.value == pytest.approx(math.sqrt(np.mean(errors)), rel=1e-5)
    spread = np.std(errors, ddof=1) / math.sqrt(len(errors))
    assert result.standard_error == pytest.approx(spread / (2 * result.value), rel=1e-4)
    assert task.evaluate(model, "train").value < result.value


def test_evaluation_on_a_model_without_rows_is_no_worse_than_guessing_the_mean() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings)
    result = task.evaluate(DenseModel.empty(task.charter))
    held_out = split_ratings(ratings).validation
    assert result.count == len(held_out)
    assert result.value < 1.1 * ratings.values[held_out].std()


def test_songs_nobody_in_the_group_rated_are_predicted_without_their_seeded_factors() -> None:
    ratings = some_ratings()
    song = ratings.songs[0]
    about_it = np.flatnonzero(ratings.song_index == 0)
    split = Split(np.flatnonzero(ratings.song_index != 0), about_it, NOTHING)
    seeded = {seed: charter(prior=0.2, seed=seed) for seed in (1, 2)}
    rows = [
        DenseModel.empty(group).rows(ITEMS, item_keys((song,), 40)) for group in seeded.values()
    ]
    assert not np.array_equal(*rows)
    tasks = {s: MatrixFactorization.from_charter(g, ratings, split) for s, g in seeded.items()}
    tables = a_model(tasks[1]).tables
    values = [t.evaluate(DenseModel(seeded[s], tables)).value for s, t in tasks.items()]
    assert values[0] == values[1]


def test_evaluation_without_held_out_ratings_counts_none() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings, all_training(ratings))
    result = task.evaluate(DenseModel.empty(task.charter))
    assert result.count == 0
    assert math.isnan(result.value)


def test_an_unknown_split_is_refused() -> None:
    task = MatrixFactorization.from_charter(charter(), some_ratings())
    with pytest.raises(ValueError, match="split must be"):
        task.evaluate(DenseModel.empty(task.charter), "valid")


def test_the_scale_of_the_ratings_does_not_matter() -> None:
    stars = some_ratings()
    percent = dataclasses.replace(stars, values=stars.values * 20, scale=(10.0, 100.0))
    results = [
        train_alone(
            MatrixFactorization.from_charter(rating_charter("m", scale=r.scale, factors=3), r),
            rng(),
        )
        for r in (stars, percent)
    ]
    assert results[1].test.value == pytest.approx(20 * results[0].test.value, rel=1e-3)


def test_a_listener_without_training_ratings_is_predicted_like_the_average() -> None:
    ratings = some_ratings()
    mine = np.flatnonzero(ratings.user_index == 0)
    others = np.flatnonzero(ratings.user_index != 0)
    task = MatrixFactorization.from_charter(charter(), ratings, Split(others, mine, NOTHING))
    model = a_model(task)
    step(task, model)
    assert not task.private_state()["user_factors"][0].any()
    assert task.evaluate(model).count == len(mine)


def test_two_songs_of_one_key_share_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def colliding(ids: tuple[str, ...], key_bits: int = 40) -> np.ndarray:
        return np.array([min(int(i[1:]), 13) for i in ids], dtype=np.uint64)

    monkeypatch.setattr(matrix_factorization, "item_keys", colliding)
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings, all_training(ratings))
    block = items(step(task, DenseModel.empty(task.charter)))
    assert block.keys.tolist() == list(range(14))
    assert block.evidence[13] == (ratings.song_index >= 13).sum()
    assert math.isfinite(task.evaluate(a_model(task), "train").value)


# --- training alone ------------------------------------------------------------------------------


class Scripted:
    """A task whose validation metric follows a script; its model tells its round by the mean."""

    charter = charter()
    train_examples = 1

    def __init__(self, course: list[float]) -> None:
        self.course = course
        self.steps = 0

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        self.steps += 1
        value = np.full((1, 1), self.steps, np.float32)
        one = np.ones(1, np.float32)
        return Contribution((RowBlock(MEAN, MEAN_KEYS.copy(), value, one * 1000, one),))

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        at = round(float(model.rows(MEAN, MEAN_KEYS)[0, 0]))
        value = self.course[at - 1] if split == "validation" else -float(at)
        return Evaluation("rmse", value, 0.1, 5)

    def private_state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("course", "max_rounds", "patience", "best", "tried"),
    [
        ([5, 4, 3, 3.5, 3.2, 3.1, 1], 7, 3, 3, 6),
        ([5, 4, 3, 3.5, 3.2, 2, 2.5], 7, 3, 6, 7),
        ([5, 4, 3, 2, 1], 3, 3, 3, 3),
        ([1, 2, 3, 4], 4, 1, 1, 2),
        ([1, 1, 1, 1], 4, 2, 1, 3),
    ],
)
def test_training_alone_keeps_the_best_round_and_stops_when_it_gets_no_better(
    course: list[float], max_rounds: int, patience: int, best: int, tried: int
) -> None:
    task = Scripted(course)
    result = train_alone(task, rng(), max_rounds, patience)
    assert (result.rounds, task.steps) == (best, tried)
    assert result.validation.value == course[best - 1]
    assert result.history == tuple(course[:tried])
    assert result.test.value == -best


def test_training_alone_without_held_out_ratings_does_all_rounds() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings, all_training(ratings))
    result = train_alone(task, rng(), max_rounds=4)
    assert result.rounds == 4
    assert result.validation.count == 0


def test_training_alone_for_no_rounds_is_refused() -> None:
    task = MatrixFactorization.from_charter(charter(), some_ratings())
    with pytest.raises(ValueError, match="max_rounds"):
        train_alone(task, rng(), max_rounds=0)


# --- private state -------------------------------------------------------------------------------


def test_private_state_is_taken_back_by_the_same_data_only() -> None:
    ratings = some_ratings()
    task = MatrixFactorization.from_charter(charter(), ratings)
    step(task, a_model(task))
    state = task.private_state()
    fresh = MatrixFactorization.from_charter(charter(), ratings)
    fresh.restore(state)
    assert np.array_equal(fresh.private_state()["user_factors"], state["user_factors"])

    wider = MatrixFactorization.from_charter(charter(factors=4), ratings)
    renamed = MatrixFactorization.from_charter(
        charter(), dataclasses.replace(ratings, users=("x", *ratings.users[1:]))
    )
    for other in (wider, renamed):
        with pytest.raises(ValueError, match="not of these users"):
            other.restore(state)
    with pytest.raises(ValueError, match="lacks"):
        fresh.restore({"user_keys": state["user_keys"]})
    with pytest.raises(ValueError, match="finite"):
        fresh.restore({**state, "user_factors": state["user_factors"] * np.nan})


# --- charters and whether ratings fit them -------------------------------------------------------


def test_a_charter_gives_back_the_parameters_it_was_made_of() -> None:
    made = rating_charter("music", (0, 100), 5, 2, 3, 0.25, 4, seed=9)
    parameters = rating_parameters(made)
    assert dataclasses.asdict(parameters) == {
        "scale": (0.0, 100.0),
        "factors": 5,
        "damping": 2.0,
        "prior": 3.0,
        "prior_per_evidence": 0.25,
        "bias_prior": 4.0,
        "encoding": "int8",
        "user_prior": 0.4,
        "items": "opaque",
        "relevance": 50.0,
    }
    assert made.seed == 9
    assert made.table(ITEMS).width == 6
    assert made.table(ITEMS).prior == (3.0,) * 5 + (4.0,)


def test_the_encoding_of_songs_is_the_charters_choice() -> None:
    coarse = rating_charter("music", encoding="int4")
    assert rating_parameters(coarse).encoding == coarse.table(ITEMS).encoding == "int4"
    assert coarse.table(MEAN).encoding == "float32"
    assert coarse.group_id != rating_charter("music").group_id
    spoilt = dataclasses.replace(
        coarse, tables=(coarse.tables[0], dataclasses.replace(coarse.tables[1], encoding="int4"))
    )
    with pytest.raises(GroupError, match="its tables are not those"):
        rating_parameters(spoilt)


def test_whole_numbers_and_fractions_make_the_same_group() -> None:
    assert rating_charter("m", (0, 5), prior=7).group_id == rating_charter("m", (0.0, 5.0)).group_id
    assert rating_charter("m", (0, 5)).group_id != rating_charter("m", (0.5, 5)).group_id


def test_parameters_out_of_range_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        rating_charter("m", factors=0, damping=math.nan, prior=-1)
    for name in ("factors", "damping", "prior"):
        assert f"{name} is" in str(caught.value)


def changed(**changes: object) -> Charter:
    return dataclasses.replace(charter(), **changes)  # type: ignore[arg-type]


def with_hyperparameter(name: str, value: object) -> Charter:
    return changed(hyperparameters={**charter().hyperparameters, name: value})


def without_hyperparameter(name: str) -> Charter:
    values = dict(charter().hyperparameters)
    del values[name]
    return changed(hyperparameters=values)


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (changed(task="linear"), 'learns "linear"'),
        (changed(tables=charter().tables[:1]), "tables"),
        (changed(tables=charter(factors=4).tables), "tables"),
        (changed(parent=GroupId("0" * 32)), "parent"),
        (without_hyperparameter("damping"), "lacks damping"),
        (with_hyperparameter("damping", "1.5"), "malformed"),
        (with_hyperparameter("damping", True), "malformed"),
        (with_hyperparameter("damping", math.inf), "damping is inf"),
        (with_hyperparameter("factors", 3.0), "malformed"),
        (with_hyperparameter("factors", 10**9), "factors is"),
        (with_hyperparameter("prior", 0.0), "prior is 0"),
        (with_hyperparameter("scale_min", 5.0), "scale"),
        (with_hyperparameter("scale_max", math.nan), "scale"),
        (with_hyperparameter("surprise", 1), "unknown parameters: surprise"),
    ],
)
def test_a_charter_that_is_not_a_rating_group_is_refused(hostile: Charter, message: str) -> None:
    rating_parameters(charter())
    with pytest.raises(GroupError) as caught:
        rating_parameters(hostile)
    assert message in str(caught.value)


def test_ratings_outside_the_groups_scale_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("user_id,song_id,rating\n1,a,4\n1,b,0\n")
    ratings = load_ratings(path)
    check_ratings_fit(rating_charter("m", (0, 5)), ratings)
    with pytest.raises(DataError) as caught:
        MatrixFactorization.from_charter(rating_charter("m", (0.5, 5)), ratings)
    assert str(caught.value).startswith(f"{path}:3: column rating: 0 is outside the scale 0.5-5")
    assert "(1 of 2 here are)" in str(caught.value)
    assert 'data.rating_scale = "0.5-5" with data.skip_bad_rows = true' in str(caught.value)


def test_stars_are_refused_by_a_group_that_rates_in_percent() -> None:
    with pytest.raises(DataError, match=r"far wider\. Nothing is wrong with these ratings"):
        check_ratings_fit(rating_charter("m", (0, 100)), some_ratings())
    check_ratings_fit(rating_charter("m", (0, 10)), some_ratings())


def test_no_ratings_or_none_to_train_on_are_refused() -> None:
    ratings = some_ratings()
    with pytest.raises(DataError, match="no ratings"):
        MatrixFactorization.from_charter(charter(), ratings.only_users(lambda user: False))
    nothing_to_train = Split(NOTHING, np.arange(len(ratings)), NOTHING)
    with pytest.raises(DataError, match="train"):
        MatrixFactorization.from_charter(charter(), ratings, nothing_to_train)


def test_a_single_held_out_rating_gives_a_fit_that_can_be_sent() -> None:
    """A fit with an error that is not finite is refused on the wire, by its own author too."""
    ratings = some_ratings(users=1, songs=40, chance=0.5)
    nothing = np.empty(0, dtype=np.intp)
    split = Split(np.arange(1, len(ratings)), np.array([0]), nothing)
    result = MatrixFactorization.from_charter(charter(), ratings, split).evaluate(
        DenseModel.empty(charter())
    )
    assert result.count == 1
    assert math.isfinite(result.standard_error)


def test_listeners_are_fitted_once_for_one_model_and_anew_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratings = some_ratings()
    group = charter(prior=1.0)  # with the usual one so few ratings leave no factor alive
    task = MatrixFactorization.from_charter(group, ratings)
    first, second = a_model(task, 2), a_model(task, 3)
    fresh = MatrixFactorization.from_charter(group, ratings)
    solved: list[int] = []

    def counting(*arguments: Any, **named: Any) -> Any:
        solved.append(1)
        return solve_sums(*arguments, **named)

    monkeypatch.setattr("openfl.learning.rating.user_fits.solve_sums", counting)
    fresh.evaluate(first)
    fresh.evaluate(first, "test")
    fresh.local_step(first, np.random.default_rng(0))
    assert len(solved) == 1
    assert fresh.evaluate(second, "train").value != fresh.evaluate(first, "train").value
    assert len(solved) == 3
