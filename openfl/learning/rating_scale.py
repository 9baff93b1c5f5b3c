"""The scale that ratings are given on: what it is called, how it is recognised.

Nodes must agree on the scale without talking, from different parts of one data set. So detection
snaps to the first well-known scale that contains the data: any part of star ratings (0.5 to 5)
gives the same answer, whether or not a 5 happens to be in it.
"""

from __future__ import annotations

import math
import re

from openfl.errors import ConfigError

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
