"""Charters from strangers: bounded, well-formed, and in exactly the form that is hashed."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

import msgspec

from openfl.aggregation.fixed_point import VALUE_LIMIT_CAP
from openfl.core.contribution import (
    PROTOCOL_VERSION,
    Charter,
    Encoding,
    GroupId,
    Hyperparameter,
    PeerId,
    TableSchema,
)
from openfl.core.errors import DecodeError
from openfl.wire import cbor
from openfl.wire.limits import LIMITS, MAX_UINT
from openfl.wire.peer_ids import peer_id_from_bytes, peer_id_to_bytes
from openfl.wire.schema import convert

MAX_PRIOR = 1e9
_WORD = re.compile(r"[a-z][a-z0-9_-]*")
_GROUP_ID = re.compile(r"[0-9a-f]{32}")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.max_name_chars)]
_Columns = Annotated[list[float], msgspec.Meta(min_length=1, max_length=LIMITS.max_width)]


class UnknownVersion(DecodeError):
    """A well-formed charter of another protocol version: nobody is to blame."""


class UnclearName(DecodeError):
    """A well-formed charter of a group whose name may deceive (`openfl.core.names`). Nodes before
    that rule accept it, and those of another version of Unicode may: nobody is to blame."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: _Name
    width: int
    prior: _Columns
    prior_per_evidence: _Columns
    initial_scale: _Columns
    encoding: Encoding
    key_bits: int
    value_limit: float


class _Charter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    name: _Name
    task: str
    seed: int
    parent: str | None
    hyperparameters: Annotated[
        dict[str, bool | int | float | str], msgspec.Meta(max_length=LIMITS.max_hyperparameters)
    ]
    tables: Annotated[list[_Table], msgspec.Meta(max_length=LIMITS.max_tables)]
    founder: Annotated[str, msgspec.Meta(max_length=64)] | None = None


def charter_from_plain(plain: Any) -> Charter:
    """The charter whose `to_plain` is `plain`; UnknownVersion or another DecodeError otherwise."""
    if isinstance(plain, dict) and plain.get("version") != PROTOCOL_VERSION:
        raise UnknownVersion(f"a charter of protocol version {str(plain.get('version'))[:20]}")
    wire = convert(plain, _Charter)
    charter = Charter(
        wire.name,
        wire.task,
        tuple(
            TableSchema(
                t.name,
                t.width,
                tuple(t.prior),
                tuple(t.prior_per_evidence),
                tuple(t.initial_scale),
                t.encoding,
                t.key_bits,
                t.value_limit,
            )
            for t in wire.tables
        ),
        wire.hyperparameters,
        wire.seed,
        None if wire.parent is None else GroupId(wire.parent),
        wire.version,
        None if wire.founder is None else PeerId(wire.founder),
    )
    problem = charter_problem(charter)
    if problem is not None:
        raise DecodeError(f"charter: {problem}")
    # An integer where a float belongs would hash to another group than the charter built from it.
    if cbor.encode(charter.to_plain()) != cbor.encode(plain):
        raise DecodeError("charter: not in the form that is hashed")
    return charter


def charter_problem(charter: Charter) -> str | None:
    """What is wrong with a charter, one's own or a stranger's; None when it is fine.

    A new name must pass `openfl.core.names.name_problem` too: this asks no more of it than what a
    home of any version may hold.
    """
    if not 1 <= len(charter.name) <= LIMITS.max_name_chars or not charter.name.isprintable():
        return f"a name has 1 to {LIMITS.max_name_chars} printable characters"
    if len(charter.task) > LIMITS.max_task_chars or not _WORD.fullmatch(charter.task):
        return "a task is a short lower-case word"
    if not 0 <= charter.seed <= MAX_UINT:
        return "the seed is out of range"
    if charter.parent is not None and not _GROUP_ID.fullmatch(charter.parent):
        return "the parent is not a group id"
    if charter.founder is not None and not _is_peer_id(charter.founder):
        return "the founder is not a peer id"
    if not 1 <= len(charter.tables) <= LIMITS.max_tables:
        return f"a charter has 1 to {LIMITS.max_tables} tables"
    if len({t.name for t in charter.tables}) != len(charter.tables):
        return "two tables have one name"
    if sum(t.width for t in charter.tables) > LIMITS.max_columns:
        return f"the tables have more than {LIMITS.max_columns} columns together"
    if len(charter.hyperparameters) > LIMITS.max_hyperparameters:
        return f"more than {LIMITS.max_hyperparameters} hyperparameters"
    problems = [_table_problem(table) for table in charter.tables]
    problems += [_hyperparameter_problem(*pair) for pair in charter.hyperparameters.items()]
    return next((problem for problem in problems if problem is not None), None)


def _is_peer_id(text: PeerId) -> bool:
    try:
        # Only in its one form: another spelling would name another group.
        return peer_id_from_bytes(peer_id_to_bytes(text)) == text
    except DecodeError:
        return False


def _table_problem(table: TableSchema) -> str | None:
    if len(table.name) > LIMITS.max_name_chars or not _WORD.fullmatch(table.name):
        return "a table's name is a short lower-case word"
    if not 1 <= table.width <= LIMITS.max_width:
        return f"table {table.name}: width is not within 1..{LIMITS.max_width}"
    if not 1 <= table.key_bits <= 64:
        return f"table {table.name}: key_bits is not within 1..64"
    if not 1e-6 <= table.value_limit <= VALUE_LIMIT_CAP:
        return f"table {table.name}: value_limit is not within 1e-6..{VALUE_LIMIT_CAP:.0f}"
    columns = (
        ("prior", table.prior, MAX_PRIOR),
        ("prior_per_evidence", table.prior_per_evidence, MAX_PRIOR),
        ("initial_scale", table.initial_scale, table.value_limit),
    )
    for name, values, most in columns:
        if len(values) != table.width:
            return f"table {table.name}: {name} does not have one value a column"
        if not all(0 <= value <= most for value in values):
            return f"table {table.name}: {name} is not within 0..{most:g}"
    return None


def _hyperparameter_problem(name: str, value: Hyperparameter) -> str | None:
    if not 1 <= len(name) <= LIMITS.max_name_chars or not name.isprintable():
        return "a hyperparameter's name is too long or not printable"
    if isinstance(value, str):
        if len(value) > LIMITS.max_hyperparameter_chars or not value.isprintable():
            return f"hyperparameter {name}: text too long or not printable"
    elif isinstance(value, int):  # bool included
        if not -MAX_UINT <= value <= MAX_UINT:
            return f"hyperparameter {name}: out of range"
    elif not math.isfinite(value):
        return f"hyperparameter {name}: not finite"
    return None
