"""Two models on one node's own held-out data: which serves it better, and how sure that is.

The same examples are judged under both, so what makes an example hard for any model cancels out:
the standard error is that of the differences, much smaller than either metric's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Evaluation, ModelView
from openfl.learning.task import LearningTask

MOST_GAIN = 1e6
"""Gains and their errors are cut off there: next to a metric of nearly 0 any other is infinitely
far off, and gains are told and shown."""


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
    when it is worse. standard_error: of the gain; both within +-`MOST_GAIN`. count: held-out
    examples."""

    current: Evaluation
    candidate: Evaluation
    gain: float
    standard_error: float
    count: int

    @property
    def z(self) -> float:
        """The gain in standard errors; 0 when nothing differs."""
        return self.gain / self.standard_error if self.standard_error > 0 else 0.0


def compare(
    task: LearningTask,
    current: ModelView,
    candidate: ModelView,
    candidate_task: LearningTask | None = None,
) -> Comparison | None:
    """`candidate` against `current` on the task's validation data, private state fitted to each
    model anew; None when there is nothing to compare on. `candidate_task`: the same data under the
    candidate's charter, when that differs in more than the name."""
    other = candidate_task if candidate_task is not None else task
    before, after = task.evaluate(current), other.evaluate(candidate)
    count = min(before.count, after.count)
    if count == 0 or not (math.isfinite(before.value) and math.isfinite(after.value)):
        return None
    gain = (before.value - after.value) / abs(before.value) if before.value else 0.0
    gain = max(-MOST_GAIN, min(gain, MOST_GAIN))
    if isinstance(task, PairedTask) and isinstance(other, PairedTask):
        differences = task.held_out_losses(current) - other.held_out_losses(candidate)
        error = _relative_error(differences) * abs(gain)
    elif before.value:
        error = math.hypot(before.standard_error, after.standard_error) / abs(before.value)
    else:
        error = 0.0
    if not error <= MOST_GAIN:  # NaN neither
        error = MOST_GAIN
    return Comparison(before, after, gain, error, count)


def _relative_error(differences: NDArray[np.float64]) -> float:
    """Standard error of the mean, in units of the mean. One example says nothing of its spread."""
    mean = float(differences.mean())
    if mean == 0:
        return 0.0
    if len(differences) < 2:
        return 1.0
    return float(differences.std(ddof=1)) / math.sqrt(len(differences)) / abs(mean)
