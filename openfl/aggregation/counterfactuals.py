"""The model with and without single members: what leave-one-out influence compares.

Merging is linear: a row is `num / (den + prior)`, and one member's part in num, den and evidence is
known. So counterfactual models, each of which differs by one member, are worked out together, from
the registers of those members alone, and only for the rows that are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import PRECISION_BITS, value_bits
from openfl.aggregation.member_stack import MemberStack
from openfl.aggregation.sums import LiveSums
from openfl.core.contribution import ChangedRows, Charter, Keys, TableSchema

TINY = 1e-9
"""Below this a sum of precisions is nothing but rounding."""


@dataclass(frozen=True, slots=True)
class MemberCounterfactuals:
    """One counterfactual for each member of the stacks: it alone comes in (sign +1) or goes out
    (-1).

    sums: by table, of the model they all differ from. stacks: by table, the same members in each.
    """

    charter: Charter
    sums: Mapping[str, LiveSums]
    stacks: Mapping[str, MemberStack]
    sign: int

    @property
    def count(self) -> int:
        """How many members, and so counterfactuals, there are."""
        return min((stack.members for stack in self.stacks.values()), default=0)

    def keys(self, table: str) -> Keys:
        """See `openfl.learning.task.Counterfactuals`: the rows that these members tell of."""
        return np.unique(self.stacks[table].keys)

    def changed(self, table: str, keys: Keys) -> ChangedRows:
        """See `openfl.learning.task.Counterfactuals`.

        With T = den + prior the common row is y = num / T. A member with precision h, value x and
        evidence n, whose evidence brings the prior p n, changes it by +-(h (x - y) - p n y) / T',
        T' = T +- (h + p n): nothing large is taken from anything large but in T', which is at
        least the prior.
        """
        schema = self.charter.table(table)
        stack = self.stacks[table]
        row, mine = _find(keys, stack.keys)
        common, total, evidence = (
            part.astype(np.float32) for part in _common(schema, self.sums.get(table), keys)
        )
        claimed = stack.evidence[mine].astype(np.float32)
        weight = stack.precision.take(mine, axis=0)
        change = stack.values.take(mine, axis=0)
        base = common.take(row, axis=0)
        change -= base
        change *= weight
        per_evidence = np.asarray([schema.prior_per_evidence], dtype=np.float32)
        if per_evidence.any():
            # A product of matrices: many times as fast as broadcasting along rows so short.
            brought = claimed[:, None] @ per_evidence
            weight += brought
            brought *= base
            change -= brought
        if self.sign < 0:
            np.negative(weight, out=weight)
            np.negative(change, out=change)
        weight += total.take(row, axis=0)
        np.maximum(weight, max(min(schema.prior), TINY), out=weight)
        change /= weight
        evidence = evidence.take(row) + self.sign * claimed
        lost = evidence <= 0
        if lost.any():
            evidence[lost] = 0.0
            change[lost] = -base[lost]
        return ChangedRows(stack.owners()[mine], row, change, evidence)


@dataclass(frozen=True, slots=True)
class JointCounterfactuals:
    """Counterfactuals in each of which several members come in (sign +1) or go out (-1).

    sums: by table, of the model they all differ from. stacks: by table, the same members in each.
    who: bool[worlds, members], who comes or goes.
    """

    charter: Charter
    sums: Mapping[str, LiveSums]
    stacks: Mapping[str, MemberStack]
    who: NDArray[np.bool_]
    sign: int

    @property
    def count(self) -> int:
        """How many counterfactuals there are."""
        return len(self.who)

    def keys(self, table: str) -> Keys:
        """See `openfl.learning.task.Counterfactuals`."""
        return np.unique(self.stacks[table].keys)

    def changed(self, table: str, keys: Keys) -> ChangedRows:
        """See `openfl.learning.task.Counterfactuals`.

        As in `MemberCounterfactuals`, what members bring or take being added up first, in double
        precision: y' - y = +-sum (h (x - y) - p n y) / T', T' = T +- sum (h + p n).
        """
        schema, stack = self.charter.table(table), self.stacks[table]
        row, mine = _find(keys, stack.keys)
        if not len(row):
            return _nothing_changed(schema)
        order = np.argsort(row, kind="stable")
        row, mine = row[order], mine[order]
        differs, starts = np.unique(row, return_index=True)
        common, total, evidence = _common(schema, self.sums.get(table), keys)
        claimed = stack.evidence[mine].astype(np.float64)
        weight = stack.precision[mine].astype(np.float64)
        pull = weight * (stack.values[mine] - common[row])
        brought = claimed[:, None] * np.asarray(schema.prior_per_evidence, dtype=np.float64)
        weight += brought
        pull -= brought * common[row]
        owners = stack.owners()[mine]
        world, rows, changes, left = [], [], [], []
        for number, who in enumerate(self.who):
            moves = who[owners] * float(self.sign)
            rest = total[differs] + np.add.reduceat(weight * moves[:, None], starts)
            np.maximum(rest, max(min(schema.prior), TINY), out=rest)
            change = np.add.reduceat(pull * moves[:, None], starts) / rest
            there = np.maximum(evidence[differs] + np.add.reduceat(claimed * moves, starts), 0.0)
            change[there <= 0] = -common[differs[there <= 0]]
            touched = np.add.reduceat(np.abs(moves), starts) > 0
            world.append(np.full(int(touched.sum()), number))
            rows.append(differs[touched])
            changes.append(change[touched].astype(np.float32))
            left.append(there[touched].astype(np.float32))
        return ChangedRows(*(np.concatenate(part) for part in (world, rows, changes, left)))


def _nothing_changed(schema: TableSchema) -> ChangedRows:
    nothing = np.zeros(0, dtype=np.intp)
    floats = np.zeros((0, schema.width), dtype=np.float32)
    return ChangedRows(nothing, nothing, floats, np.zeros(0, dtype=np.float32))


def _common(
    schema: TableSchema, sums: LiveSums | None, keys: Keys
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(y, T, evidence) of the common model's rows, float64[m, width] and float64[m]; y is 0 where
    nobody has evidence."""
    per_evidence = np.asarray(schema.prior_per_evidence, dtype=np.float64)
    num, total = np.zeros((len(keys), schema.width)), np.zeros((len(keys), schema.width))
    evidence = np.zeros(len(keys))
    if sums is not None:
        at, known = _find(sums.keys, keys)
        num[known] = sums.num[at] * 2.0 ** -value_bits(schema)
        total[known] = sums.den[at] * 2.0**-PRECISION_BITS
        evidence[known] = sums.evidence[at]
    total += np.asarray(schema.prior, dtype=np.float64) + evidence[:, None] * per_evidence
    return np.divide(num, total, out=np.zeros_like(num), where=total > 0), total, evidence


def _find(known: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(where in `known`, which is ascending; which of `wanted`), intp[m] each, of those in both."""
    if not len(known):
        nothing = np.zeros(0, dtype=np.intp)
        return nothing, nothing
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = np.flatnonzero(known[at] == wanted)
    return at[found], found
