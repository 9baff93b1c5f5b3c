"""Columns of text -> columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def to_floats(texts: Sequence[str], decimal_comma: bool = False) -> NDArray[np.float64]:
    """float64[n]; NaN where a text is no finite number."""
    if decimal_comma:
        texts = [text.replace(",", ".") for text in texts]
    try:
        # Python reads "1_0" as 10; a data file does not mean that.
        if "_" in "".join(texts):
            raise ValueError
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        values = np.fromiter(map(_to_float, texts), np.float64, len(texts))
    values[~np.isfinite(values)] = np.nan
    return values


def _to_float(text: str) -> float:
    try:
        return float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan
