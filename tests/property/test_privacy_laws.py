"""What differential privacy rests on: nobody moves what is released by more than the clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from openfl.core.contribution import ModelView, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge
from openfl.learning.differential_privacy import (
    Release,
    clipped,
    normal,
    plan_release,
    private_sum,
)
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.rating.charter import ITEMS, rating_charter
from openfl.learning.rating.task import MatrixFactorization

CHARTER = rating_charter("private", (1, 5), factors=3)
SONGS = tuple(f"song {n}" for n in range(30))
SILENT = Release(clip=1.5, noise_multiplier=0.0, precision=8.0)


def no_bytes(count: int) -> bytes:
    return bytes(count)


def some_ratings(seed: int, users: int) -> Ratings:
    """Of 2 to 25 songs a user, some far off what anybody else thinks."""
    rng = np.random.default_rng(seed)
    user, song = [], []
    for n in range(users):
        rated = rng.choice(len(SONGS), int(rng.integers(2, 26)), replace=False)
        user += [n] * len(rated)
        song += rated.tolist()
    return Ratings(
        users=tuple(f"user {n}" for n in range(users)),
        songs=SONGS,
        user_index=np.array(user, dtype=np.int32),
        song_index=np.array(song, dtype=np.int32),
        values=rng.integers(1, 6, len(user)).astype(np.float32),
        scale=(1.0, 5.0),
    )


def a_model(seed: int) -> ModelView:
    """A group's model that others have made: rows and mean."""
    if not seed:
        return DenseModel.empty(CHARTER)
    task = MatrixFactorization.from_charter(CHARTER, some_ratings(seed, 12))
    rng = np.random.default_rng(0)
    model: ModelView = DenseModel.empty(CHARTER)
    for _ in range(3):
        model = merge(CHARTER, [task.local_step(model, rng)])
    return model


def released(ratings: Ratings, model: ModelView, release: Release = SILENT) -> RowBlock:
    task = MatrixFactorization.from_charter(CHARTER, ratings, public_songs=SONGS)
    (block,) = task.private_step(model, release, no_bytes).blocks
    return block


@example(seed=1532, users=2, model_seed=0)
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(0, 3))
def test_taking_any_user_away_moves_what_is_released_by_at_most_the_clip(
    seed: int, users: int, model_seed: int
) -> None:
    ratings, model = some_ratings(seed, users), a_model(model_seed)
    whole = released(ratings, model)
    gone = f"user {seed % users}"
    without = released(ratings.only_users(lambda user: user != gone), model)
    # What is not a sum over users is the same, whoever is among them.
    assert whole.keys.tolist() == without.keys.tolist()
    assert whole.evidence.tolist() == without.evidence.tolist()
    assert whole.curvature.tolist() == without.curvature.tolist()
    assert (whole.values[:, :-1] == without.values[:, :-1]).all()
    moved = (whole.values[:, -1] - without.values[:, -1]).astype(np.float64) * SILENT.precision
    # Nothing moves where the user rated just as the model expects: seed 1532, 2 users, no model.
    assert np.linalg.norm(moved) <= SILENT.clip * (1 + 1e-4)


def test_the_same_user_unclipped_would_have_moved_it_further() -> None:
    ratings, model = some_ratings(3, 5), a_model(1)
    wide = Release(clip=1e6, noise_multiplier=0.0, precision=8.0)
    whole = released(ratings, model, wide)
    without = released(ratings.only_users(lambda user: user != "user 0"), model, wide)
    moved = (whole.values[:, -1] - without.values[:, -1]) * wide.precision
    assert np.linalg.norm(moved) > 2 * SILENT.clip


def test_an_ordinary_step_shows_who_rated_what() -> None:
    # The twin: its keys and counts are those of the users there are.
    ratings, model = some_ratings(3, 5), a_model(1)
    rng = np.random.default_rng(0)

    def step(part: Ratings) -> RowBlock:
        return MatrixFactorization.from_charter(CHARTER, part).local_step(model, rng).blocks[0]

    whole, without = step(ratings), step(ratings.only_users(lambda user: user != "user 0"))
    assert whole.evidence.sum() != without.evidence.sum()


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4), min_size=1, max_size=8
    ),
    st.floats(0.01, 100),
)
def test_every_user_is_clipped_and_who_is_short_enough_is_not(
    rows: list[list[float]], clip: float
) -> None:
    before = np.array(rows)
    after = clipped(sp.csr_array(before), clip).toarray()
    assert (np.linalg.norm(after, axis=1) <= clip * (1 + 1e-9)).all()
    short = np.linalg.norm(before, axis=1) <= clip
    assert np.array_equal(after[short], before[short])


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_what_cannot_be_bounded_is_not_released(bad: float) -> None:
    clipped(sp.csr_array([[1.0, 2.0]]), 1.0)
    with pytest.raises(ValueError, match="not finite"):
        clipped(sp.csr_array([[1.0, bad]]), 1.0)


def test_the_noise_is_normal_with_the_promised_scale_on_every_number() -> None:
    rng = np.random.default_rng(1)
    release = Release(clip=3.0, noise_multiplier=1.8, precision=20.0)
    assert release.noise_scale == pytest.approx(5.4)
    drawn = private_sum(sp.csr_array((4, 50_000)), release, rng.bytes)
    assert kstest(drawn, "norm", args=(0, 5.4)).pvalue > 0.01
    assert abs(drawn.std() / 5.4 - 1) < 0.01
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02
    # The twin: noise a tenth too small does not pass.
    assert kstest(0.9 * drawn, "norm", args=(0, 5.4)).pvalue < 1e-6


def test_the_ends_of_the_random_bits_are_finite() -> None:
    ends = normal(2, lambda count: bytes(8) + b"\xff" * (count - 8))
    assert np.isfinite(ends).all()
    assert ends[0] == pytest.approx(-ends[1])
    assert 8 < ends[1] < 8.4


def test_more_noise_or_more_users_make_smaller_steps() -> None:
    usual = plan_release(3.0, 2.0, 8, 50)
    assert plan_release(3.0, 4.0, 8, 50).precision == pytest.approx(2 * usual.precision)
    assert plan_release(3.0, 2.0, 32, 50).precision == pytest.approx(2 * usual.precision)
    assert plan_release(3.0, 2.0, 8, 8000).precision == 1000.0
    assert plan_release(3.0, 0.0, 8, 1).precision == 1.0


def test_members_that_teach_factors_can_do_so_beside_a_private_one() -> None:
    teachers = [some_ratings(seed, 40) for seed in (5, 6)]
    tasks = [MatrixFactorization.from_charter(CHARTER, part) for part in teachers]
    private = MatrixFactorization.from_charter(CHARTER, some_ratings(7, 20), public_songs=SONGS)
    rng = np.random.default_rng(0)
    # The private member is first: when the others come, every song has a row.
    model = merge(CHARTER, [private.private_step(DenseModel.empty(CHARTER), SILENT, rng.bytes)])
    alone = DenseModel.empty(CHARTER)
    for _ in range(25):
        steps = [task.local_step(model, rng) for task in tasks]
        model = merge(CHARTER, [*steps, private.private_step(model, SILENT, rng.bytes)])
        alone = merge(CHARTER, [task.local_step(alone, rng) for task in tasks])
    keys = model.keys(ITEMS)
    factors = np.abs(model.rows(ITEMS, keys)[:, :-1]).mean()
    assert factors > 0.5 * np.abs(alone.rows(ITEMS, keys)[:, :-1]).mean()
