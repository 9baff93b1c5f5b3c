"""A course of values as one line of block characters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-~=+*#"


def sparkline(values: Sequence[float], width: int, ascii_only: bool = False) -> str:
    """`values` (oldest first) drawn from lowest to highest in at most `width` characters.

    Longer courses are thinned by averaging neighbours, so that the first and the last part both
    stay in sight. Values that are not finite are left out.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    points = _thin(finite, width)
    low, high = min(points), max(points)
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    if high - low <= 1e-12 * max(1.0, abs(high)):
        return blocks[0] * len(points)
    top = len(blocks) - 1
    return "".join(blocks[round((value - low) / (high - low) * top)] for value in points)


def _thin(values: Sequence[float], width: int) -> list[float]:
    count = len(values)
    if count <= width:
        return list(values)
    edges = [index * count // width for index in range(width + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
