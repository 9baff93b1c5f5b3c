"""What a member proposes for the rows of a table: values within the group's bounds, and how sure it
is of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import MAX_PRECISION, Keys, RowBlock, TableSchema

Numbers = NDArray[np.floating]


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
    precision = np.minimum(
        evidence.astype(np.float64)[:, None] * curvature.astype(np.float64), MAX_PRECISION
    )
    return proposed(schema, keys, start + gradient / precision, evidence, curvature)
