"""Two models on one node's held-out data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Contribution, Evaluation, ModelView
from openfl.core.model_view import DenseModel
from openfl.learning.comparison import PairedTask, compare
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


def test_a_better_model_has_a_gain_and_a_worse_one_a_loss() -> None:
    better = compare(Paired(), Model(HARD), Model(0.81 * HARD))
    worse = compare(Paired(), Model(HARD), Model(1.21 * HARD))
    assert better is not None
    assert worse is not None
    assert better.gain == pytest.approx(0.1)
    assert worse.gain == pytest.approx(-0.1)
    assert better.z > 0 > worse.z
    assert better.count == 5


def test_pairs_see_a_small_difference_that_hard_examples_hide_otherwise() -> None:
    candidate = HARD - np.array([0.05, 0.05, 0.06, 0.05, 0.05])
    paired = compare(Paired(), Model(HARD), Model(candidate))
    unpaired = compare(Task(), Model(HARD), Model(candidate))
    assert paired is not None
    assert unpaired is not None
    assert paired.gain == unpaired.gain
    assert paired.z > 10
    assert unpaired.z < 0.1
    assert isinstance(Paired(), PairedTask)
    assert not isinstance(Task(), PairedTask)


def test_z_is_that_of_the_differences() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.0, 0.1])
    found = compare(Paired(), Model(HARD), Model(HARD - differences))
    assert found is not None
    error = differences.std(ddof=1) / math.sqrt(5)
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
