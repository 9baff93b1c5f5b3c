"""The rating task of OpenFL as tensors that are averaged, for peers that average tensors.

p2pfl and hivemind bring no learner for matrix factorization, and plain averaging of item vectors is
a poor one: a node that has seen a film twice counts as much as one that has seen it 200 times. So
they are given OpenFL's own: the same local step (`openfl.learning.rating.task`), and, for each
table of the model, tensors whose mean over the members says all that OpenFL's merge rule needs:

    num[n, w]      evidence * value, row by row
    evidence[n]    how many ratings stand behind each row
    curvature[w]   of each column

so that merged = num / (evidence * curvature + prior) * curvature. The only difference from OpenFL's
rule is that each member's curvature is replaced by the mean over the members. Imported under the
interpreters of the peers: needs NumPy, SciPy, cbor2 and `openfl` on the path.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Contribution
from openfl.core.model_view import DenseModel, DenseTable
from openfl.items import OPAQUE, key_bits
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.rating.user_prior import USER_PRIOR, map_keys

Tensors = list[NDArray[np.float32]]


def write_job(path: Path, songs: tuple[str, ...], scale: tuple[float, float], factors: int) -> None:
    """What all members have to agree on: the catalogue, the scale, the number of factors."""
    path.write_text(json.dumps({"songs": songs, "scale": scale, "factors": factors}))


class DenseLearner:
    """One node's ratings, and the model as tensors. `job`: of `write_job`."""

    def __init__(self, job: Path, ratings: Path, nodes: int) -> None:
        told = json.loads(job.read_text())
        self.charter = rating_charter("peers", scale=told["scale"], factors=told["factors"])
        self.task = MatrixFactorization.from_charter(self.charter, load_ratings(ratings))
        self._keys = {
            ITEMS: np.unique(item_keys(tuple(told["songs"]), key_bits(OPAQUE))),
            MEAN: MEAN_KEYS,
            USER_PRIOR: map_keys(told["factors"]),
        }
        self._nodes = nodes
        self._rng = np.random.default_rng(0)
        self.model = DenseModel.empty(self.charter)

    def nothing(self) -> Tensors:
        """Tensors of a member that has learned nothing yet."""
        tensors = []
        for schema in self.charter.tables:
            rows = len(self._keys[schema.name])
            shapes: tuple[tuple[int, ...], ...] = ((rows, schema.width), (rows,), (schema.width,))
            tensors += [np.zeros(shape, np.float32) for shape in shapes]
        return tensors

    def step(self) -> Tensors:
        """What this member teaches from the present model."""
        contribution = self.task.local_step(self.model, self._rng)
        return self.tensors(contribution)

    def tensors(self, contribution: Contribution) -> Tensors:
        tensors = self.nothing()
        for number, schema in enumerate(self.charter.tables):
            num, evidence, curvature = tensors[3 * number : 3 * number + 3]
            for block in contribution.blocks:
                if block.table == schema.name:
                    at = np.searchsorted(self._keys[schema.name], block.keys)
                    num[at] = block.evidence[:, None] * block.values
                    evidence[at] = block.evidence
                    curvature[:] = block.curvature
        return tensors

    def take(self, mean: Tensors) -> None:
        """The model becomes that of the members whose tensors have this mean."""
        tables = {}
        for number, schema in enumerate(self.charter.tables):
            num, evidence, curvature = (
                np.asarray(tensor, dtype=np.float64) for tensor in mean[3 * number : 3 * number + 3]
            )
            known = np.flatnonzero(evidence > 0)
            total = self._nodes * evidence[known]
            prior = np.asarray(schema.prior) + np.outer(total, schema.prior_per_evidence)
            rows = self._nodes * num[known] * curvature / (total[:, None] * curvature + prior)
            tables[schema.name] = DenseTable(
                self._keys[schema.name][known], rows.astype(np.float32), total
            )
        self.model = DenseModel(self.charter, tables)

    def validation(self) -> float:
        """RMSE on this node's held-out ratings, users fitted anew."""
        return self.task.evaluate(self.model).value


class Journal:
    """What a worker tells the driver: one JSON line each, with the time (unix seconds)."""

    def __init__(self, path: Path) -> None:
        self._stream: TextIO = path.open("a", encoding="utf-8")

    def tell(self, event: str, **data: Any) -> None:
        line = json.dumps({"time": time.time(), "event": event, "data": data, "pid": os.getpid()})
        self._stream.write(line + "\n")
        self._stream.flush()
