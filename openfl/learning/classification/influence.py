"""What single members do to a node's own examples, for `LinearClassifier.loss_changes`.

A member that comes in or goes out changes the rows of classes, and which classes there are at all:
one that only the member tells of takes part of every example's probability. Names of classes are
shown and move no prediction, so they do not count. Nor do the units in which everybody sees the
features: they are axes, which the rows of classes follow within a few rounds, and what a shift of
axes does before that would hide what a member has to say. Units that are far out are a matter of
size (see `openfl.aggregation.member_judge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import ChangedRows, Keys, ModelView
from openfl.learning.classification.charter import CLASSES, FEATURE_KEYS, FEATURES
from openfl.learning.classification.scores import Matrix, Units, log_losses, units_of
from openfl.learning.splitting import evenly
from openfl.learning.task import Counterfactuals

MAX_JUDGED = 4_000
"""Most examples that members are judged by: more do not change a verdict."""
MAX_CELLS = 1 << 19
MIN_JUDGED = 256
"""With many features fewer examples, so that examples times features stay within `MAX_CELLS`."""


def judged_examples(positions: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """Of the examples at `positions` those that members are judged by; `width`: of a row."""
    return evenly(positions, max(MIN_JUDGED, min(MAX_JUDGED, MAX_CELLS // width)))


def loss_changes(
    values: Matrix, labels: Keys, own: Units, model: ModelView, parts: Iterable[Counterfactuals]
) -> Iterator[Matrix]:
    """float64[n, counterfactuals] for each part. values: float64[n, f] of the examples that are
    judged by, of the classes `labels`: uint64[n]. own: the units of a node whose group has none.
    """
    own_keys = np.unique(labels)
    known = np.union1d(model.keys(CLASSES), own_keys)
    before: Matrix | None = None
    for part in parts:
        # Whoever is outside may bring classes that the model has never heard of.
        keys = np.union1d(known, part.keys(CLASSES))
        is_own = np.isin(keys, own_keys, assume_unique=True)
        rows, evidence = _learned(model, CLASSES, keys)
        if before is None:
            before = _losses(values, labels, own, model, keys, is_own, rows, evidence)
        classes = part.changed(CLASSES, keys)
        changes = np.zeros((len(labels), part.count))
        for world in np.unique(classes.counterfactual).tolist():
            there = _changed(rows, evidence, classes, world)
            changes[:, world] = _losses(values, labels, own, model, keys, is_own, *there) - before
        yield changes


def _losses(
    values: Matrix,
    labels: Keys,
    own: Units,
    model: ModelView,
    keys: Keys,
    is_own: NDArray[np.bool_],
    rows: Matrix,
    evidence: Matrix,
) -> Matrix:
    """float64[n]: in one world. Classes that nobody there has evidence of are none, but for those
    of this node."""
    here = is_own | (evidence > 0)
    seen_in = units_of(model) if (model.evidence(FEATURES, FEATURE_KEYS) > 0).all() else own
    return log_losses(values, labels, seen_in, keys[here], rows[here])


def _learned(model: ModelView, table: str, keys: Keys) -> tuple[Matrix, Matrix]:
    """(rows, 0 where there is no evidence; evidence)."""
    evidence = model.evidence(table, keys)
    rows = model.rows(table, keys).astype(np.float64)
    return np.where(evidence[:, None] > 0, rows, 0.0), evidence


def _changed(
    rows: Matrix, evidence: Matrix, found: ChangedRows, world: int
) -> tuple[Matrix, Matrix]:
    """The rows of one world, and their evidence."""
    first, last = np.searchsorted(found.counterfactual, [world, world + 1])
    at = found.row[first:last]
    rows, evidence = rows.copy(), evidence.copy()
    rows[at] += found.change[first:last]
    evidence[at] = found.evidence[first:last]
    rows[at[evidence[at] <= 0]] = 0.0
    return rows, evidence
