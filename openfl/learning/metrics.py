"""How good predictions and rankings are: RMSE, NDCG, recall, coverage of the catalogue.

Ranking metrics are those of Järvelin and Kekäläinen (2002, "Cumulated gain-based evaluation of IR
techniques") with relevance 0 or 1: DCG = sum over hits at rank n (from 1) of 1 / log2(n + 1), NDCG
= DCG / the DCG of a perfect ranking. All of a catalogue is ranked, never a sample of it: sampled
metrics order models wrongly (Krichene and Rendle 2020). Ties go to the smaller column, so figures
are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.learning.ridge import SparseMatrix

Floats64 = NDArray[np.float64]
Floating = NDArray[np.floating]
BATCH_CELLS = 4_000_000
"""Scores held at a time (32 MB): users of a batch times songs."""


@dataclass(frozen=True, slots=True)
class RankingReport:
    """ndcg, recall: means over users. coverage: part of the catalogue in anybody's list.
    ndcg_error: standard error of `ndcg`. users: how many were measured; with 0 all is NaN."""

    ndcg: float
    ndcg_error: float
    recall: float
    coverage: float
    users: int


def rmse(predicted: Floats64, actual: Floats64) -> tuple[float, float]:
    """(root of the mean squared error, its standard error by the delta method); NaN for nothing.

    One example says nothing of its spread: the error is then as large as the value.
    """
    count = len(predicted)
    if count == 0:
        return math.nan, math.nan
    squared = (predicted - actual) ** 2
    value = math.sqrt(squared.mean())
    if count == 1:
        return value, value
    spread = float(squared.std(ddof=1))
    return value, spread / (2 * value * math.sqrt(count)) if value > 0 else 0.0


def mean_with_error(values: Floats64) -> tuple[float, float]:
    """(mean, its standard error), both finite when `values` are; NaN for nothing.

    Of one example the error is as large as the mean, as for `rmse`: never infinite, since errors
    are sent to others and shown.
    """
    count = len(values)
    if count == 0:
        return math.nan, math.nan
    mean = float(values.mean()) + 0.0  # no zero is negative
    return mean, abs(mean) if count == 1 else float(values.std(ddof=1)) / math.sqrt(count)


def best_columns(scores: Floating, top: int) -> NDArray[np.intp]:
    """intp[users, min(top, columns)]: the columns with the highest scores, best first."""
    songs = scores.shape[1]
    top = min(top, songs)
    columns = np.sort(np.argpartition(scores, songs - top, axis=1)[:, songs - top :], axis=1)
    least = np.take_along_axis(scores, columns, axis=1).min(axis=1)
    # Where more columns than wanted are as good as the last one, which were taken is chance.
    tied = np.flatnonzero((scores >= least[:, None]).sum(axis=1) > top)
    if len(tied):
        columns[tied] = _smallest_of_ties(scores[tied], least[tied, None], top)
    order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _smallest_of_ties(scores: Floating, least: Floating, top: int) -> NDArray[np.intp]:
    above, level = scores > least, scores == least
    wanted = top - above.sum(axis=1, keepdims=True)
    chosen = above | (level & (np.cumsum(level, axis=1) <= wanted))
    return np.nonzero(chosen)[1].reshape(len(scores), top)


def ndcg(hits: NDArray[np.bool_], relevant: NDArray[np.integer], top: int) -> Floats64:
    """float64[users]: NDCG of lists with `hits[user, rank]`; `relevant[user]` >= 1 were to find."""
    gains = 1.0 / np.log2(np.arange(2, top + 2))
    perfect = np.cumsum(gains)[np.minimum(relevant, top) - 1]
    return np.asarray((hits * gains[: hits.shape[1]]).sum(axis=1) / perfect, dtype=np.float64)


def recall(hits: NDArray[np.bool_], relevant: NDArray[np.integer]) -> Floats64:
    """float64[users]: the part of what was to be found that is in the list."""
    return np.asarray(hits.sum(axis=1) / relevant, dtype=np.float64)


def rank(
    scores: Callable[[int, int], Floating],
    seen: SparseMatrix,
    held_out: SparseMatrix,
    relevant: NDArray[np.integer] | None = None,
    top: int = 10,
) -> RankingReport:
    """Rank all songs for every user with something held out, and compare.

    `scores(start, end)`: floating[end - start, songs] of the users from `start` to before `end`.
    seen, held_out: csr[users, songs]; what was seen is never recommended. relevant: int[users], how
    many songs were held out, when some are not among the columns (these count as missed).
    """
    users, songs = held_out.shape
    seen, held_out = _without_zeros(seen), _without_zeros(held_out)
    per_batch = max(1, BATCH_CELLS // max(1, songs))
    counts = np.diff(held_out.indptr) if relevant is None else np.asarray(relevant)
    gains: list[Floats64] = []
    recalls: list[Floats64] = []
    recommended = np.zeros(songs, dtype=np.bool_)
    for start in range(0, users if songs else 0, per_batch):
        end = min(users, start + per_batch)
        measured = counts[start:end] > 0
        if not measured.any():
            continue
        batch = np.array(scores(start, end))
        known = seen[start:end].tocoo()
        batch[known.row, known.col] = -np.inf
        batch = batch[measured]
        columns = best_columns(batch, top)
        offered = np.take_along_axis(batch, columns, axis=1) > -np.inf
        # Whether a pair of user and song is held out, without a table of all pairs.
        truth = held_out[start:end][measured].tocoo()
        places = columns + np.arange(len(columns))[:, None] * songs
        hits = np.isin(places, truth.row.astype(np.int64) * songs + truth.col) & offered
        gains.append(ndcg(hits, counts[start:end][measured], top))
        recalls.append(recall(hits, counts[start:end][measured]))
        recommended[columns[offered]] = True
    if not gains:
        return RankingReport(math.nan, math.nan, math.nan, math.nan, 0)
    gain, found = np.concatenate(gains), np.concatenate(recalls)
    # Of a single user nothing is known but that it lies within 0..1.
    spread = float(gain.std(ddof=1)) if len(gain) > 1 else 0.5
    return RankingReport(
        ndcg=float(gain.mean()),
        ndcg_error=spread / math.sqrt(len(gain)),
        recall=float(found.mean()),
        coverage=float(recommended.mean()),
        users=len(gain),
    )


def _without_zeros(matrix: SparseMatrix) -> SparseMatrix:
    tidy = matrix.copy()
    tidy.eliminate_zeros()
    return tidy
