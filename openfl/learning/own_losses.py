"""What a model is worth to a node by all of its own examples: what groups are chosen by.

Held-out examples are few: six of a person with sixty ratings, whose spread hides differences of a
tenth. All own examples are ten times as many, and none needs to be held back: a model that has not
learned from this node has seen none of them, and where a private part is fitted to the model, each
example is left out of that fit in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ModelView


@dataclass(frozen=True, slots=True)
class OwnLosses:
    """losses: float64[n], at least 0, of each own example but the test's, in the same order for
    every model. people: int64[n], 0 and up, whose example it is: examples of one person err
    together."""

    losses: NDArray[np.float64]
    people: NDArray[np.int64]


@runtime_checkable
class JudgesByOwn(Protocol):
    """What a task may offer beside a `LearningTask`, so that groups are judged by all own examples
    (see `openfl.learning.comparison`)."""

    metric_power: float
    """The task's metric is the mean of such losses to this power: 0.5 of a root of a mean square, 1
    of a mean."""

    def own_losses(self, model: ModelView) -> OwnLosses:
        """The loss of each own example but the test's under `model`, which has not learned from
        this node. Where a private part is fitted to the model, each training example is left out of
        that fit in turn."""
        ...
