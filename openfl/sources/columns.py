"""Which column of a table is what."""

from __future__ import annotations

from openfl.core.errors import DataError
from openfl.sources.column_names import NAMES, plain_name
from openfl.sources.dialect import Table
from openfl.sources.options import ROLES, ReadOptions


def roles_of(table: Table, options: ReadOptions, name: str) -> dict[str, int]:
    """Role -> position of its column, by the owner's word, then by the header.

    DataError: the owner names a column that there is not. `name`: of the file, for that.
    """
    roles: dict[str, int] = {}
    for role, wanted in options.columns.items():
        if wanted:
            roles[role] = _given(table, role, wanted, name)
    taken = set(roles.values())
    for role in ROLES:
        if role in roles:
            continue
        for plain in NAMES[role]:
            at = table.names.get(plain)
            if at is not None and at not in taken:
                roles[role] = at
                taken.add(at)
                break
    return roles


def _given(table: Table, role: str, wanted: str, name: str) -> int:
    if wanted in table.header:
        return table.header.index(wanted)
    if (at := table.names.get(plain_name(wanted))) is not None:
        return at
    if wanted.isdecimal() and 1 <= int(wanted) <= table.width:
        return int(wanted) - 1
    there = ", ".join(table.header) if table.header else f"numbers 1 to {table.width}, no header"
    raise DataError(f'{name}: data.columns.{role} = "{wanted}": no such column (there are {there})')
