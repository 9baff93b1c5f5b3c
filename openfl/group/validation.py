"""A delta against its group's charter: the checks that need no replica.

After decoding (well-formed, finite) and before merging; whoever signed a delta that fails here
broke the rules of its own group, so the verdict is Reject.
"""

from __future__ import annotations

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import fits
from openfl.aggregation.quantize import QuantizedBlock
from openfl.core.contribution import Charter, TableSchema
from openfl.core.errors import InvalidContribution
from openfl.wire.limits import LIMITS, Limits


def validate_delta(delta: Delta, charter: Charter, limits: Limits = LIMITS) -> None:
    """InvalidContribution says what breaks the charter: group, tables, shapes, ranges."""
    if delta.group_id != charter.group_id:
        raise InvalidContribution(f"a delta of group {delta.group_id}")
    if delta.epoch < 1 or delta.seqno < 1:
        raise InvalidContribution("epoch and seqno count from 1")
    if delta.row_count > limits.max_delta_rows:
        raise InvalidContribution(f"more than {limits.max_delta_rows} rows in one delta")
    seen: set[str] = set()
    for block in delta.blocks:
        if block.table in seen:
            raise InvalidContribution(f"table {block.table!r} twice")
        seen.add(block.table)
        try:
            schema = charter.table(block.table)
        except KeyError:
            raise InvalidContribution(f"the group has no table {block.table!r}") from None
        validate_block(block, schema)


def validate_block(block: QuantizedBlock, schema: TableSchema) -> None:
    """InvalidContribution says in what these rows are not of a table like `schema`."""
    if not len(block):
        raise InvalidContribution(f"table {schema.name}: a block without rows")
    if block.encoding != schema.encoding:
        raise InvalidContribution(f"table {schema.name}: values are {block.encoding}")
    if block.codes.shape != (len(block), schema.width):
        raise InvalidContribution(f"table {schema.name}: rows are not {schema.width} wide")
    if len(block) > 1 and not (block.keys[1:] > block.keys[:-1]).all():
        raise InvalidContribution(f"table {schema.name}: keys are not ascending")
    if schema.key_bits < 64 and int(block.keys[-1]) >> schema.key_bits:
        raise InvalidContribution(f"table {schema.name}: a key beyond {schema.key_bits} bits")
    problem = fits(block.values(), block.evidence, block.curvature, schema)
    if problem is not None:
        raise InvalidContribution(problem)
