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

MOST_GAIN = 1e6
"""Gains and their errors are cut off there: next to a metric of nearly 0 any other is infinitely
far off, and gains are told and shown."""
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
    """gain: by which part of its value the metric is better (lower) under the candidate; negative
    when it is worse. standard_error: of the gain; both within +-`MOST_GAIN`. count: own examples
    that it rests on. current, candidate: the metric on held-out data, for people."""

    current: Evaluation
    candidate: Evaluation
    gain: float
    standard_error: float
    count: int

    @property
    def z(self) -> float:
        """The gain in standard errors; 0 when nothing differs."""
        return self.gain / self.standard_error if self.standard_error > 0 else 0.0

    @property
    def turned(self) -> Comparison:
        """The same seen from the candidate: what is gained by the current model instead."""
        left = max(1 - self.gain, 1 / MOST_GAIN)
        gain, error = -self.gain / left, self.standard_error / left**2
        return Comparison(self.candidate, self.current, _bounded(gain), _bounded(error), self.count)


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
    evaluations = task.evaluate(current), other.evaluate(candidate)
    return Comparison(*evaluations, *found, len(before.losses))


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
    gain = (before.value - after.value) / abs(before.value) if before.value else 0.0
    if isinstance(task, PairedTask) and isinstance(other, PairedTask):
        differences = task.held_out_losses(current) - other.held_out_losses(candidate)
        error = _relative_error(differences) * abs(gain)
    elif before.value:
        error = math.hypot(before.standard_error, after.standard_error) / abs(before.value)
    else:
        error = 0.0
    return Comparison(before, after, _bounded(gain), _bounded(error), count)


def paired_gain(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    people: NDArray[np.int64],
    power: float = 1.0,
) -> tuple[float, float] | None:
    """(gain, standard error): by which part mean(losses) ** power is lower in `after`; None without
    a loss that is finite.

    before, after: float64[n] of the same examples. people: int64[n], whose each is. The error is
    that of the ratio of means (delta method), clustered by person (Liang and Zeger 1986), no less
    than that of independent examples, and larger where examples or people are few.
    """
    count = len(before)
    if not count or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    base, reached = float(before.mean()), float(after.mean())
    if base <= 0:
        return (0.0, 0.0) if reached <= 0 else (-MOST_GAIN, 0.0)
    ratio = reached / base
    slope = power * max(ratio, 1e-9) ** (power - 1) / base
    spread = slope * (before * ratio - after)
    rated = float(np.square(spread).sum()) / count**2
    sums = np.bincount(people, weights=spread)
    persons = int(np.count_nonzero(np.bincount(people)))
    variance = rated
    if persons > 1:
        clustered = float(np.square(sums).sum()) / count**2 * persons / (persons - 1)
        trust = persons / (persons + FEW_PEOPLE)
        variance = max(rated, trust * clustered + (1 - trust) * rated)
    error = math.sqrt(variance * (1 + FEW_EXAMPLES / count))
    return _bounded(1 - ratio**power), _bounded(error)


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a node's model fits what it holds back. losses: float64[count] of the examples, in
    the same order for every model; None where the task does not tell."""

    evaluation: Evaluation
    losses: NDArray[np.float64] | None = None

    def worse_than(self, before: Fit) -> tuple[float, float]:
        """(by which part the metric is worse than it was before, the standard error of that)."""
        now, then = self.evaluation, before.evaluation
        scale = abs(then.value) or 1.0
        part = (now.value - then.value) / scale
        if self.losses is None or before.losses is None or len(self.losses) != len(before.losses):
            return part, math.hypot(now.standard_error, then.standard_error) / scale
        return part, _relative_error(self.losses - before.losses) * abs(part)


def fit_of(task: LearningTask, model: ModelView) -> Fit:
    """The fit of `model` on the validation data of `task`."""
    losses = task.held_out_losses(model) if isinstance(task, PairedTask) else None
    return Fit(task.evaluate(model), losses)


def _bounded(value: float) -> float:
    """NaN counts as the worst."""
    return max(-MOST_GAIN, min(value, MOST_GAIN)) if value == value else MOST_GAIN


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
