"""The registers of one author in one table: last writer wins, row by row.

Arrays sorted by key, so that a merge is a few vectorised passes over the rows of the message plus,
when rows are new, one sorted insert.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import Fixed, precision, to_fixed, value_bits
from openfl.aggregation.parts import Rows, as_slice, row_parts
from openfl.core.contribution import Floats, Keys, TableSchema


@dataclass(frozen=True, slots=True)
class SumsChange:
    """What a merge or a removal does to the running sums of one table.

    keys: uint64[n], ascending. num, den: int64[n, width] to add (den may repeat one column, and is
    then read-only). evidence, registers: int64[n] to add; `registers` counts members with a
    register for the row.
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
    curvature for this table: float32[places, width]. The arrays are the first `n` rows of larger
    ones, so that rows at the end, as the parts of a large contribution are, move nothing.
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self._bits = value_bits(schema)
        self._count = 0
        self._keys: Keys = np.zeros(0, dtype=np.uint64)
        self._values: Floats = np.zeros((0, schema.width), dtype=np.float32)
        self._evidence: NDArray[np.uint32] = np.zeros(0, dtype=np.uint32)
        self._places: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._curvature: Floats = np.zeros((8, schema.width), dtype=np.float32)

    def __len__(self) -> int:
        """How many registers there are."""
        return self._count

    @property
    def keys(self) -> Keys:
        """uint64[n], ascending."""
        return self._keys[: self._count]

    @property
    def values(self) -> Floats:
        """float32[n, width]."""
        return self._values[: self._count]

    @property
    def evidence(self) -> NDArray[np.uint32]:
        """uint32[n]."""
        return self._evidence[: self._count]

    @property
    def _place(self) -> NDArray[np.int32]:
        return self._places[: self._count]

    def precision(self) -> NDArray[np.float64]:
        """float64[n, width]: how sure the author is of each value."""
        return precision(self.evidence, self._curvature[self._place])

    def curvature(self) -> Floats:
        """float32[n, width]: the precision a unit of evidence."""
        return self._curvature[self._place]

    def plan(self, keys: Keys, older: NDArray[np.bool_]) -> Plan:
        """Which rows of `keys` win against what is here; `older[place]` says which deltas lose."""
        own = self.keys
        if not len(own) or (len(keys) and keys[0] > own[-1]):
            nothing = np.zeros(0, dtype=np.intp)
            lost = np.zeros(len(older), dtype=np.int64)
            return Plan(nothing, nothing, np.arange(len(keys), dtype=np.intp), lost)
        at = np.searchsorted(own, keys)
        clipped = np.minimum(at, len(own) - 1)
        found = own[clipped] == keys
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
        rows, at = as_slice(plan.replacing), plan.known
        count = len(plan.replacing)
        changed = as_slice(np.concatenate((plan.replacing, plan.adding)))
        num, den = to_fixed(values[changed], evidence[changed], curvature, self._bits)
        evidence_change = evidence[changed].astype(np.int64)
        registers = np.zeros(len(num), dtype=np.int64)
        registers[count:] = 1
        if count:
            for part in row_parts(count, len(curvature)):
                old_num, old_den = self._fixed(at[part])
                num[part] -= old_num
                if old_den.shape[1] > den.shape[1]:
                    den = np.broadcast_to(den, num.shape).copy()
                den[part] -= old_den
            known = as_slice(at)
            evidence_change[:count] -= self.evidence[known]
            self.values[known] = values[rows]
            self.evidence[known] = evidence[rows]
            self._place[known] = place
        self._curvature[place] = curvature
        if len(plan.adding):
            self._insert(as_slice(plan.adding), place, keys, values, evidence)
        den = np.broadcast_to(den, num.shape)
        return SumsChange(keys[changed], num, den, evidence_change, registers)

    def withdrawal(self) -> SumsChange:
        """What taking all these registers out does to the sums: exactly undoes putting them in."""
        num, den = self._fixed(np.arange(self._count))
        evidence = self.evidence.astype(np.int64)
        registers = np.ones(self._count, dtype=np.int64)
        np.negative(num, out=num)
        den = np.broadcast_to(np.negative(den, out=den), num.shape)
        return SumsChange(self.keys, num, den, -evidence, -registers)

    def _fixed(self, at: NDArray[np.intp]) -> tuple[Fixed, Fixed]:
        places = self._place[as_slice(at)]
        used = self._curvature[np.flatnonzero(np.bincount(places))]
        # Mostly all deltas have the same curvature: then it is not repeated for each row.
        curvature = used[0] if len(used) and (used == used[0]).all() else self._curvature[places]
        return to_fixed(
            self.values[as_slice(at)], self.evidence[as_slice(at)], curvature, self._bits
        )

    def _insert(
        self,
        rows: Rows,
        place: int,
        keys: Keys,
        values: Floats,
        evidence: NDArray[np.uint32],
    ) -> None:
        new = keys[rows]
        before, after = self._count, self._count + len(new)
        if not before or new[0] > self._keys[before - 1]:
            self._reserve(after)
            self._keys[before:after] = new
            self._values[before:after] = values[rows]
            self._evidence[before:after] = evidence[rows]
            self._places[before:after] = place
        else:
            at = np.searchsorted(self.keys, new)
            own = self.values
            self._values = np.insert(own, at, values[rows], axis=0)
            self._evidence = np.insert(self.evidence, at, evidence[rows])
            self._places = np.insert(self._place, at, np.int32(place))
            self._keys = np.insert(self.keys, at, new)
        self._count = after

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._keys):
            return
        size = max(rows, len(self._keys) + len(self._keys) // 2)
        for name in ("_keys", "_values", "_evidence", "_places"):
            old = getattr(self, name)
            grown = np.empty((size, *old.shape[1:]), dtype=old.dtype)
            grown[: self._count] = old[: self._count]
            setattr(self, name, grown)
