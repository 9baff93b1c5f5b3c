"""`LearningTask`: what a model must offer to be learned by a node.

A task owns the private data and the private part of the model. It is plain NumPy: no I/O, no
trio, no clocks; randomness comes as an argument. The node calls it from a worker thread, one call
at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ChangedRows, Charter, Contribution, Evaluation, Keys, ModelView
from openfl.learning.differential_privacy import RandomBytes, Release
from openfl.learning.own_items import OwnItems


class LearningTask(Protocol):
    """One model on one node's private data."""

    @property
    def charter(self) -> Charter:
        """The charter this task learns under."""
        ...

    @property
    def train_examples(self) -> int:
        """How many private examples stand behind the contributions."""
        ...

    def local_step(self, model: ModelView, rng: np.random.Generator) -> Contribution:
        """Train on the private data from `model`; return proposals for every row with evidence."""
        ...

    def evaluate(self, model: ModelView, split: str = "validation") -> Evaluation:
        """The held-out metric under `model`; `split` is "validation" or "test"."""
        ...

    def private_state(self) -> Mapping[str, NDArray[np.generic]]:
        """Arrays that never leave the node, to be saved (safetensors)."""
        ...

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take back what `private_state` returned; ValueError when it does not fit the data."""
        ...


class Counterfactuals(Protocol):
    """Models that differ from a common one in some rows, each by one member."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def keys(self, table: str) -> Keys:
        """uint64[n], ascending: rows that may differ, those that the common model does not have
        included."""
        ...

    def changed(self, table: str, keys: Keys) -> ChangedRows:
        """Those of the rows `keys` (uint64[m], ascending) that differ, in every counterfactual."""
        ...


@runtime_checkable
class InfluenceJudge(Protocol):
    """What a task may offer beside a `LearningTask`, so that its node can tell which members do its
    own data good (see `openfl.aggregation.member_judge`)."""

    def loss_changes(
        self, model: ModelView, parts: Iterable[Counterfactuals]
    ) -> Iterator[NDArray[np.floating[Any]]]:
        """For each part, float[n, count]: by how much the loss of each of (up to some thousands of)
        own training examples is higher in each of its counterfactuals than under `model`. The
        private part of the model is fitted to `model` and stays.

        They come in parts so that memory stays bounded in large groups.
        """
        ...


@runtime_checkable
class NamesItems(Protocol):
    """What a task may offer beside a `LearningTask` when rows stand for things with names, so that
    its node can tell whether the group calls them the same."""

    own_items: OwnItems


@runtime_checkable
class PrivateLearner(Protocol):
    """What a task may offer beside a `LearningTask`, so that its node can teach the group under
    user-level differential privacy (see `openfl.learning.differential_privacy`)."""

    def private_step(
        self, model: ModelView, release: Release, random_bytes: RandomBytes
    ) -> Contribution:
        """As `local_step`, made private by one release of one sum over users.

        Everything in it (keys, counts and curvature too) is either out of that sum or does not
        depend on private data. UserError when this task was not made for it (says what is missing).
        """
        ...
