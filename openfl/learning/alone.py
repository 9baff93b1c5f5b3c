"""`AloneByFolds`: what training alone is worth to a node, against models that others have learned.

A model that the node trains on all of its data has seen that data; the others' models have not. So
the data is cut into parts, and each part is judged by a model trained on the other parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Evaluation, ModelView
from openfl.learning.central import SoloModel
from openfl.learning.comparison import Comparison, PairedTask, paired_gain
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.task import LearningTask

FOLDS = 4
FOLD_ROUNDS = 10
MIN_EXAMPLES = 2 * FOLDS
UNKNOWN_ERROR = 1.0
"""Standard error of a gain that nothing is known of: fewer examples are not cut."""


class FoldTask(LearningTask, PairedTask, Protocol):
    """A task that holds back one part of the own examples as validation data."""


@runtime_checkable
class FoldsOwn(Protocol):
    """What a task may offer beside a `LearningTask`, so that training alone can be judged fairly
    (`AloneByFolds`)."""

    def fold(self, number: int, folds: int) -> FoldTask:
        """The same task with the own examples but the test's cut anew: of `folds` equal parts,
        always the same ones, that of this number is held out as validation data, and the others are
        trained on. DataError when that leaves nothing to train on."""
        ...


class AloneByFolds:
    """See the module's text. Trained once, when first asked for. rng: what training draws from."""

    def __init__(self, task: LearningTask, rng: np.random.Generator) -> None:
        self.task = task
        self._rng = rng
        self._folds: Sequence[FoldTask] = ()
        self._losses: NDArray[np.float64] | None = None

    def gain_of(self, model: ModelView, task: LearningTask | None = None) -> Comparison | None:
        """`model`, which has not learned from this node, against training alone; None for a task
        that is not judged by its own examples or cannot be cut. task: the same data under the
        charter of `model`, when that differs in more than the name. `current` of what comes back is
        of all that was cut; where too little is known to cut it, it is that of `model`."""
        own, other = self.task, task if task is not None else self.task
        if not (isinstance(own, JudgesByOwn) and isinstance(own, FoldsOwn)):
            return None
        if not isinstance(other, FoldsOwn):
            return None
        candidate = other.evaluate(model)
        if own.train_examples < MIN_EXAMPLES:
            return Comparison(candidate, candidate, 0.0, UNKNOWN_ERROR, own.train_examples)
        if self._losses is None:
            self._folds = [own.fold(number, FOLDS) for number in range(FOLDS)]
            self._losses = np.concatenate([self._alone(fold) for fold in self._folds])
        judges = self._folds if task is None else [other.fold(n, FOLDS) for n in range(FOLDS)]
        with_model = np.concatenate([judge.held_out_losses(model) for judge in judges])
        # Whose each is does not matter beside how far models trained on so little differ.
        each = np.arange(len(with_model))
        found = paired_gain(self._losses, with_model, each, own.metric_power)
        if found is None:
            return None
        current = _evaluation(candidate.metric, self._losses, own.metric_power)
        return Comparison(current, candidate, *found, current.count)

    def _alone(self, fold: FoldTask) -> NDArray[np.float64]:
        solo = SoloModel(fold, self._rng)
        for _ in range(FOLD_ROUNDS):
            solo.step()
        return fold.held_out_losses(solo.model)


def _evaluation(metric: str, losses: NDArray[np.float64], power: float) -> Evaluation:
    """The mean of the losses to this power, with its standard error (delta method)."""
    mean, count = float(losses.mean()), len(losses)
    value = mean**power
    error = power * value / mean * float(losses.std(ddof=1)) / math.sqrt(count) if mean > 0 else 0.0
    return Evaluation(metric, value, error, count)
