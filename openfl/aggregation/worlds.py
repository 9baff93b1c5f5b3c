"""The model with and without one member: what leave-one-out influence compares.

Merging is linear: a row is `num / (den + prior)`, and one member's part in num, den and evidence is
known. So a world that differs by one member is worked out from that member's rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import PRECISION_BITS, value_bits
from openfl.aggregation.outcomes import MemberRows
from openfl.aggregation.robust import shrunk
from openfl.aggregation.sums import LiveSums
from openfl.contribution import ChangedRows, Charter, TableSchema
from openfl.model_view import initial_rows

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """The sums of some members, by table. Arrays are this world's own."""

    charter: Charter
    sums: Mapping[str, LiveSums]

    def changed_by(self, member: Mapping[str, MemberRows], sign: int) -> dict[str, ChangedRows]:
        """The rows that differ when the member comes in (sign +1) or goes out (-1), by table."""
        changed = {}
        for name, rows in member.items():
            if len(rows.keys):
                changed[name] = self._changed(self.charter.table(name), rows, sign)
        return changed

    def _changed(self, schema: TableSchema, rows: MemberRows, sign: int) -> ChangedRows:
        count = len(rows.keys)
        num, den = np.zeros((count, schema.width)), np.zeros((count, schema.width))
        evidence = np.zeros(count)
        sums = self.sums.get(schema.name)
        if sums is not None and len(sums.keys):
            at = np.minimum(np.searchsorted(sums.keys, rows.keys), len(sums.keys) - 1)
            known = sums.keys[at] == rows.keys
            at = at[known]
            num[known] = sums.num[at] * 2.0 ** -value_bits(schema)
            den[known] = sums.den[at] * 2.0**-PRECISION_BITS
            evidence[known] = sums.evidence[at]
        num += sign * rows.precision * rows.values
        den = np.maximum(den + sign * rows.precision, 0.0)
        evidence = np.maximum(evidence + sign * rows.evidence.astype(np.float64), 0.0)
        # Sums are exact in fixed point and not quite in floats: what nobody backs is nothing.
        den[evidence == 0] = 0.0
        prior = np.asarray(schema.prior) + evidence[:, None] * np.asarray(schema.prior_per_evidence)
        centre = np.divide(num, den, out=np.zeros_like(num), where=den > 1e-9)
        found, sure = shrunk(centre, den, prior)
        sure &= evidence[:, None] > 0
        if not sure.all():
            found = np.where(sure, found, initial_rows(self.charter, schema.name, rows.keys))
        values = np.clip(found, -schema.value_limit, schema.value_limit).astype(np.float32)
        return ChangedRows(rows.keys, values, evidence)
