"""The running sums of one table over all members: exact, so independent of merge order.

Sorted keys point to slots; sums live in slots in order of first appearance, in arrays that grow by
doubling. So a new row moves 12 bytes for each row of the table and not its sums. Slots of rows
that nobody has registers for any more are reclaimed together once they are the majority.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import Fixed, Weighing, weighted_mean
from openfl.aggregation.parts import as_slice, row_parts
from openfl.aggregation.registers import SumsChange
from openfl.core.contribution import Charter, Floats, Keys, TableSchema
from openfl.core.model_view import DenseModel, DenseTable, initial_rows

MIN_DEAD_ROWS = 1024
"""Below this many dead rows, reclaiming them is not worth the copy."""


@dataclass(frozen=True, slots=True)
class Means:
    """`weighted_mean` of the rows `keys`. keys: uint64[n], ascending; rows: float32[n, width];
    known: bool[n, width], where that means anything; evidence: int64[n]."""

    keys: Keys
    rows: Floats
    known: NDArray[np.bool_]
    evidence: Fixed


def model_of(charter: Charter, means: Mapping[str, Means]) -> DenseModel:
    """The model of these means by table; what nobody knows a thing of has its seeded value."""
    tables = {}
    for name, found in means.items():
        if not found.known.all():
            seeded = initial_rows(charter, name, found.keys)
            np.copyto(found.rows, seeded, where=~found.known)
        tables[name] = DenseTable(found.keys, found.rows, found.evidence.astype(np.float64))
    return DenseModel(charter, tables)


@dataclass(slots=True)
class LiveSums:
    """keys: uint64[n], ascending. num, den: int64[n, width]. evidence, registers: int64[n]."""

    keys: Keys
    num: Fixed
    den: Fixed
    evidence: Fixed
    registers: Fixed

    def mean(self, schema: TableSchema) -> Means:
        """The means that these sums make."""
        rows, known = weighted_mean(self.num, self.den, self.evidence, schema)
        return Means(self.keys, rows, known, self.evidence)

    def without(self, withdrawals: Iterable[SumsChange]) -> LiveSums:
        """The sums as if those members had never been heard of."""
        for change in withdrawals:
            at = np.searchsorted(self.keys, change.keys)
            self.num[at] += change.num
            self.den[at] += change.den
            self.evidence[at] += change.evidence
            self.registers[at] += change.registers
        left = self.registers > 0
        if left.all():
            return self
        return LiveSums(
            self.keys[left],
            self.num[left],
            self.den[left],
            self.evidence[left],
            self.registers[left],
        )


class TableSums:
    """num: int64[slots, width]. den: the same, or int64[slots, 1] as long as every register's row
    has one precision. evidence, registers: int64[slots] (totals over members)."""

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self._keys: Keys = np.zeros(0, dtype=np.uint64)
        self._slots: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._num: Fixed = np.zeros((64, schema.width), dtype=np.int64)
        self._den: Fixed = np.zeros((64, 1), dtype=np.int64)
        self._evidence: Fixed = np.zeros(64, dtype=np.int64)
        self._registers: Fixed = np.zeros(64, dtype=np.int64)
        self._dead = 0

    @property
    def rows(self) -> int:
        """Rows that at least one member has a register for."""
        return len(self._keys) - self._dead

    @property
    def allocated_bytes(self) -> int:
        """Memory taken by the arrays, room for growth included."""
        return int(
            self._num.nbytes
            + self._den.nbytes
            + self._evidence.nbytes
            + self._registers.nbytes
            + self._keys.nbytes
            + self._slots.nbytes
        )

    def add(self, change: SumsChange) -> None:
        """`change.keys` are distinct."""
        if not len(change.keys):
            return
        slots = self._slots_of(change.keys)
        before = self._registers[slots]
        after = before + change.registers
        # A column that repeats itself has no way from one number to the next.
        den = change.den if change.den.strides[1] else change.den[:, :1]
        if den.shape[1] > self._den.shape[1]:
            self._den = np.broadcast_to(self._den, self._num.shape).copy()
        for part in row_parts(*change.num.shape):
            at = as_slice(slots[part])
            self._num[at] += change.num[part]
            self._den[at] += den[part]
        self._evidence[slots] += change.evidence
        self._registers[slots] = after
        self._dead += int(np.count_nonzero(after == 0)) - int(np.count_nonzero(before == 0))
        if self._dead > MIN_DEAD_ROWS and 2 * self._dead > len(self._keys):
            self._compact()

    def keys_beside(self, own: Keys) -> Keys:
        """Ascending: rows with registers beside one each of the rows `own`, which have them."""
        registers = self._registers[self._slots]
        registers[np.searchsorted(self._keys, own)] -= 1
        return self._keys[registers > 0]

    def mean(self) -> Means:
        """Of all rows with registers, without a copy of the sums."""
        keys, slots = self._alive()
        shape = (len(keys), self.schema.width)
        mean, known = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.bool_)
        evidence = self._evidence[slots]
        weigh = Weighing(self.schema)
        for part in row_parts(*shape):
            at = as_slice(slots[part])
            weigh(self._num[at], self._den[at], evidence[part], mean[part], known[part])
        return Means(keys, mean, known, evidence)

    def _alive(self) -> tuple[Keys, NDArray[np.int32]]:
        alive = self._registers[self._slots] > 0
        return self._keys[alive], self._slots[alive]

    def live(self) -> LiveSums:
        """Copies of the sums of all rows with registers, by ascending key."""
        keys, slots = self._alive()
        return LiveSums(
            keys,
            self._num[slots],
            np.broadcast_to(self._den[slots], (len(slots), self.schema.width)).copy(),
            self._evidence[slots],
            self._registers[slots],
        )

    def _slots_of(self, keys: Keys) -> NDArray[np.int32]:
        """int32[n]: the slot of each key; unknown ones get new slots (and count as dead)."""
        if len(self._keys):
            at = np.searchsorted(self._keys, keys)
            found = self._keys[np.minimum(at, len(self._keys) - 1)] == keys
            if found.all():
                return self._slots[at]
            fresh = np.sort(keys[~found])
        else:
            fresh = np.sort(keys)
        used = len(self._keys)
        self._reserve(used + len(fresh))
        at = np.searchsorted(self._keys, fresh)
        self._keys = np.insert(self._keys, at, fresh)
        numbers = np.arange(used, used + len(fresh), dtype=np.int32)
        self._slots = np.insert(self._slots, at, numbers)
        self._dead += len(fresh)
        return self._slots[np.searchsorted(self._keys, keys)]

    def _reserve(self, slots: int) -> None:
        have = len(self._evidence)
        if slots <= have:
            return
        size = max(slots, 2 * have)
        for name in ("_num", "_den", "_evidence", "_registers"):
            old = getattr(self, name)
            grown = np.zeros((size, *old.shape[1:]), dtype=np.int64)
            grown[:have] = old
            setattr(self, name, grown)

    def _compact(self) -> None:
        self._keys, slots = self._alive()
        size = max(64, len(slots))
        for name in ("_num", "_den", "_evidence", "_registers"):
            old = getattr(self, name)
            packed = np.zeros((size, *old.shape[1:]), dtype=np.int64)
            packed[: len(slots)] = old[slots]
            setattr(self, name, packed)
        self._slots = np.arange(len(slots), dtype=np.int32)
        self._dead = 0
