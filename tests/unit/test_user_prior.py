"""What users are expected to like because of which items they rated."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from openfl.core.contribution import ChangedRows, Charter, Contribution, Keys, RowBlock
from openfl.core.errors import ConfigError, GroupError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import SoloModel, merge
from openfl.learning.differential_privacy import Release
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.users import one_user
from openfl.learning.rating.charter import (
    ITEMS,
    MEAN,
    MEAN_KEYS,
    USUAL_USER_PRIOR,
    rating_charter,
    rating_parameters,
)
from openfl.learning.rating.head import RatingHead
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.rating.user_prior import RATED_POWER, USER_PRIOR, map_keys
from openfl.learning.splitting import Split

NOTHING = np.empty(0, dtype=np.intp)
FACTORS = 2
GROUP = rating_charter("music", (0.5, 5.0), factors=FACTORS, prior=0.5, relevance=0.0)


def chosen_ratings(
    seed: int = 0, users: int = 14, songs: int = 10, choosy: float = 1.0, each: int = 5
) -> Ratings:
    """People rate what they think they like, the more so the choosier they are."""
    draw = np.random.default_rng(seed)
    tastes, traits = draw.normal(size=(users, FACTORS)), draw.normal(size=(songs, FACTORS))
    liked = 1.2 * tastes @ traits.T / math.sqrt(FACTORS)
    reach = choosy * liked + draw.gumbel(size=liked.shape)
    song = np.sort(np.argsort(-reach, axis=1)[:, :each], axis=1).ravel()
    user = np.repeat(np.arange(users), each)
    noisy = 3 + liked[user, song] + 0.5 * draw.normal(size=len(user))
    return Ratings(
        users=tuple(f"u{seed}-{n}" for n in range(users)),
        songs=tuple(f"s{n}" for n in range(songs)),
        user_index=user.astype(np.int32),
        song_index=song.astype(np.int32),
        values=(np.clip(np.round(noisy * 2), 1, 10) / 2).astype(np.float32),
        scale=(0.5, 5.0),
    )


def all_training(ratings: Ratings) -> Split:
    return Split(np.arange(len(ratings)), NOTHING, NOTHING)


def task_of(ratings: Ratings, charter: Charter = GROUP, **how: object) -> MatrixFactorization:
    return MatrixFactorization.from_charter(charter, ratings, all_training(ratings), **how)  # type: ignore[arg-type]


def step(task: MatrixFactorization, model: DenseModel) -> Contribution:
    return task.local_step(model, np.random.default_rng(0))


def learned(ratings: Ratings, rounds: int = 8, charter: Charter = GROUP) -> DenseModel:
    solo = SoloModel(task_of(ratings, charter), np.random.default_rng(0))
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


def with_map(model: DenseModel, matrix: np.ndarray) -> DenseModel:
    """The model with another M."""
    tables = {
        name: DenseTable(keys, model.rows(name, keys), model.evidence(name, keys))
        for name in (ITEMS, MEAN)
        for keys in (model.keys(name),)
    }
    evidence = np.full(len(matrix), 5.0)
    tables[USER_PRIOR] = DenseTable(map_keys(len(matrix)), matrix.astype(np.float32), evidence)
    return DenseModel(GROUP, tables)


def block_of(contribution: Contribution, table: str) -> RowBlock:
    return next(block for block in contribution.blocks if block.table == table)


def tables_of(contribution: Contribution) -> list[str]:
    return [block.table for block in contribution.blocks]


# --- the model as its description says it, user by user ------------------------------------------


def fitted(
    ratings: Ratings,
    items: np.ndarray,
    matrix: np.ndarray,
    mean: float,
    user: int,
    without: int | None = None,
) -> tuple[np.ndarray, float]:
    """([p_u, b_u], the least of the user's squared error, prior included). items: [songs, width].

    `without`: the song of a rating that is neither fitted to nor counted among those rated."""
    parameters = rating_parameters(GROUP)
    mine = np.flatnonzero(ratings.user_index == user)
    ridge = parameters.ridge(np.array([len(mine)], dtype=float))[0]
    songs = ratings.song_index[mine]
    values = parameters.to_units(ratings.values[mine])
    kept = songs != without
    songs, values = songs[kept], values[kept]
    features = np.column_stack([items[songs, :-1], np.ones(len(songs))])
    n = len(songs) ** -RATED_POWER * items[songs, :-1].sum(axis=0) @ matrix
    left = values - mean - items[songs, -1]
    p = np.linalg.solve(features.T @ features + np.diag(ridge), features.T @ left + ridge * n)
    error = left - features @ p
    return p, float(error @ error + (p - n) @ (ridge * (p - n)))


def parts_of(model: DenseModel, ratings: Ratings) -> tuple[np.ndarray, np.ndarray, float]:
    """(items' rows in the order of the songs, M, the mean)."""
    items = model.rows(ITEMS, item_keys(ratings.songs, 40)).astype(float)
    matrix = model.rows(USER_PRIOR, map_keys(FACTORS)).astype(float)
    return items, matrix, float(model.rows(MEAN, MEAN_KEYS)[0, 0])


def objective(ratings: Ratings, items: np.ndarray, matrix: np.ndarray, mean: float) -> float:
    return sum(fitted(ratings, items, matrix, mean, u)[1] for u in range(len(ratings.users)))


def gradients_of(contribution: Contribution, model: DenseModel, table: str) -> np.ndarray:
    """h (x - y): what a first step from `model` went by, in the order of the keys."""
    block = block_of(contribution, table)
    h = block.evidence.astype(float)[:, None] * block.curvature.astype(float)
    return h * (block.values.astype(float) - model.rows(table, block.keys))


def test_a_step_goes_along_the_slope_of_the_users_error_in_items_and_in_the_matrix() -> None:
    ratings = chosen_ratings()
    model = with_others(learned(ratings))
    items, matrix, mean = parts_of(model, ratings)
    assert np.abs(matrix).max() > 0.05
    contribution = step(task_of(ratings), model)
    places = np.searchsorted(np.sort(item_keys(ratings.songs, 40)), item_keys(ratings.songs, 40))
    of_items = gradients_of(contribution, model, ITEMS)[places]
    of_matrix = gradients_of(contribution, model, USER_PRIOR)
    small = 1e-5

    def slope(items_step: np.ndarray, matrix_step: np.ndarray) -> float:
        above, below = (
            objective(ratings, items + sign * items_step, matrix + sign * matrix_step, mean)
            for sign in (small, -small)
        )
        return -(above - below) / (4 * small)

    for place in np.ndindex(*items.shape):
        unit = np.zeros_like(items)
        unit[place] = 1
        assert of_items[place] == pytest.approx(slope(unit, 0 * matrix), abs=2e-3)
    for place in np.ndindex(*matrix.shape):
        unit = np.zeros_like(matrix)
        unit[place] = 1
        assert of_matrix[place] == pytest.approx(slope(0 * items, unit), abs=2e-3)


def test_parts_together_pull_as_the_whole_does_and_end_where_it_ends() -> None:
    whole = chosen_ratings(users=18)
    parts = [whole.only_users(lambda user, n=n: int(user.split("-")[1]) % 3 == n) for n in range(3)]
    model = with_others(learned(whole))
    together = np.zeros((FACTORS, FACTORS + 1))
    for part in parts:
        together += gradients_of(step(task_of(part), model), model, USER_PRIOR)
    alone = gradients_of(step(task_of(whole), model), model, USER_PRIOR)
    assert np.abs(alone).max() > 0.1
    assert together == pytest.approx(alone, abs=2e-3)

    tasks = [task_of(part) for part in parts]
    group = DenseModel.empty(GROUP)
    for _ in range(400):
        group = merge(GROUP, [step(task, group) for task in tasks])
    central = learned(whole, 400)
    # The factors may be turned against those of the other: what they predict may not.
    shapes = [
        items[:, :-1] @ items[:, :-1].T
        for items in (parts_of(m, whole)[0] for m in (group, central))
    ]
    assert np.abs(shapes[1]).max() > 0.5
    assert shapes[0] == pytest.approx(shapes[1], abs=0.02)
    ends = [objective(whole, *parts_of(m, whole)) for m in (group, central)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-3)


def test_where_nothing_moves_any_more_the_slope_balances_the_prior() -> None:
    ratings = chosen_ratings()
    model = learned(ratings, 400)
    of_matrix = gradients_of(step(task_of(ratings), model), model, USER_PRIOR)
    matrix = parts_of(model, ratings)[1]
    expected = USUAL_USER_PRIOR * len(ratings.users) * matrix
    assert np.abs(expected).max() > 0.3
    assert of_matrix == pytest.approx(expected, abs=0.02)


def test_before_anything_is_learned_nothing_is_said_of_the_matrix() -> None:
    ratings = chosen_ratings()
    first = step(task_of(ratings), DenseModel.empty(GROUP))
    assert tables_of(first) == [ITEMS, MEAN]
    second = step(task_of(ratings), merge(GROUP, [first]))
    assert tables_of(second) == [ITEMS, MEAN, USER_PRIOR]
    block = block_of(second, USER_PRIOR)
    assert np.array_equal(block.keys, map_keys(FACTORS))
    assert (block.evidence == len(ratings.users)).all()
    assert np.isfinite(block.values).all()
    assert (block.curvature > 0).all()


# --- what it is good for -------------------------------------------------------------------------


def held_out_error(ratings: Ratings, charter: Charter) -> float:
    order = np.random.default_rng(1).permutation(len(ratings))
    test = np.sort(order[: len(order) // 5])
    split = Split(np.setdiff1d(np.arange(len(ratings)), test), NOTHING, test)
    task = MatrixFactorization.from_charter(charter, ratings, split)
    solo = SoloModel(task, np.random.default_rng(0))
    for _ in range(20):
        solo.step()
    return task.evaluate(solo.model, "test").value


@pytest.mark.parametrize(("choosy", "at_most"), [(1.0, 0.9), (0.0, 1.01)])
def test_it_helps_with_people_who_choose_and_does_not_harm_with_others(
    choosy: float, at_most: float
) -> None:
    for seed in (0, 1):
        ratings = chosen_ratings(seed, users=200, songs=60, choosy=choosy, each=15)
        now, before = (
            held_out_error(ratings, rating_charter("m", (0.5, 5.0), user_prior=strength))
            for strength in (USUAL_USER_PRIOR, 0.0)
        )
        assert now < at_most * before


# --- who predicts by it --------------------------------------------------------------------------


def test_predictions_are_those_of_users_held_near_what_is_expected_of_them() -> None:
    ratings = chosen_ratings()
    model = learned(ratings)
    items, matrix, mean = parts_of(model, ratings)
    parameters = rating_parameters(GROUP)
    head = RatingHead(GROUP, model)
    squares = []
    for user in range(len(ratings.users)):
        mine = np.flatnonzero(ratings.user_index == user)
        p, _ = fitted(ratings, items, matrix, mean, user)
        expected = parameters.to_ratings(mean + p[-1] + items[:, -1] + items[:, :-1] @ p[:-1])
        given = tuple(ratings.songs[s] for s in ratings.song_index[mine])
        users = head.fold_in(one_user(ratings.values[mine].astype(float)), item_keys(given, 40))
        scores = head.scores(users, item_keys(ratings.songs, 40))[0]
        assert scores == pytest.approx(expected, abs=1e-5)
        clipped = np.clip(expected[ratings.song_index[mine]], 0.5, 5.0)
        squares.extend((clipped - ratings.values[mine]) ** 2)
    found = task_of(ratings).evaluate(model, "train").value
    assert found == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-5)


def test_own_losses_leave_a_rating_out_of_the_fit_and_of_what_was_rated() -> None:
    ratings = chosen_ratings()
    model = learned(chosen_ratings(7))
    items, matrix, mean = parts_of(model, ratings)
    parameters = rating_parameters(GROUP)
    expected = []
    for user, song, value in zip(
        ratings.user_index, ratings.song_index, ratings.values, strict=True
    ):
        p, _ = fitted(ratings, items, matrix, mean, int(user), int(song))
        raw = mean + p[-1] + items[song, -1] + items[song, :-1] @ p[:-1]
        predicted = np.clip(parameters.to_ratings(np.array(raw)), 0.5, 5.0)
        expected.append(float((predicted - value) ** 2))
    found = task_of(ratings).own_losses(model)
    assert found.losses == pytest.approx(np.array(expected), abs=1e-5)


def test_own_losses_of_a_single_rating_are_those_of_a_stranger() -> None:
    ratings = chosen_ratings(each=1)
    model = learned(chosen_ratings(7))
    items, _, mean = parts_of(model, ratings)
    own = np.clip(
        task_of(ratings).parameters.to_ratings(mean + items[ratings.song_index, -1]), 0.5, 5.0
    )
    found = task_of(ratings).own_losses(model).losses
    assert found == pytest.approx(np.square(own - ratings.values), abs=1e-5)


class OtherMaps:
    """Counterfactuals that differ in M alone."""

    def __init__(self, changes: list[np.ndarray]) -> None:
        self._changes = changes
        self.count = len(changes)

    def changed(self, table: str, keys: Keys) -> ChangedRows:
        width = GROUP.table(table).width
        if table != USER_PRIOR:
            nothing = np.zeros(0, dtype=np.intp)
            empty = np.zeros(0, dtype=np.float32)
            return ChangedRows(nothing, nothing, np.zeros((0, width), dtype=np.float32), empty)
        return ChangedRows(
            np.repeat(np.arange(self.count), len(keys)),
            np.tile(np.arange(len(keys)), self.count),
            np.concatenate(self._changes).astype(np.float32),
            np.ones(self.count * len(keys), dtype=np.float32),
        )


def test_who_spoils_the_matrix_is_seen_to_raise_losses() -> None:
    ratings = chosen_ratings()
    model = learned(ratings)
    matrix = parts_of(model, ratings)[1]
    changes = [3 * np.random.default_rng(n).normal(size=matrix.shape) for n in range(2)]
    task = task_of(ratings)
    (found,) = task.loss_changes(model, [OtherMaps(changes)])

    def squares(model: DenseModel) -> np.ndarray:
        items, matrix, mean = parts_of(model, ratings)
        errors = []
        for user, song, value in zip(
            ratings.user_index, ratings.song_index, ratings.values, strict=True
        ):
            p, _ = fitted(ratings, items, matrix, mean, int(user))
            raw = mean + p[-1] + items[song, -1] + items[song, :-1] @ p[:-1]
            errors.append(float((task.parameters.to_units(np.array(value)) - raw) ** 2))
        return np.array(errors)

    before = squares(model)
    for number, change in enumerate(changes):
        expected = squares(with_map(model, matrix + change)) - before
        assert np.sort(found[:, number]) == pytest.approx(np.sort(expected), abs=1e-3)
        assert found[:, number].mean() > 0.1


# --- who says nothing of it ----------------------------------------------------------------------


def test_a_node_with_fewer_users_than_a_row_needs_proposes_no_matrix() -> None:
    model = learned(chosen_ratings())
    for users, told in ((2, False), (3, True)):
        ratings = chosen_ratings(3, users=users)
        proposed = tables_of(step(task_of(ratings, min_row_evidence=3), model))
        assert (USER_PRIOR in proposed) == told


def test_a_private_step_uses_the_matrix_and_says_nothing_of_it() -> None:
    ratings = chosen_ratings()
    model = learned(ratings)
    task = task_of(ratings, public_songs=ratings.songs)
    silent = Release(clip=1e6, noise_multiplier=0.0, precision=1.0)
    (block,) = task.private_step(model, silent, lambda count: bytes(count)).blocks
    assert block.table == ITEMS
    items, matrix, mean = parts_of(model, ratings)
    units = task.parameters.to_units(ratings.values)
    total = np.zeros(len(ratings.songs))
    for n, (user, song) in enumerate(zip(ratings.user_index, ratings.song_index, strict=True)):
        p, _ = fitted(ratings, items, matrix, mean, int(user))
        total[song] += units[n] - (mean + p[-1] + items[song, -1] + items[song, :-1] @ p[:-1])
    order = np.argsort(item_keys(ratings.songs, 40))
    assert np.abs(matrix).max() > 0.05
    assert block.values[:, -1] == pytest.approx((items[:, -1] + total)[order], abs=1e-4)


# --- charters ------------------------------------------------------------------------------------


def test_without_it_a_charter_is_that_of_the_version_before() -> None:
    old = rating_charter("music", (0.5, 5.0), user_prior=0.0, relevance=0.0)
    assert old.group_id == "7e34a5ace2925cdd261dd509bfa15c34", "as version 0.1.0 computes it"
    assert [table.name for table in old.tables] == [ITEMS, MEAN]
    assert rating_parameters(old).user_prior == 0.0
    ratings = chosen_ratings()
    solo = SoloModel(task_of(ratings, old), np.random.default_rng(0))
    for _ in range(3):
        solo.step()
    assert tables_of(step(task_of(ratings, old), solo.model)) == [ITEMS, MEAN]


def test_the_charter_says_that_there_is_such_a_matrix() -> None:
    made = rating_charter("music", factors=3, user_prior=0.25)
    assert rating_parameters(made).user_prior == 0.25
    table = made.table(USER_PRIOR)
    assert (table.width, table.prior) == (4, (0.0,) * 4)
    assert table.prior_per_evidence == (0.25,) * 4
    assert made.group_id != rating_charter("music", factors=3, user_prior=0.5).group_id


@pytest.mark.parametrize("strength", [-0.1, 1e-4, 2e3, math.nan])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="user_prior is"):
        rating_charter("music", user_prior=strength)


@pytest.mark.parametrize(
    ("value", "message"),
    [("0.4", "malformed"), (True, "malformed"), (-1.0, "user_prior is -1"), (0.5, "tables")],
)
def test_a_charter_with_another_strength_than_its_table_is_refused(
    value: object, message: str
) -> None:
    wrong = {**GROUP.hyperparameters, USER_PRIOR: value}
    hostile = dataclasses.replace(GROUP, hyperparameters=wrong)  # type: ignore[arg-type]
    with pytest.raises(GroupError) as caught:
        rating_parameters(hostile)
    assert message in str(caught.value)


def test_a_charter_that_lacks_one_of_table_and_strength_is_refused() -> None:
    old = rating_charter(
        "music", (0.5, 5.0), factors=FACTORS, prior=0.5, user_prior=0.0, relevance=0.0
    )
    for hostile in (
        dataclasses.replace(GROUP, tables=old.tables),
        dataclasses.replace(old, tables=GROUP.tables),
    ):
        with pytest.raises(GroupError, match="its tables are not those of a rating group"):
            rating_parameters(hostile)


def test_a_matrix_that_makes_no_sense_gives_predictions_on_the_scale() -> None:
    ratings = chosen_ratings()
    model = with_map(learned(ratings), np.full((FACTORS, FACTORS + 1), 100.0))
    result = task_of(ratings).evaluate(model, "train")
    assert math.isfinite(result.value)
    assert result.value <= 4.5
    for block in step(task_of(ratings), model).blocks:
        assert np.isfinite(block.values).all()
        assert np.abs(block.values).max() <= GROUP.table(block.table).value_limit
