"""Reading hyperparameters of a charter, which may come from a stranger."""

from __future__ import annotations


def number(value: object) -> float:
    """`value` as a float; TypeError when it is not a number (a bool is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.40} is not a number")
    return float(value)


def whole(value: object) -> int:
    """`value` itself; TypeError when it is not a whole number (a bool is none)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r:.40} is not a whole number")
    return value
