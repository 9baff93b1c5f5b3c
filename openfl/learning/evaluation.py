"""How well a saved model serves the owner of a data file, by everything that is measured.

When the model recommends songs, users are fitted anew to it from their training ratings (or plays),
exactly as a node does, and judged by what was held out of them. Any other model is judged by the
metric of its task.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.config import Config
from openfl.core.contribution import Charter, Evaluation
from openfl.core.errors import DataError
from openfl.core.model_view import DenseModel
from openfl.learning.factorization.item_rows import item_keys, locate, moved_columns
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.factorization.song_data import split_of
from openfl.learning.kind import Kind, Recommending
from openfl.learning.metrics import rank
from openfl.learning.ridge import SparseMatrix
from openfl.learning.sharding import Data
from openfl.learning.splitting import Split

TOP = 10


@dataclass(frozen=True, slots=True)
class ModelReport:
    """Test metrics of one model on one data file.

    rmse and its standard error are None for a head that predicts no ratings. ndcg, recall: of lists
    of `top` songs, means over the `users` with something held out. coverage: part of the model's
    `songs` in anybody's list. held_out: ratings or plays; unknown_songs: those of them whose song
    the model does not know, which count as missed in every list.
    """

    group: str
    group_id: str
    head: str
    users: int
    songs: int
    held_out: int
    unknown_songs: int
    top: int
    rmse: float | None
    rmse_error: float | None
    ndcg: float
    ndcg_error: float
    recall: float
    coverage: float

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The test metric of a model that recommends no songs, on one data file. error: its standard
    error. held_out: how many examples it is of."""

    group: str
    group_id: str
    task: str
    metric: str
    value: float
    error: float
    held_out: int

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def evaluate(kind: Kind, config: Config, data: Data, model: DenseModel) -> ModelReport | TaskReport:
    """The metrics of a model of `kind` on the test part of `data`; DataError when nothing is held
    out, or the data does not fit the model."""
    charter = model.charter
    if kind.recommends is None:
        task = kind.workload(config, data).task(charter)
        return task_report(charter, task.evaluate(model, "test"))
    return evaluate_model(kind.recommends, model, data.ratings, split_of(config, data.ratings))


def task_report(charter: Charter, found: Evaluation) -> TaskReport:
    """`found` as a report; DataError when nothing was held out."""
    if not found.count:
        raise DataError("nothing is held out to measure by (data.test_fraction)")
    return TaskReport(
        charter.name,
        charter.group_id,
        charter.task,
        found.metric,
        found.value,
        found.standard_error,
        found.count,
    )


def evaluate_model(
    songs: Recommending, model: DenseModel, ratings: Ratings, split: Split, top: int = TOP
) -> ModelReport:
    """The metrics of `model` on the test part of `ratings` (plays, when its head is implicit).

    Songs rated in training or validation are not recommended again. Every held-out song counts as
    one to be found, however it was rated. DataError when nothing is held out, or the model knows
    nothing.
    """
    charter = model.charter
    head = songs.head(charter, model)
    if not len(split.test):
        raise DataError(
            f"{ratings.source or 'ratings'}: nothing is held out to measure by"
            " (data.test_fraction; a user needs at least 5 ratings)"
        )
    predicted = songs.predicted and songs.predicted(model, ratings, split)
    keys, row_of_item = np.unique(item_keys(ratings.songs, head.key_bits), return_inverse=True)
    rows = row_of_item[ratings.song_index]

    def matrix(positions: NDArray[np.intp], values: NDArray[np.float32]) -> SparseMatrix:
        return sp.csr_array(
            (
                values[positions].astype(np.float64),
                (ratings.user_index[positions], rows[positions]),
            ),
            shape=(len(ratings.users), len(keys)),
        )

    ones = np.ones_like(ratings.values)
    users = head.fold_in(matrix(split.train, ratings.values), keys)
    known = model.keys(head.items)
    if not len(known):
        raise DataError(f'the model of group "{charter.name}" is empty')
    column, present = locate(known, keys)
    earlier = np.concatenate([split.train, split.validation])
    seen, held_out = matrix(earlier, ones), matrix(split.test, ones)
    report = rank(
        lambda start, end: head.scores(users[start:end], known),
        seen=moved_columns(seen, column, present, len(known)),
        held_out=moved_columns(held_out, column, present, len(known)),
        relevant=np.diff(held_out.indptr),
        top=top,
    )
    return ModelReport(
        group=charter.name,
        group_id=charter.group_id,
        head=head.name,
        users=report.users,
        songs=len(known),
        held_out=len(split.test),
        unknown_songs=int((~present[rows[split.test]]).sum()),
        top=top,
        rmse=None if predicted is None else predicted.value,
        rmse_error=None if predicted is None else predicted.standard_error,
        ndcg=report.ndcg,
        ndcg_error=report.ndcg_error,
        recall=report.recall,
        coverage=report.coverage,
    )
