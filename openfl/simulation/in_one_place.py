"""What nodes would reach with models trained in one place, grouped in any way; and the ratings of
some people of a file, to be such nodes' data."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from pathlib import Path

import numpy as np

from openfl.config import Config, with_values
from openfl.core.errors import DataError
from openfl.learning.central import train_alone
from openfl.learning.factorization.rating_scale import format_scale
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.kinds import KINDS
from openfl.learning.workload import Workload
from openfl.simulation.central import CENTRAL_ROUNDS
from openfl.simulation.dataset import sharding_of


class InOnePlace:
    """Nodes whose data is in one file each, as models trained in one place would serve them: the
    task, the split and the test data of each are those of a node with this configuration."""

    def __init__(self, config: Config, files: Sequence[Path]) -> None:
        """config: as the nodes have it, but for `data.ratings_file`. DataError when a file cannot
        be used, or files of this kind cannot be put together."""
        self._kind = KINDS[config.task.kind]
        # Whoever trains in one place has no reason to hold rows of little evidence back.
        self._config = with_values(config, {"training.min_row_evidence": 1})
        self._parts = [
            self._kind.load(with_values(config, {"data.ratings_file": str(file)}), None)
            for file in files
        ]
        self._join = sharding_of(self._kind).join
        if self._join is None:
            raise DataError(f'data of the kind "{self._kind.name}" is learned from one file')
        self._charter = self._pooled(range(len(files))).found("reference")
        self._tasks = [
            self._kind.workload(config, part).task(self._charter) for part in self._parts
        ]

    def served(self, groups: Sequence[Hashable]) -> tuple[float, ...]:
        """The test metric of each node with a model trained on the data of all nodes of its group.
        groups: of each node, by any names. NaN for a node without test data."""
        found = [float("nan")] * len(self._tasks)
        for group in dict.fromkeys(groups):
            inside = [n for n, own in enumerate(groups) if own == group]
            task = self._pooled(inside).task(self._charter)
            model = train_alone(task, np.random.default_rng(0), CENTRAL_ROUNDS).model
            for n in inside:
                found[n] = self._tasks[n].evaluate(model, "test").value
        return tuple(found)

    def _pooled(self, nodes: Collection[int]) -> Workload:
        assert self._join is not None
        data = self._join([self._parts[n] for n in nodes])
        return self._kind.workload(self._config, data)


def ratings_in(config: Config, file: Path) -> tuple[Ratings, str]:
    """(the ratings in a file, their scale as `data.rating_scale` has it). DataError when the file
    cannot be used."""
    data = KINDS["rating"].load(with_values(config, {"data.ratings_file": str(file)}), None)
    return data.ratings, format_scale(data.ratings.scale)
