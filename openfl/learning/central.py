"""Training a task alone: what a node reaches with its own data, and the central reference.

The same task, steps and merge rule as in a group of which this node is the only member.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from openfl.core.contribution import MAX_PRECISION, Charter, Contribution, Evaluation, RowBlock
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.task import LearningTask

LEAST_GAIN = 2e-5
"""The part of the validation metric below which a gain is not worth the rounds it takes."""


def merge(charter: Charter, contributions: Iterable[Contribution]) -> DenseModel:
    """The group's model of these members: y = sum h x / (sum h + D), row by row and column by
    column, D = prior + prior_per_evidence * total evidence of the row."""
    blocks: dict[str, list[RowBlock]] = {}
    for contribution in contributions:
        for block in contribution.blocks:
            blocks.setdefault(block.table, []).append(block)
    return DenseModel(
        charter, {name: _merge_table(charter, name, found) for name, found in blocks.items()}
    )


def _merge_table(charter: Charter, name: str, blocks: list[RowBlock]) -> DenseTable:
    schema = charter.table(name)
    keys = np.unique(np.concatenate([block.keys for block in blocks]))
    weighted = np.zeros((len(keys), schema.width))
    precision = np.zeros((len(keys), schema.width))
    evidence = np.zeros(len(keys))
    for block in blocks:
        at = np.searchsorted(keys, block.keys)
        h = np.minimum(
            block.evidence.astype(np.float64)[:, None] * block.curvature.astype(np.float64),
            MAX_PRECISION,
        )
        weighted[at] += h * block.values
        precision[at] += h
        evidence[at] += block.evidence
    prior = np.asarray(schema.prior) + np.asarray(schema.prior_per_evidence) * evidence[:, None]
    rows = weighted / (precision + prior)
    return DenseTable(keys, rows.astype(np.float32), evidence)


@runtime_checkable
class StartsAlone(Protocol):
    """What a `LearningTask` may offer for training alone, where nobody else starts elsewhere."""

    def first_guess(self) -> DenseModel:
        """A model to start from, of this node's data."""
        ...


class SoloModel:
    """A model with one member. Each `step` is one round; a caller may stop between any two."""

    def __init__(self, task: LearningTask, rng: np.random.Generator) -> None:
        self._task = task
        self._rng = rng
        self.model = DenseModel.empty(task.charter)
        if isinstance(task, StartsAlone):
            self.model = task.first_guess()
        self.rounds = 0

    def step(self) -> DenseModel:
        """Train once from the model, and make the model of what came out."""
        contribution = self._task.local_step(self.model, self._rng)
        self.model = merge(self._task.charter, (contribution,))
        self.rounds += 1
        return self.model


@dataclass(frozen=True)
class SoloResult:
    """The best model found alone and its metrics. `history`: validation after each round."""

    model: DenseModel
    rounds: int
    validation: Evaluation
    test: Evaluation
    history: tuple[float, ...]


def train_alone(
    task: LearningTask,
    rng: np.random.Generator,
    max_rounds: int = 30,
    patience: int = 3,
) -> SoloResult:
    """Rounds until validation has hardly improved for `patience` rounds (by less than `LEAST_GAIN`
    of it), or `max_rounds` are done.

    `rounds` is that of the best model. Without held-out ratings all `max_rounds` are done and the
    last model counts. ValueError when `max_rounds` < 1.
    """
    if max_rounds < 1:
        raise ValueError("max_rounds must be at least 1")
    solo = SoloModel(task, rng)
    best_model, best_round = solo.step(), 1
    best = gained = task.evaluate(best_model)
    gained_in = best_round
    history = [best.value]
    while solo.rounds < max_rounds and (best.count == 0 or solo.rounds - gained_in < patience):
        model = solo.step()
        now = task.evaluate(model)
        history.append(now.value)
        if best.count == 0 or now.value < best.value:
            best_model, best_round, best = model, solo.rounds, now
        if now.value < (1 - LEAST_GAIN) * gained.value:
            gained, gained_in = now, solo.rounds
    return SoloResult(
        best_model, best_round, best, task.evaluate(best_model, "test"), tuple(history)
    )
