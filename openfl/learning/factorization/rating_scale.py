"""The scale that ratings are given on: what it is called, how it is recognised.

Nodes must agree on the scale without talking, from different parts of one data set. So detection
snaps to the first well-known scale that contains the data: any part of star ratings (0.5 to 5)
gives the same answer, whether or not a 5 happens to be in it.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import ConfigError

Scale = tuple[float, float]

WELL_KNOWN_SCALES: tuple[Scale, ...] = ((0.5, 5), (0, 5), (0, 10), (0, 100), (-10, 10))

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*(?:-|to)\s*({_NUMBER})\s*", re.ASCII)


def parse_scale(text: str) -> Scale | None:
    """(lowest, highest) of a text such as "0.5-5" or "-10-10"; None for "auto".

    ConfigError when it is neither.
    """
    if text.strip().lower() == "auto":
        return None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ConfigError(
            f'rating scale "{text}": write "auto" or LOWEST-HIGHEST, for example "0.5-5"'
        )
    low, high = float(match[1]), float(match[2])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f'rating scale "{text}": the first number must be below the second')
    return low, high


def detect_scale(lowest: float, highest: float) -> Scale | None:
    """The first well-known scale that holds both; else the two numbers; None when they are equal
    (one value alone says nothing about its scale)."""
    for low, high in WELL_KNOWN_SCALES:
        if low <= lowest and highest <= high:
            return float(low), float(high)
    return (lowest, highest) if lowest < highest else None


def format_scale(scale: Scale) -> str:
    """The text that `parse_scale` reads back, "0.5-5"."""
    return f"{scale[0]:.15g}-{scale[1]:.15g}"


STRAY_WIDENS = 5.0
"""Groups refuse data on a scale so many times narrower than theirs (`check_ratings_fit`)."""
FEW_ROWS = 100


def scale_without_strays(values: NDArray[np.floating]) -> Scale | None:
    """The scale that nearly all `values` (n > 0) are on, when a few others are so far off that they
    can hardly be ratings on it: a slip of the pen, or a mark such as 99 for what is missing. None
    when there are none, as in any honest file.

    The rule. Take the narrowest well-known scale that leaves out at most one value in a hundred (of
    fewer than 300, up to one in ten or 3, whichever is less, and of 5 values or more one), or only
    copies of one number, while it holds most. What it leaves out is astray when with it the scale
    would be five times as wide or more: then it would press all honest ratings into a corner, and
    lock out of the group whoever has no such value. Among fewer than 100 values, and for a number
    that stands there often, it must also lie more than two widths of the scale off, since a few
    ratings between 0 and 100 may all be low but one. Two numbers alone, such as 0 and 100 for no
    and yes, leave nothing astray.
    """
    lowest, highest = float(values.min()), float(values.max())
    count = len(values)
    few = max(count // 100, min(3, max(1, count // 10))) if count >= 5 else 0
    for low, high in WELL_KNOWN_SCALES:
        if low <= lowest and highest <= high:
            return None
        whole = detect_scale(lowest, highest)
        width = high - low
        if whole is None or whole[1] - whole[0] < STRAY_WIDENS * width:
            continue
        is_outside = (values < np.float32(low)) | (values > np.float32(high))
        outside = values[is_outside]
        is_mark = count >= FEW_ROWS and 2 * len(outside) < count and len(np.unique(outside)) == 1
        if not (len(outside) <= few or is_mark) or len(np.unique(values[~is_outside])) < 2:
            continue
        nearest = float(np.maximum(low - outside, outside - high).min())
        certain = count >= FEW_ROWS and len(outside) <= few
        if certain or nearest > 2 * width:
            return float(low), float(high)
    return None


def looks_like_unix_time(lowest: float, highest: float) -> bool:
    """Whether all numbers within these are times since 1973, in seconds or milliseconds."""
    return (lowest >= 1e8 and highest < 5e9) or (lowest >= 1e11 and highest < 5e12)
