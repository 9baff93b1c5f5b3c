"""Everything a replica knows of one author in its current epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

from openfl.aggregation.delta_log import DeltaLog
from openfl.aggregation.registers import TableRegisters
from openfl.aggregation.version_vector import Heard, Version

MEMBER_BYTES = 2048
"""Counted for each member beside its rows and envelopes."""


@dataclass(slots=True)
class Member:
    """`last_heard` is on the caller's clock. `digest` is the replica's cache; None when stale."""

    epoch: int
    last_heard: float
    log: DeltaLog = field(default_factory=DeltaLog)
    heard: Heard = field(default_factory=Heard)
    tables: dict[str, TableRegisters] = field(default_factory=dict)
    digest: bytes | None = None

    @property
    def rows(self) -> int:
        return sum(len(table) for table in self.tables.values())

    @property
    def version(self) -> Version:
        return Version(self.epoch, self.heard.complete)

    @property
    def row_bytes(self) -> int:
        return sum(register_bytes(t.schema.width) * len(t) for t in self.tables.values())

    @property
    def size_bytes(self) -> int:
        return MEMBER_BYTES + self.row_bytes + self.log.envelope_bytes


def register_bytes(width: int) -> int:
    """A register (key, value, evidence, place), and its row in the sums as if it were its own."""
    return (16 + 4 * width) + (28 + 16 * width)
