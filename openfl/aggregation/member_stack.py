"""`MemberStack`: the registers of several members, one after the other, so that a question about
each of them is one pass over arrays and not a loop over members."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.registers import TableRegisters
from openfl.core.contribution import MAX_PRECISION, Floats, Keys, TableSchema


@dataclass(frozen=True, slots=True)
class MemberStack:
    """Copies of registers in one table. keys: uint64[n], ascending within each member; values,
    precision: float32[n, width]; evidence: uint32[n]; counts: intp[members], how many rows each
    has."""

    keys: Keys
    values: Floats
    precision: Floats
    evidence: NDArray[np.uint32]
    counts: NDArray[np.intp]

    @classmethod
    def of(cls, schema: TableSchema, tables: Sequence[TableRegisters]) -> MemberStack:
        """The registers of one member after the other in the table of `schema`, copied."""
        parts = tables or [TableRegisters(schema)]
        evidence = np.concatenate([t.evidence for t in parts])
        precision = np.concatenate([t.curvature() for t in parts])
        precision *= evidence.astype(np.float32)[:, None]
        return cls(
            np.concatenate([t.keys for t in parts]),
            np.concatenate([t.values for t in parts]),
            np.minimum(precision, np.float32(MAX_PRECISION), out=precision),
            evidence,
            np.array([len(t.keys) for t in tables], dtype=np.intp),
        )

    @property
    def members(self) -> int:
        """How many members there are, those without a row included."""
        return len(self.counts)

    def owners(self) -> NDArray[np.intp]:
        """intp[n]: whose row it is, by place."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def part(self, first: int, last: int) -> MemberStack:
        """The members first..last-1, without a copy."""
        ends = np.concatenate(([0], np.cumsum(self.counts)))
        rows = slice(int(ends[first]), int(ends[last]))
        return MemberStack(
            self.keys[rows],
            self.values[rows],
            self.precision[rows],
            self.evidence[rows],
            self.counts[first:last],
        )

    def only(self, places: Collection[int]) -> MemberStack:
        """These members alone, in the order they have here."""
        if len(places) == len(self.counts):
            return self
        wanted = np.zeros(len(self.counts), dtype=np.bool_)
        wanted[list(places)] = True
        rows = np.repeat(wanted, self.counts)
        return MemberStack(
            self.keys[rows],
            self.values[rows],
            self.precision[rows],
            self.evidence[rows],
            self.counts[wanted],
        )
