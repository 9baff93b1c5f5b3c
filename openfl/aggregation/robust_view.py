"""A group's model by one of the rules in `robust`, over the registers of a replica.

Unlike the precision-weighted mean these rules have no running sums: a view costs a pass over all
registers. Rows are worked on in parts, so that memory stays bounded however large the group is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from openfl.aggregation import robust
from openfl.aggregation.outcomes import MemberRows
from openfl.aggregation.replica import Replica
from openfl.aggregation.robust import Matrix, Stack
from openfl.core.contribution import Keys, PeerId, TableSchema
from openfl.core.model_view import DenseModel, DenseTable, initial_rows

Rule = Literal[
    "screened-mean",
    "mean",
    "average",
    "median",
    "trimmed-mean",
    "centred-clip",
    "krum",
    "multi-krum",
]
RULES: tuple[Rule, ...] = get_args(Rule)
CLIP_RADIUS = 1.0
MAX_CELLS = 1 << 21
"""Most numbers of a stack that is worked on at once."""


def view_by(
    replica: Replica, rule: Rule, hostile_fraction: float, left_out: Collection[PeerId] = ()
) -> DenseModel:
    """The model of the members that are not left out. `hostile_fraction`: the part of the members
    that the rule is to withstand."""
    if rule in ("screened-mean", "mean"):
        return replica.view_without(left_out)
    members = [m.peer_id for m in replica.members() if m.peer_id not in left_out]
    if rule in ("krum", "multi-krum"):
        kept = _krum(replica, members, hostile_fraction, single=rule == "krum")
        return replica.view_without([m.peer_id for m in replica.members() if m.peer_id not in kept])
    centre = _centre(rule, hostile_fraction)
    tables = {}
    for schema in replica.charter.tables:
        rows = [replica.member_rows(member, schema.name) for member in members]
        rows = [r for r in rows if len(r.keys)]
        if rows:
            tables[schema.name] = _table(replica, schema, rows, centre, rule == "average")
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


def _centre(rule: Rule, hostile_fraction: float) -> Callable[[Stack], Matrix]:
    match rule:
        case "average":
            return robust.evidence_mean
        case "median":
            return robust.weighted_median
        case "trimmed-mean":
            return lambda stack: robust.trimmed_mean(stack, hostile_fraction)
        case "centred-clip":
            return lambda stack: robust.centred_clip(stack, CLIP_RADIUS)
        case _:
            return robust.weighted_mean


def _table(
    replica: Replica,
    schema: TableSchema,
    members: list[MemberRows],
    centre: Callable[[Stack], Matrix],
    plain: bool,
) -> DenseTable:
    """`plain`: the centre itself, as federated averaging has it, without the prior."""
    keys = np.unique(np.concatenate([member.keys for member in members]))
    rows = np.zeros((len(keys), schema.width), dtype=np.float32)
    evidence = np.zeros(len(keys))
    prior = np.asarray(schema.prior, dtype=np.float64)
    per_evidence = np.asarray(schema.prior_per_evidence, dtype=np.float64)
    for part, stack in stacks(members, keys, schema.width):
        evidence[part] = stack.evidence.sum(0)
        found = centre(stack)
        if not plain:
            weakest = prior + evidence[part][:, None] * per_evidence
            found, known = robust.shrunk(found, stack.precision.sum(0), weakest)
            if not known.all():
                seeded = initial_rows(replica.charter, schema.name, keys[part])
                found = np.where(known, found, seeded)
        rows[part] = np.clip(found, -schema.value_limit, schema.value_limit)
    return DenseTable(keys, rows, evidence)


def _krum(
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
