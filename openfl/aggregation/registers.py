"""The registers of one author in one table: last writer wins, row by row.

Arrays sorted by key, so that a merge is a few vectorised passes over the rows of the message plus,
when rows are new, one sorted insert.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import Fixed, precision, to_fixed, value_bits
from openfl.core.contribution import Floats, Keys, TableSchema


@dataclass(frozen=True, slots=True)
class SumsChange:
    """What a merge or a removal does to the running sums of one table.

    keys: uint64[n], ascending. num, den: int64[n, width] to add. evidence, registers: int64[n] to
    add; `registers` counts members with a register for the row.
    """

    keys: Keys
    num: Fixed
    den: Fixed
    evidence: Fixed
    registers: Fixed


@dataclass(frozen=True, slots=True)
class Plan:
    """How a block will change the registers, worked out before anything is touched.

    known: positions in the registers that the block's rows `replacing` overwrite. adding: the
    block's rows that are new. lost: int64[places], registers each logged delta would lose.
    """

    replacing: NDArray[np.intp]
    known: NDArray[np.intp]
    adding: NDArray[np.intp]
    lost: NDArray[np.int64]

    @property
    def changed(self) -> int:
        """Rows that are overwritten or new."""
        return len(self.replacing) + len(self.adding)


class TableRegisters:
    """keys: uint64[n] ascending, values: float32[n, width], evidence: uint32[n], place: int32[n].

    `place` says which logged delta a register came from. `_curvature[place]` is that delta's
    curvature for this table: float32[places, width].
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self._bits = value_bits(schema)
        self.keys: Keys = np.zeros(0, dtype=np.uint64)
        self.values: Floats = np.zeros((0, schema.width), dtype=np.float32)
        self.evidence: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self._place: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._curvature: Floats = np.zeros((8, schema.width), dtype=np.float32)

    def __len__(self) -> int:
        """How many registers there are."""
        return len(self.keys)

    def precision(self) -> NDArray[np.float64]:
        """float64[n, width]: how sure the author is of each value."""
        return precision(self.evidence, self._curvature[self._place])

    def curvature(self) -> Floats:
        """float32[n, width]: the precision a unit of evidence."""
        return self._curvature[self._place]

    def plan(self, keys: Keys, older: NDArray[np.bool_]) -> Plan:
        """Which rows of `keys` win against what is here; `older[place]` says which deltas lose."""
        if not len(self.keys):
            nothing = np.zeros(0, dtype=np.intp)
            lost = np.zeros(len(older), dtype=np.int64)
            return Plan(nothing, nothing, np.arange(len(keys), dtype=np.intp), lost)
        at = np.searchsorted(self.keys, keys)
        clipped = np.minimum(at, len(self.keys) - 1)
        found = self.keys[clipped] == keys
        wins = found & older[self._place[clipped]]
        replacing = np.flatnonzero(wins)
        known = clipped[replacing]
        lost = np.bincount(self._place[known], minlength=len(older))
        return Plan(replacing, known, np.flatnonzero(~found), lost)

    def apply(
        self,
        plan: Plan,
        place: int,
        keys: Keys,
        values: Floats,
        evidence: NDArray[np.uint32],
        curvature: Floats,
    ) -> SumsChange:
        """Carry out `plan` for a block whose delta has `place` in the log."""
        if place >= len(self._curvature):
            grown = np.zeros((max(place + 1, 2 * len(self._curvature)), len(curvature)), np.float32)
            grown[: len(self._curvature)] = self._curvature
            self._curvature = grown
        rows, at = plan.replacing, plan.known
        changed = np.concatenate((rows, plan.adding))
        num, den = to_fixed(values[changed], evidence[changed], curvature, self._bits)
        evidence_change = evidence[changed].astype(np.int64)
        registers = np.zeros(len(changed), dtype=np.int64)
        registers[len(rows) :] = 1
        if len(rows):
            old_num, old_den = self._fixed(at)
            num[: len(rows)] -= old_num
            den[: len(rows)] -= old_den
            evidence_change[: len(rows)] -= self.evidence[at]
            self.values[at] = values[rows]
            self.evidence[at] = evidence[rows]
            self._place[at] = place
        self._curvature[place] = curvature
        if len(plan.adding):
            self._insert(plan.adding, place, keys, values, evidence)
        return SumsChange(keys[changed], num, den, evidence_change, registers)

    def withdrawal(self) -> SumsChange:
        """What taking all these registers out does to the sums: exactly undoes putting them in."""
        num, den = self._fixed(slice(None))
        evidence = self.evidence.astype(np.int64)
        registers = np.ones(len(self.keys), dtype=np.int64)
        return SumsChange(self.keys, -num, -den, -evidence, -registers)

    def _fixed(self, at: NDArray[np.intp] | slice) -> tuple[Fixed, Fixed]:
        curvature = self._curvature[self._place[at]]
        return to_fixed(self.values[at], self.evidence[at], curvature, self._bits)

    def _insert(
        self,
        rows: NDArray[np.intp],
        place: int,
        keys: Keys,
        values: Floats,
        evidence: NDArray[np.uint32],
    ) -> None:
        if not len(self.keys):
            self.keys, self.values = keys[rows].copy(), values[rows].copy()
            self.evidence = evidence[rows].copy()
            self._place = np.full(len(rows), place, dtype=np.int32)
            return
        at = np.searchsorted(self.keys, keys[rows])
        self.keys = np.insert(self.keys, at, keys[rows])
        self.values = np.insert(self.values, at, values[rows], axis=0)
        self.evidence = np.insert(self.evidence, at, evidence[rows])
        self._place = np.insert(self._place, at, np.int32(place))
