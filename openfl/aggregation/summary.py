"""A group's model in a few bytes: its rows as one member has them, not those of each member.

A snapshot has every member's rows, signed; a summary has each row of the model once, and nobody's
signature. It is for judging a group, never for merging: see `openfl.switching.look`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from openfl.aggregation.quantize import QuantizedBlock, quantize, row_bytes
from openfl.core.contribution import Keys, RowBlock, TableSchema
from openfl.core.model_view import DenseModel


@dataclass(frozen=True, slots=True)
class RowCursor:
    """Where the next page goes on: behind row `key` of `table`."""

    table: str
    key: int


@dataclass(frozen=True, slots=True)
class SummaryPage:
    """Some of a model's rows, tables in the order of the charter, keys ascending. Curvatures are 0:
    what a mean is worth is told by its evidence alone. cursor: None when there are no more."""

    blocks: tuple[QuantizedBlock, ...]
    cursor: RowCursor | None


def summary_schema(schema: TableSchema) -> TableSchema:
    """How rows of a mean travel: as a member's do, but in eight bits where those have four. The
    errors of a member's rows average out over members; those of a mean do not."""
    return replace(schema, encoding="int8") if schema.encoding == "int4" else schema


def summary_page(model: DenseModel, max_bytes: int, cursor: RowCursor | None) -> SummaryPage:
    """The rows of `model` behind `cursor`, about `max_bytes` of them, at least one. KeyError when
    the charter has no such table as the cursor's."""
    tables = [schema.name for schema in model.charter.tables]
    if cursor is not None and cursor.table not in tables:
        raise KeyError(cursor.table)
    first = 0 if cursor is None else tables.index(cursor.table)
    blocks: list[QuantizedBlock] = []
    free = max_bytes
    for name in tables[first:]:
        keys = model.keys(name)
        if cursor is not None and name == cursor.table:
            keys = keys[np.searchsorted(keys, np.uint64(cursor.key), side="right") :]
        if not len(keys):
            continue
        each = row_bytes(_rounded(model, name, keys[:1]))
        room = max(free // each, 0 if blocks else 1)
        if room:
            blocks.append(_rounded(model, name, keys[:room]))
        if room < len(keys):
            last = blocks[-1]
            return SummaryPage(tuple(blocks), RowCursor(last.table, int(last.keys[-1])))
        free -= each * len(keys)
    return SummaryPage(tuple(blocks), None)


def _rounded(model: DenseModel, table: str, keys: Keys) -> QuantizedBlock:
    schema = summary_schema(model.charter.table(table))
    block = RowBlock(
        table,
        keys,
        model.rows(table, keys),
        model.evidence(table, keys).astype(np.float32),
        np.zeros(schema.width, dtype=np.float32),
    )
    return quantize(block, schema, None)
