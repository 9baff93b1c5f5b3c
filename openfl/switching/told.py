"""Gains in words, for people."""

from __future__ import annotations

from openfl.learning.comparison import Comparison


def gain_told(name: str, than: str, expected: float, found: Comparison) -> str:
    """What is expected of the group `name` beside that of `than`; what was measured of it, how sure
    that is, and by how many own examples."""
    better = "better" if expected >= 0 else "worse"
    examples = f"{found.count} example" + ("" if found.count == 1 else "s")
    return (
        f"{name} should be {100 * abs(expected):.1f} % {better} than {than}"
        f" ({percent(found.gain)} +- {100 * found.standard_error:.1f} % by {examples})"
    )


def percent(gain: float) -> str:
    """With its sign."""
    return f"{100 * gain:+.1f} %"
