"""Another group's model against the own group's, where few examples are held out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from openfl.core.contribution import Charter, Contribution, Evaluation, ModelView
from openfl.core.model_view import DenseModel
from openfl.learning.alone import AloneByFolds
from openfl.learning.comparison import Comparison, compare
from openfl.learning.group_comparison import (
    ENOUGH_HELD_OUT,
    MAX_TAUGHT,
    TaughtTask,
    compare_groups,
)
from openfl.learning.own_losses import OwnLosses
from tests.group_rig import CHARTER

TAUGHT = 45
HELD_OUT = 5


class Model(DenseModel):
    """A model that a fake task tells apart by its losses: of held-out examples, and of others."""

    def __init__(self, held_out: float, taught: float, held_out_count: int = HELD_OUT) -> None:
        super().__init__(CHARTER, {})
        hardness = np.random.default_rng(0).uniform(0.9, 1.1, held_out_count + TAUGHT)
        losses = np.repeat([held_out, taught], [held_out_count, TAUGHT]) * hardness
        object.__setattr__(self, "held_out", losses[:held_out_count])
        object.__setattr__(self, "losses", losses)


def losses_of(model: ModelView, name: str) -> NDArray[np.float64]:
    return cast(NDArray[np.float64], getattr(model, name))


class ByOwn:
    """The mean of losses, judged by what is held out."""

    charter: Charter = CHARTER
    train_examples = TAUGHT
    metric_power = 1.0

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        raise NotImplementedError

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        losses = losses_of(model, "held_out")
        if not len(losses):
            return Evaluation("loss", math.nan, math.nan, 0)
        return Evaluation("loss", float(losses.mean()), 0.1, len(losses))

    def own_losses(self, model: ModelView) -> OwnLosses:
        losses = losses_of(model, "held_out")
        return OwnLosses(losses, np.arange(len(losses)))

    def private_state(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def restore(self, state: object) -> None:
        pass


class Task(ByOwn):
    """One that tells of what it was taught, too."""

    def taught_losses(self, model: ModelView, most: int) -> OwnLosses:
        assert most == MAX_TAUGHT
        losses = losses_of(model, "losses")
        return OwnLosses(losses, np.arange(len(losses)))


@dataclass
class Alone:
    """What training alone is worth is given."""

    gain: float = 0.0
    error: float = 0.1
    asked: list[tuple[ModelView, Any]] = field(default_factory=list)

    def __call__(self) -> AloneByFolds:
        return cast(AloneByFolds, self)

    def gain_of(self, model: ModelView, task: Any = None) -> Comparison:
        self.asked.append((model, task))
        evaluation = Evaluation("loss", 1.0, 0.1, TAUGHT)
        return Comparison(evaluation, evaluation, self.gain, self.error, TAUGHT + HELD_OUT)


def found(
    current: Model | None, candidate: Model, alone: Alone | None = None, task: Any = None
) -> Comparison:
    alone = alone or Alone()
    compared = compare_groups(task or Task(), current, candidate, None, alone)
    assert compared is not None
    return compared


def test_where_nobody_else_is_in_the_group_training_alone_takes_its_place() -> None:
    alone, candidate, other = Alone(gain=0.3), Model(1.0, 1.0), Task()
    compared = compare_groups(Task(), None, candidate, other, alone)
    assert compared is not None
    assert compared.gain == 0.3
    assert alone.asked == [(candidate, other)]


def test_what_is_better_by_all_own_examples_is_better_by_so_much() -> None:
    """Though what is held out says nothing of it: the own group is flattered, the other not."""
    own, other = Model(1.0, 1.5), Model(1.0, 0.75)
    assert compare(Task(), own, other).gain == pytest.approx(0)  # type: ignore[union-attr]
    compared = found(own, other)
    mean = (HELD_OUT * 1.0 + TAUGHT * 0.75) / (HELD_OUT * 1.0 + TAUGHT * 1.5)
    assert compared.gain == pytest.approx(1 - mean, rel=0.02)
    assert compared.count == TAUGHT + HELD_OUT
    assert compared.z > 10
    # For people, and for what a move promises, what is held out counts.
    assert compared.candidate.count == compared.current.count == HELD_OUT
    assert compared.left is not None
    assert compared.left.evaluation == compared.current


def test_few_held_out_examples_do_not_speak_against_what_all_own_ones_say() -> None:
    """Five that are worse by three errors are still five of fifty."""
    compared = found(Model(0.5, 2.0), Model(1.5, 0.5))
    assert compared.gain > 0.5
    assert compared.count == TAUGHT + HELD_OUT


@pytest.mark.parametrize(
    ("against_alone", "is_believed"), [(-0.5, False), (-0.21, False), (-0.19, True), (0.5, True)]
)
def test_a_few_held_out_examples_do_not_lead_to_what_is_worse_than_training_alone(
    against_alone: float, is_believed: bool
) -> None:
    """2 standard errors worse, and all own examples speak against it."""
    own, other = Model(1.0, 0.4), Model(0.9, 2.0)
    by_held_out = compare(Task(), own, other)
    assert by_held_out is not None
    compared = found(own, other, Alone(gain=against_alone))
    if is_believed:
        assert compared == by_held_out
    else:
        assert compared.gain < -0.5
        assert compared.count == TAUGHT + HELD_OUT


def test_the_own_group_is_not_flattered_where_the_other_is_as_good_as_training_alone() -> None:
    """Two fragments of one kind become one, though each fits best what it was taught."""
    own, other = Model(1.0, 0.3), Model(0.9, 0.9)
    compared = found(own, other, Alone(gain=0.4))
    assert compared.gain == pytest.approx(0.1)
    assert compared.count == HELD_OUT


def test_what_held_out_examples_say_clearly_needs_no_training_alone() -> None:
    alone = Alone(gain=0.5)
    worse = found(Model(0.5, 0.5), Model(3.0, 0.6), alone)
    assert worse.count == HELD_OUT
    assert worse.z < -2
    many = ENOUGH_HELD_OUT
    compared = found(Model(1.0, 2.0, many), Model(1.01, 0.1, many), alone)
    assert compared.count == many
    assert compared.gain < 0
    assert not alone.asked


def test_a_task_that_does_not_tell_of_what_it_was_taught_is_judged_by_what_it_tells() -> None:
    assert isinstance(Task(), TaughtTask)
    assert not isinstance(ByOwn(), TaughtTask)
    own, other = Model(1.0, 1.5), Model(0.9, 0.75)
    alone = Alone(gain=-1)
    assert found(own, other, alone, ByOwn()) == compare(ByOwn(), own, other)
    nothing = compare_groups(ByOwn(), Model(1.0, 1.0, 0), Model(0.5, 0.5, 0), None, alone)
    assert nothing is None


def test_with_nothing_held_out_what_was_taught_decides_and_flatters_the_own_group() -> None:
    alone = Alone(gain=1)
    better = found(Model(0, 1.0, 0), Model(0, 0.5, 0), alone)
    assert better.gain == pytest.approx(0.5)
    worse = found(Model(0, 0.5, 0), Model(0, 0.8, 0), alone)
    assert worse.gain == pytest.approx(-0.375)
    assert worse.count == TAUGHT
    assert not alone.asked
