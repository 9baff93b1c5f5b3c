"""Two models on one node's own data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Contribution, Evaluation, ModelView
from openfl.core.model_view import DenseModel
from openfl.learning.comparison import (
    FEW_EXAMPLES,
    Fit,
    PairedTask,
    compare,
    compare_held_out,
    fit_of,
    gain_of,
    paired_gain,
)
from openfl.learning.own_losses import JudgesByOwn, OwnLosses
from tests.group_rig import CHARTER

HARD = np.array([9.0, 0.1, 4.0, 0.2, 16.0])
"""Losses under one model: some examples are hard for any."""


class Model(DenseModel):
    """A model that a fake task tells apart by its losses."""

    def __init__(self, losses: NDArray[np.float64]) -> None:
        super().__init__(CHARTER, {})
        object.__setattr__(self, "losses", losses)


class Task:
    """rmse of given losses."""

    charter: Charter = CHARTER
    train_examples = 1

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        raise NotImplementedError

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        losses: NDArray[np.float64] = model.losses  # type: ignore[attr-defined]
        if not len(losses):
            return Evaluation("rmse", math.nan, math.nan, 0)
        value = math.sqrt(losses.mean())
        if len(losses) < 2 or not math.isfinite(value):
            return Evaluation("rmse", value, value, len(losses))
        error = float(losses.std(ddof=1)) / math.sqrt(len(losses)) / (2 * value or 1)
        return Evaluation("rmse", value, error, len(losses))

    def private_state(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def restore(self, state: object) -> None:
        pass


class Paired(Task):
    def held_out_losses(self, model: ModelView, split: str = "validation") -> NDArray[np.float64]:
        losses: NDArray[np.float64] = model.losses  # type: ignore[attr-defined]
        return losses


class ByOwn(Paired):
    """Judged by all of its examples, of two people, of which the first alone is held out."""

    metric_power = 0.5

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        losses: NDArray[np.float64] = model.losses  # type: ignore[attr-defined]
        return Evaluation("rmse", math.sqrt(losses[0]), 0.1, 1)

    def own_losses(self, model: ModelView) -> OwnLosses:
        losses: NDArray[np.float64] = model.losses  # type: ignore[attr-defined]
        return OwnLosses(losses, np.arange(len(losses)) % 2)


def test_a_better_model_has_a_gain_and_a_worse_one_as_large_a_loss() -> None:
    """As a part of the larger value."""
    better = compare(Paired(), Model(HARD), Model(0.81 * HARD))
    worse = compare(Paired(), Model(0.81 * HARD), Model(HARD))
    assert better is not None
    assert worse is not None
    assert better.gain == pytest.approx(0.1)
    assert worse.gain == pytest.approx(-0.1)
    assert worse == better.turned
    assert better.z > 0 > worse.z
    assert better.count == 5


def test_pairs_see_a_small_difference_that_hard_examples_hide_otherwise() -> None:
    candidate = HARD - np.array([0.05, 0.05, 0.06, 0.05, 0.05])
    paired = compare(Paired(), Model(HARD), Model(candidate))
    unpaired = compare(Task(), Model(HARD), Model(candidate))
    assert paired is not None
    assert unpaired is not None
    assert paired.gain == unpaired.gain
    assert paired.z > 8
    assert unpaired.z < 0.1
    assert isinstance(Paired(), PairedTask)
    assert not isinstance(Task(), PairedTask)


def test_z_is_that_of_the_differences_and_less_where_they_are_few() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.0, 0.1])
    found = compare(Paired(), Model(HARD), Model(HARD - differences))
    assert found is not None
    error = differences.std(ddof=1) / math.sqrt(5) * math.sqrt(1 + FEW_EXAMPLES / 5)
    assert found.z == pytest.approx(differences.mean() / error)


def test_equal_models_differ_by_nothing() -> None:
    found = compare(Paired(), Model(HARD), Model(HARD.copy()))
    assert found is not None
    assert (found.gain, found.standard_error, found.z) == (0, 0, 0)


def test_one_example_says_little() -> None:
    found = compare(Paired(), Model(HARD[:1]), Model(0.5 * HARD[:1]))
    assert found is not None
    assert found.z == pytest.approx(1.0)


def test_with_nothing_held_out_or_no_finite_metric_there_is_no_comparison() -> None:
    assert compare(Paired(), Model(HARD[:0]), Model(HARD[:0])) is None
    assert compare(Paired(), Model(HARD), Model(HARD * np.inf)) is None
    assert compare(Paired(), Model(HARD), Model(HARD)) is not None


@pytest.mark.parametrize("kind", [Task, Paired])
@pytest.mark.parametrize(("now", "then"), [(1e-320, 1.0), (0.0, 1.0), (1.0, 0.0), (1e-320, 1e100)])
def test_next_to_nothing_every_gain_is_finite(kind: type[Task], now: float, then: float) -> None:
    for count in (1, 2, 3):
        found = compare(
            kind(), Model(np.full(count, now)), Model(np.linspace(then, 2 * then, count))
        )
        assert found is not None
        assert math.isfinite(found.gain)
        assert math.isfinite(found.standard_error)
        assert math.isfinite(found.z)


def test_who_can_be_judged_by_all_own_examples_is() -> None:
    """The one that is held out says the opposite."""
    before, after = np.array([1.0, 4.0, 4.0, 4.0]), np.array([2.0, 1.0, 1.0, 1.0])
    found = compare(ByOwn(), Model(before), Model(after))
    assert isinstance(ByOwn(), JudgesByOwn)
    assert found is not None
    assert found.count == 4
    assert found.gain == pytest.approx(1 - math.sqrt(5 / 13))
    assert (found.current.value, found.candidate.value) == (1.0, math.sqrt(2.0))
    assert (found.current.count, found.candidate.count) == (1, 1)
    held = compare_held_out(ByOwn(), Model(before), Model(after))
    assert held is not None
    assert held.gain < 0
    assert held.count == 1


def test_where_the_candidate_s_task_cannot_judge_by_own_the_held_out_ones_speak() -> None:
    found = compare(ByOwn(), Model(HARD), Model(HARD / 4), Paired())
    assert found == compare_held_out(ByOwn(), Model(HARD), Model(HARD / 4), Paired())


# --- the gain of pairs, and its error -------------------------------------------------------------

EACH = np.arange(10_000)
"""Every example of a person of its own."""
ONE = np.zeros(10_000, dtype=np.int64)
"""All of one person."""

losses = st.floats(0.0, 1e6, allow_subnormal=False)
powers = st.sampled_from([0.5, 1.0])


def pairs(count: int, seed: int, noise: float = 0.2) -> tuple[NDArray[np.float64], ...]:
    """float64[count] twice: losses of which the second are mostly a little lower."""
    rng = np.random.default_rng(seed)
    before = rng.gamma(1.0, 1.0, count)
    return before, before * np.exp(rng.normal(-0.1, noise, count))


@given(st.lists(st.tuples(losses, losses, st.integers(0, 3)), min_size=1, max_size=40), powers)
def test_seen_from_the_other_side_a_gain_has_the_other_sign_and_the_same_error(
    rows: list[tuple[float, float, int]], power: float
) -> None:
    before, after = (np.array([row[n] for row in rows]) for n in (0, 1))
    people = np.array([row[2] for row in rows])
    there = paired_gain(before, after, people, power)
    back = paired_gain(after, before, people, power)
    assert there is not None
    assert back is not None
    assert there[0] == -back[0]
    if there[0]:
        assert there[1] == back[1]
    assert -1 <= there[0] <= 1
    assert 0 <= there[1] <= 1


def test_a_gain_is_that_of_the_means_to_the_power() -> None:
    before, after = np.array([1.0, 3.0]), np.array([0.5, 0.5])
    assert paired_gain(before, after, EACH[:2]) == (0.75, pytest.approx(0.25))
    found = paired_gain(before, after, EACH[:2], 0.5)
    assert found is not None
    assert found[0] == 0.5


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("noise", [0.2, 1.0])
def test_its_error_is_the_spread_of_other_samples_of_the_same_people(
    power: float, noise: float
) -> None:
    """Against a bootstrap."""
    count = 400
    before, after = pairs(count, 7, noise)
    found = paired_gain(before, after, EACH[:count], power)
    assert found is not None
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, count, (4000, count))
    means = before[drawn].mean(axis=1) ** power, after[drawn].mean(axis=1) ** power
    gains = [gain_of(*pair) for pair in zip(*means, strict=True)]
    assert found[1] == pytest.approx(np.std(gains), rel=0.2)


def test_its_error_is_the_spread_of_other_people_where_people_differ() -> None:
    """Thirty people of twenty examples each, who gain or lose as a person; against a bootstrap of
    people."""
    rng = np.random.default_rng(5)
    people = np.repeat(np.arange(30), 20)
    before = rng.gamma(1.0, 1.0, 600)
    after = before * np.exp(rng.normal(0.0, 0.4, 30))[people]
    found = paired_gain(before, after, people)
    blind = paired_gain(before, after, EACH[:600])
    assert found is not None
    assert blind is not None
    each = np.arange(600).reshape(30, 20)
    gains = []
    for _ in range(2000):
        drawn = each[rng.integers(0, 30, 30)].ravel()
        gains.append(gain_of(before[drawn].mean(), after[drawn].mean()))
    assert found[1] == pytest.approx(np.std(gains), rel=0.2)
    assert found[1] > 2 * blind[1]


def test_people_that_do_not_differ_make_no_error_smaller() -> None:
    """Two whose examples cancel out exactly."""
    before = np.array([1.0, 2.0, 1.0, 2.0])
    after = np.array([2.0, 1.0, 2.0, 1.0])
    together = paired_gain(before, after, np.array([0, 0, 1, 1]))
    assert together == paired_gain(before, after, ONE[:4])
    assert together is not None
    assert together[1] > 0


def test_few_examples_are_trusted_less_than_their_spread_says() -> None:
    before, after = pairs(12, 3)
    few = paired_gain(before, after, ONE[:12])
    many = paired_gain(np.tile(before, 100), np.tile(after, 100), ONE[:1200])
    assert few is not None
    assert many is not None
    assert few[0] == pytest.approx(many[0])
    assert few[1] / many[1] == pytest.approx(math.sqrt(100 * (1 + 10 / 12) / (1 + 10 / 1200)))


def test_where_nothing_is_lost_nothing_is_unsure() -> None:
    zero, some = np.zeros(4), np.ones(4)
    assert paired_gain(zero, zero, EACH[:4]) == (0.0, 0.0)
    assert paired_gain(some, zero, EACH[:4]) == (1.0, 0.0)
    assert paired_gain(zero, some, EACH[:4]) == (-1.0, 0.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_without_losses_or_with_one_that_is_no_number_there_is_no_gain(bad: float) -> None:
    none = np.zeros(0)
    assert paired_gain(none, none, EACH[:0]) is None
    assert paired_gain(np.array([1.0, bad]), np.ones(2), EACH[:2]) is None
    assert paired_gain(np.ones(2), np.array([1.0, bad]), EACH[:2]) is None


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("least", [5e-324, 1e-310, 1e-300, 1e-160])
def test_next_to_nothing_a_gain_of_pairs_is_finite(power: float, least: float) -> None:
    for before, after in (([least, 2 * least], [1.0, 1e100]), ([least, 0.0], [least, 2 * least])):
        found = paired_gain(np.array(before), np.array(after), EACH[:2], power)
        assert found is not None
        assert -1 <= found[0] <= 1
        assert 0 <= found[1] <= 1


# --- fits -----------------------------------------------------------------------------------------


def test_a_fit_is_worse_by_a_part_of_the_larger_value_and_pairs_say_how_surely() -> None:
    before, after = pairs(200, 1)
    now, then = fit_of(Paired(), Model(before)), fit_of(Paired(), Model(after))
    part, error = now.worse_than(then)
    assert part == pytest.approx(1 - math.sqrt(after.mean() / before.mean()))
    assert then.worse_than(now) == (-part, error)
    found = paired_gain(before, after, EACH[:200], 0.5)
    assert found is not None
    assert error == pytest.approx(found[1], rel=0.2)
    whole, alone = fit_of(Task(), Model(before)), fit_of(Task(), Model(after))
    assert whole.losses is None
    unpaired = whole.worse_than(alone)
    assert unpaired[0] == part
    assert unpaired[1] > 2 * error, "without pairs, hard examples hide the difference"


def test_fits_of_other_examples_are_not_paired() -> None:
    before, after = pairs(50, 2)
    now, then = fit_of(Paired(), Model(before)), fit_of(Paired(), Model(after[:40]))
    part, error = now.worse_than(then)
    larger = max(now.evaluation.value, then.evaluation.value)
    both = math.hypot(now.evaluation.standard_error, then.evaluation.standard_error)
    assert part == pytest.approx(-gain_of(then.evaluation.value, now.evaluation.value))
    assert error == pytest.approx(both / larger)


def test_a_fit_that_has_not_changed_is_not_worse() -> None:
    same = Fit(Evaluation("rmse", 1.0, 0.1, 5), HARD)
    assert same.worse_than(same) == (0.0, 0.0)
    nothing = Fit(Evaluation("rmse", 0.0, 0.0, 5))
    assert nothing.worse_than(nothing) == (0.0, 0.0)
