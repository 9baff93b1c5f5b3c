"""Reading hyperparameters of a charter, which may come from a stranger."""

from __future__ import annotations

from openfl.contribution import Charter, Encoding


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


def encoding_of(charter: Charter, table: str) -> Encoding:
    """How rows of `table` travel, which is for the group to choose; the usual where it has no such
    table (which is then found to be missing)."""
    return next((schema.encoding for schema in charter.tables if schema.name == table), "int8")
