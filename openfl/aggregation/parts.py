"""Arrays of many rows, worked on part by part: what is worked out in between stays in the
processor's cache. Row by row the results are those of one pass over all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

PART_NUMBERS = 1 << 15
"""As float64 they take 256 KB: a quarter of the second cache of most processors."""

Rows = slice | NDArray[np.intp] | NDArray[np.int32]


def row_parts(rows: int, width: int) -> Iterator[slice]:
    """Consecutive slices that together are `rows` rows of `width` numbers."""
    each = max(1, PART_NUMBERS // max(1, width))
    for start in range(0, rows, each):
        yield slice(start, min(start + each, rows))


def as_slice(rows: NDArray[np.intp] | NDArray[np.int32]) -> Rows:
    """The slice that these distinct row numbers are if they count up one by one, else themselves:
    a slice is read and written without a copy."""
    if len(rows) and int(rows[-1]) - int(rows[0]) == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
