"""Making a charter, and reading one, which may come from a stranger: what all tasks have in
common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from openfl.core.contribution import Charter, Encoding, TableSchema
from openfl.core.errors import ConfigError, GroupError

Range = tuple[str, float, float, float]
"""(name, value, smallest, largest)"""


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


def out_of_range(ranges: Iterable[Range]) -> list[str]:
    """A line for each value that is not within its range (NaN never is)."""
    return [
        f"{name} is {value:g}; it must be from {smallest:g} to {largest:g}"
        for name, value, smallest, largest in ranges
        if not smallest <= value <= largest
    ]


def refuse_to_found(problems: list[str]) -> None:
    """ConfigError with all problems of an own charter, a line each, when there are any."""
    if problems:
        raise ConfigError("\n".join(problems))


def plain_table(
    name: str, width: int, encoding: Encoding, value_limit: float, key_bits: int = 64
) -> TableSchema:
    """A table without a prior whose rows begin at 0: its merged values are weighted means."""
    nothing = (0.0,) * width
    return TableSchema(name, width, nothing, nothing, nothing, encoding, key_bits, value_limit)


@contextmanager
def reading(charter: Charter, kind: str) -> Iterator[None]:
    """Around reading the charter of a task of `kind`: GroupError when it is of another task, has a
    parent, or when what is read is missing (KeyError) or malformed (TypeError, ValueError,
    RecursionError)."""
    group = f'group "{charter.name}"'
    if charter.task != kind:
        raise GroupError(f'{group} learns "{charter.task}"; this node learns "{kind}" (task.kind)')
    try:
        yield
    except KeyError as error:
        raise GroupError(f"{group}: its charter lacks {error.args[0]}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise GroupError(f"{group}: its charter is malformed: {error}") from None
    if charter.parent is not None:
        raise GroupError(f"{group} has a parent group, which is not supported yet")


def refuse_unknown(charter: Charter, left: Iterable[str]) -> None:
    """GroupError when names of hyperparameters are left that nobody asked for."""
    if names := ", ".join(sorted(left)):
        raise GroupError(f'group "{charter.name}": its charter has unknown parameters: {names}')


def refuse_unusable(charter: Charter, problems: list[str]) -> None:
    """GroupError with the first problem, when there is one."""
    if problems:
        raise GroupError(f'group "{charter.name}": its charter is not usable: {problems[0]}')
