"""Rows of items: by which keys, and where they stand among others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from openfl.core.contribution import Keys, ModelView, item_key
from openfl.items import OPAQUE, key_bits
from openfl.learning.ridge import Matrix, SparseMatrix

ITEM_KEY_BITS = key_bits(OPAQUE)
"""Of items that are named by their ids; `openfl.items.key_bits` has those of others."""


def item_keys(ids: Sequence[str], key_bits: int) -> Keys:
    """uint64[n]: the row key of each id, in the order given."""
    return np.fromiter((item_key(i, key_bits) for i in ids), dtype=np.uint64, count=len(ids))


def learned_rows(model: ModelView, table: str, keys: Keys) -> Matrix:
    """float64[n, width]: the items' rows for prediction; 0, the prior's mean, without evidence.

    (A step must start from the seeded values instead: from 0 no factor would ever move.)
    """
    rows = model.rows(table, keys).astype(np.float64)
    rows[model.evidence(table, keys) == 0] = 0.0
    return rows


def locate(known: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each wanted key stands among `known` (ascending, not empty), and whether it does."""
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return position, known[position] == wanted


def moved_columns(
    matrix: SparseMatrix, column: NDArray[np.intp], present: NDArray[np.bool_], width: int
) -> SparseMatrix:
    """csr[m, width]: `matrix` with column n moved to `column[n]`, or left out if not present."""
    entries = matrix.tocoo()
    kept = present[entries.col]
    return sp.csr_array(
        (entries.data[kept], (entries.row[kept], column[entries.col[kept]])),
        shape=(matrix.shape[0], width),
    )
