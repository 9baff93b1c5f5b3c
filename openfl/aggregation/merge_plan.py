"""What merging a delta would change, worked out before anything is touched: does it fit?

`plan_delta` compares the delta with the charter's tables and its author's registers, `over_limits`
the outcome with what the replica may hold. Nothing here changes a replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from openfl.aggregation.delta import Delta
from openfl.aggregation.fixed_point import fits
from openfl.aggregation.member import MEMBER_BYTES, Member, register_bytes
from openfl.aggregation.outcomes import MergeKind, MergeResult, ReplicaLimits
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.registers import Plan, TableRegisters
from openfl.core.contribution import Floats, TableSchema


@dataclass(frozen=True, slots=True)
class PlannedBlock:
    """One block of a delta. values: float32[n, width], dequantized; plan: what they change."""

    block: QuantizedBlock
    values: Floats
    plan: Plan


@dataclass(frozen=True, slots=True)
class ReplicaSize:
    """What a replica holds now: members, registers of all members, bytes (an upper estimate)."""

    members: int
    registers: int
    bytes: int


def plan_delta(
    schemas: Mapping[str, TableSchema], target: Member, delta: Delta
) -> list[PlannedBlock] | MergeResult:
    """What each block would change in `target`, the author's registers of the delta's epoch; or why
    the delta is refused."""
    if delta.epoch < 1 or delta.seqno < 1:
        return refused("version", "epoch and seqno count from 1")
    older = target.log.older_than((delta.seqno, delta.digest))
    planned: list[PlannedBlock] = []
    seen: set[str] = set()
    for block in delta.blocks:
        schema = schemas.get(block.table)
        if schema is None or block.table in seen or block.width != schema.width:
            return refused("schema", f"table {block.table!r} does not fit the charter")
        seen.add(block.table)
        values = block.values()
        problem = fits(values, block.evidence, block.curvature, schema)
        if problem is not None:
            return refused("bounds", problem)
        if len(block) > 1 and not (block.keys[1:] > block.keys[:-1]).all():
            return refused("schema", f"keys of table {block.table!r} are not ascending")
        registers = target.tables.get(block.table) or TableRegisters(schema)
        planned.append(PlannedBlock(block, values, registers.plan(block.keys, older)))
    return planned


def over_limits(
    limits: ReplicaLimits,
    size: ReplicaSize,
    member: Member | None,
    target: Member,
    planned: list[PlannedBlock],
    envelope: bytes,
) -> MergeResult | None:
    """Why the replica has no room for a planned delta; None when it has.

    member: what there is of the author, None when nothing is. target: its registers of the delta's
    epoch.
    """
    # A delta of a new epoch takes the place of everything the author had.
    replaced = member if member is not target else None
    if member is None and size.members >= limits.max_members:
        return refused("max-members", f"the replica holds {limits.max_members} members")
    adding = sum(len(item.plan.adding) for item in planned)
    if target.rows + adding > limits.max_member_rows:
        return refused("max-member-rows", f"a member has {limits.max_member_rows} rows at most")
    rows = size.registers + adding - (replaced.rows if replaced is not None else 0)
    if rows > limits.max_rows:
        return refused("max-rows", f"the replica holds {limits.max_rows} rows at most")
    total = size.bytes + MEMBER_BYTES + len(envelope)
    total += sum(register_bytes(i.block.width) * len(i.plan.adding) for i in planned)
    if replaced is not None:
        total -= replaced.size_bytes
    if total > limits.max_bytes:
        return refused("max-bytes", f"the replica holds {limits.max_bytes} bytes at most")
    lost = np.zeros(target.log.places, dtype=np.int64)
    for item in planned:
        lost += item.plan.lost
    if target.log.surviving(lost) + 1 > limits.max_member_deltas:
        return refused(
            "max-member-deltas", f"a member has {limits.max_member_deltas} live deltas at most"
        )
    return None


def refused(reason: str, detail: str) -> MergeResult:
    """The outcome REFUSED. `reason`: a stable word; `detail`: a sentence for people."""
    return MergeResult(MergeKind.REFUSED, reason, detail)
