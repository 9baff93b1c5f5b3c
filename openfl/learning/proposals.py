"""What a member proposes for the rows of a table: values within the group's bounds, and how sure it
is of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import MAX_PRECISION, Keys, RowBlock, TableSchema
from openfl.learning.ridge import solve_sums

Numbers = NDArray[np.floating]
RELAXATION = 1.5
"""By how much an exact step is longer than to the optimum given the users, who are fitted to where
it leads: successive over-relaxation (Young 1971), which converges below 2."""


def proposed(
    schema: TableSchema, keys: Keys, values: Numbers, evidence: Numbers, curvature: Numbers
) -> RowBlock:
    """values: [n, width], clipped to what the table allows. evidence: [n]. curvature: [width]."""
    limit = schema.value_limit
    return RowBlock(
        table=schema.name,
        keys=keys,
        values=np.clip(values, -limit, limit).astype(np.float32),
        evidence=evidence.astype(np.float32),
        curvature=curvature.astype(np.float32),
    )


def newton_step(
    schema: TableSchema,
    keys: Keys,
    start: NDArray[np.float64],
    gradient: NDArray[np.float64],
    evidence: Numbers,
    curvature: NDArray[np.float32],
) -> RowBlock:
    """Diagonal Newton steps from `start`, as sure as they are long: `start + gradient / h`, where
    h = evidence * curvature is the precision that the group gives them. start, gradient:
    float64[n, width]."""
    values = start + gradient / _precision(evidence, curvature)
    return proposed(schema, keys, values, evidence, curvature)


def _precision(evidence: Numbers, curvature: Numbers) -> NDArray[np.float64]:
    """float64[n, width]: of values, as the group counts it."""
    whole = evidence.astype(np.float64)[:, None] * curvature.astype(np.float64)
    return np.minimum(whole, MAX_PRECISION)


def exact_step(
    schema: TableSchema,
    block: RowBlock,
    rows: NDArray[np.bool_],
    start: NDArray[np.float64],
    gradient: NDArray[np.float64],
    triangle: NDArray[np.floating],
    more: NDArray[np.float64],
) -> RowBlock:
    """`block`, with the whole of Newton's steps for `rows`, bool[n], of which nobody else has any:
    what the group makes of these is their optimum, whatever the others' rows.

    Of the error at such a row, gradient: float64[n, width] is half the negative gradient at start:
    float64[n, width], and triangle: [n, width (width + 1) / 2] half its curvature, both without the
    prior; more: float64[n, width], what its diagonal is to be taken for higher.

    A row y goes as y (h + D) / h, h its precision and D the prior's, as the group makes y of it.
    """
    precision, prior = _precision(block.evidence, block.curvature), _prior(schema, block.evidence)
    right = gradient[rows] - prior[rows] * start[rows]
    exact = start[rows] + RELAXATION * solve_sums(triangle[rows], right, prior[rows] + more[rows])
    values = block.values.astype(np.float64)
    values[rows] = exact * (1.0 + prior[rows] / precision[rows])
    return proposed(schema, block.keys, values, block.evidence, block.curvature)


def _prior(schema: TableSchema, evidence: Numbers) -> NDArray[np.float64]:
    """float64[n, width]: the prior's precision, as the group adds it."""
    by_evidence = np.multiply.outer(evidence.astype(np.float64), schema.prior_per_evidence)
    return np.asarray(schema.prior + by_evidence, dtype=np.float64)
