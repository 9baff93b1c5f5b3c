"""Two models on one node's own data: which serves it better, and how sure that is.

The same examples are judged under both, so what makes an example hard for any model cancels out:
the standard error is that of the differences, much smaller than either metric's own. Neither model
may have learned from this node, or it would seem better than it is for data it has not seen. Where
the task offers it (`JudgesByOwn`), all own examples speak; else those that are held out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Evaluation, ModelView
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.task import LearningTask

FEW_EXAMPLES = 10.0
"""So many imagined examples of usual spread stand beside the own ones in a standard error: what a
handful of examples says of its own spread is not to be trusted. On ratings of real people, judged
one person at a time, z then has a spread of 0.9 to 1.1."""
FEW_PEOPLE = 4.0
"""Likewise of people: few of them tell little of how people differ."""


@runtime_checkable
class PairedTask(Protocol):
    """What a task may offer beside a `LearningTask`, so that models are compared in pairs."""

    def held_out_losses(self, model: ModelView, split: str = "validation") -> NDArray[np.float64]:
        """float64[n]: the loss of each held-out example, in the same order for every model. The
        task's metric grows with their mean."""
        ...


@dataclass(frozen=True, slots=True)
class Comparison:
    """gain: by how much the metric is better (lower) under the candidate, negative when it is
    worse, as a part of the larger of the two values (`gain_of`); so it is within -1 and 1.
    standard_error: of the gain, at most 1. count: own examples that it rests on. current,
    candidate: the metric on held-out data, for people. left: how the current model fits that data,
    example by example, where that is known."""

    current: Evaluation
    candidate: Evaluation
    gain: float
    standard_error: float
    count: int
    left: Fit | None = None

    @property
    def z(self) -> float:
        """The gain in standard errors; 0 when nothing differs."""
        return self.gain / self.standard_error if self.standard_error > 0 else 0.0

    @property
    def turned(self) -> Comparison:
        """The same seen from the candidate: what is gained by the current model instead."""
        return Comparison(self.candidate, self.current, -self.gain, self.standard_error, self.count)


def compare(
    task: LearningTask,
    current: ModelView,
    candidate: ModelView,
    candidate_task: LearningTask | None = None,
) -> Comparison | None:
    """`candidate` against `current`, neither of which has learned from this node, by its own data;
    None when there is nothing to compare on. `candidate_task`: the same data under the candidate's
    charter, when that differs in more than the name."""
    other = candidate_task if candidate_task is not None else task
    if not (isinstance(task, JudgesByOwn) and isinstance(other, JudgesByOwn)):
        return compare_held_out(task, current, candidate, other)
    before, after = task.own_losses(current), other.own_losses(candidate)
    found = paired_gain(before.losses, after.losses, before.people, task.metric_power)
    if found is None:
        return None
    left, after_evaluation = fit_of(task, current), other.evaluate(candidate)
    return Comparison(left.evaluation, after_evaluation, *found, len(before.losses), left)


def compare_held_out(
    task: LearningTask,
    current: ModelView,
    candidate: ModelView,
    candidate_task: LearningTask | None = None,
) -> Comparison | None:
    """As `compare`, by the validation data alone: what neither trained a model nor chose it."""
    other = candidate_task if candidate_task is not None else task
    before, after = task.evaluate(current), other.evaluate(candidate)
    count = min(before.count, after.count)
    if count == 0 or not (math.isfinite(before.value) and math.isfinite(after.value)):
        return None
    gain, larger = gain_of(before.value, after.value), max(abs(before.value), abs(after.value))
    if isinstance(task, PairedTask) and isinstance(other, PairedTask):
        differences = task.held_out_losses(current) - other.held_out_losses(candidate)
        error = _relative_error(differences) * abs(gain)
    else:
        error = math.hypot(before.standard_error, after.standard_error) / (larger or 1.0)
    return Comparison(before, after, gain, _at_most_1(error), count)


def gain_of(before: float, after: float) -> float:
    """(before - after) / the larger of the two: the same from both sides but for the sign, and
    bounded, also where a loss is nearly 0."""
    larger = max(abs(before), abs(after))
    return max(-1.0, min((before - after) / larger, 1.0)) if larger else 0.0


def paired_gain(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    people: NDArray[np.int64],
    power: float = 1.0,
) -> tuple[float, float] | None:
    """(gain, standard error) of mean(losses) ** power, lower in `after`, as `gain_of` counts; None
    when there are none, or not all are finite.

    before, after: float64[n] of the same examples. people: int64[n], whose each is. The error is
    that of the ratio of means (delta method), clustered by person (Liang and Zeger 1986), no less
    than that of independent examples, and larger where examples or people are few.
    """
    count = len(before)
    if not count or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    metrics = float(before.mean()) ** power, float(after.mean()) ** power
    gain = gain_of(*metrics)
    better, worse = (after, before) if gain >= 0 else (before, after)
    lower, higher = float(better.mean()), float(worse.mean())
    if lower <= 0:
        return gain, 0.0
    # The gain is 1 - (lower / higher) ** power, or less than 0 by as much.
    spread = power * (lower / higher) ** power * (worse / higher - better / lower)
    rated = float(np.square(spread).sum()) / count**2
    sums = np.bincount(people, weights=spread)
    persons = int(np.count_nonzero(np.bincount(people)))
    variance = rated
    if persons > 1:
        clustered = float(np.square(sums).sum()) / count**2 * persons / (persons - 1)
        trust = persons / (persons + FEW_PEOPLE)
        variance = max(rated, trust * clustered + (1 - trust) * rated)
    error = math.sqrt(variance * (1 + FEW_EXAMPLES / count))
    return gain, _at_most_1(error)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a node's model fits what it holds back. losses: float64[count] of the examples, in
    the same order for every model; None where the task does not tell."""

    evaluation: Evaluation
    losses: NDArray[np.float64] | None = None

    def worse_than(self, before: Fit) -> tuple[float, float]:
        """(by which part the metric is worse than it was before, the standard error of that)."""
        now, then = self.evaluation, before.evaluation
        part = -gain_of(then.value, now.value)
        if self.losses is None or before.losses is None or len(self.losses) != len(before.losses):
            larger = max(abs(now.value), abs(then.value)) or 1.0
            return part, math.hypot(now.standard_error, then.standard_error) / larger
        return part, _relative_error(self.losses - before.losses) * abs(part)


def fit_of(task: LearningTask, model: ModelView) -> Fit:
    """The fit of `model` on the validation data of `task`."""
    losses = task.held_out_losses(model) if isinstance(task, PairedTask) else None
    return Fit(task.evaluate(model), losses)


def _at_most_1(error: float) -> float:
    """An error that is not known, NaN, is as large as it can be."""
    return min(error, 1.0) if error == error else 1.0


def _relative_error(differences: NDArray[np.float64]) -> float:
    """Standard error of the mean, in units of the mean. One example says nothing of its spread."""
    count = len(differences)
    mean = float(differences.mean()) if count else 0.0
    if mean == 0:
        return 0.0
    if count < 2:
        return 1.0
    spread = float(differences.std(ddof=1)) / math.sqrt(count) * math.sqrt(1 + FEW_EXAMPLES / count)
    return spread / abs(mean)
