"""A group's model by the functions of `robust`, over the registers of a replica.

Unlike the precision-weighted mean the rules made of them (`openfl.aggregation.rules`) have no
running sums: a view costs a pass over all registers. Rows are worked on in parts, so that memory
stays bounded however large the group is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np

from openfl.aggregation import robust
from openfl.aggregation.outcomes import MemberRows
from openfl.aggregation.replica import Replica
from openfl.aggregation.robust import Matrix, Stack
from openfl.core.contribution import Keys, PeerId, TableSchema
from openfl.core.model_view import DenseModel, DenseTable, initial_rows

MAX_CELLS = 1 << 21
"""Most numbers of a stack that is worked on at once."""


def model_by_centre(
    replica: Replica,
    centre: Callable[[Stack], Matrix],
    left_out: Collection[PeerId] = (),
    prior: bool = True,
) -> DenseModel:
    """The model of the members that are not left out: of each row the centre of their proposals.

    prior: pulled to zero as far as the charter's prior is surer than the members; without, the
    centre itself, as federated averaging has it.
    """
    members = [m.peer_id for m in replica.members() if m.peer_id not in left_out]
    tables = {}
    for schema in replica.charter.tables:
        rows = [replica.member_rows(member, schema.name) for member in members]
        rows = [r for r in rows if len(r.keys)]
        if rows:
            tables[schema.name] = _table(replica, schema, rows, centre, prior)
    return DenseModel(replica.charter, tables)


def stacks(members: Sequence[MemberRows], keys: Keys, width: int) -> Iterator[tuple[slice, Stack]]:
    """The members' proposals for `keys` (ascending), in parts that fit into memory."""
    size = max(1, MAX_CELLS // max(1, len(members) * width))
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        shape = (len(members), len(part), width)
        values, precision = np.zeros(shape), np.zeros(shape)
        evidence = np.zeros(shape[:2])
        for n, member in enumerate(members):
            first, last = np.searchsorted(member.keys, (part[0], part[-1]))
            mine = slice(int(first), int(last) + 1)
            at = np.searchsorted(part, member.keys[mine])
            inside = at < len(part)
            inside[inside] = part[at[inside]] == member.keys[mine][inside]
            at = at[inside]
            values[n, at] = member.values[mine][inside]
            precision[n, at] = member.precision[mine][inside]
            evidence[n, at] = member.evidence[mine][inside]
        yield slice(start, start + len(part)), Stack(values, precision, evidence)


def _table(
    replica: Replica,
    schema: TableSchema,
    members: list[MemberRows],
    centre: Callable[[Stack], Matrix],
    with_prior: bool,
) -> DenseTable:
    keys = np.unique(np.concatenate([member.keys for member in members]))
    rows = np.zeros((len(keys), schema.width), dtype=np.float32)
    evidence = np.zeros(len(keys))
    prior = np.asarray(schema.prior, dtype=np.float64)
    per_evidence = np.asarray(schema.prior_per_evidence, dtype=np.float64)
    for part, stack in stacks(members, keys, schema.width):
        evidence[part] = stack.evidence.sum(0)
        found = centre(stack)
        if with_prior:
            weakest = prior + evidence[part][:, None] * per_evidence
            found, known = robust.shrunk(found, stack.precision.sum(0), weakest)
            if not known.all():
                seeded = initial_rows(replica.charter, schema.name, keys[part])
                found = np.where(known, found, seeded)
        rows[part] = np.clip(found, -schema.value_limit, schema.value_limit)
    return DenseTable(keys, rows, evidence)


def best_by_krum(
    replica: Replica, members: list[PeerId], hostile_fraction: float, single: bool
) -> set[PeerId]:
    """The members that (multi-)Krum keeps, by the distances over all tables."""
    count = len(members)
    squared, shared = np.zeros((count, count)), np.zeros((count, count))
    for schema in replica.charter.tables:
        rows = [replica.member_rows(member, schema.name) for member in members]
        keys = np.unique(np.concatenate([r.keys for r in rows])) if rows else np.zeros(0, np.uint64)
        for _, stack in stacks(rows, keys, schema.width):
            more = robust.distances(stack)
            squared += more[0]
            shared += more[1]
    hostile = robust.hostile_members(count, hostile_fraction)
    chosen = 1 if single else count - hostile
    return {members[n] for n in robust.krum(squared, shared, hostile, chosen)} if count else set()
