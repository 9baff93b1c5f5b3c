"""Everything a replica knows of one author in its current epoch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from openfl.aggregation.delta_log import DeltaLog
from openfl.aggregation.registers import TableRegisters
from openfl.aggregation.version_vector import HeardSeqnos, Version
from openfl.core.contribution import PeerId

MEMBER_BYTES = 2048
"""Counted for each member beside its rows and envelopes."""


@dataclass(slots=True)
class Member:
    """`last_heard` is on the caller's clock, in seconds. `tables`: its registers by table."""

    epoch: int
    last_heard: float
    log: DeltaLog = field(default_factory=DeltaLog)
    heard: HeardSeqnos = field(default_factory=HeardSeqnos)
    tables: dict[str, TableRegisters] = field(default_factory=dict)
    _digest: bytes | None = None

    def digest(self, author: PeerId) -> bytes:
        """32 bytes that name the author's live deltas; worked out once until `forget_digest`."""
        if self._digest is None:
            whole = hashlib.sha256(f"{author}/{self.epoch}".encode())
            for seqno, delta_digest in self.log.orders:
                whole.update(seqno.to_bytes(8, "big"))
                whole.update(delta_digest)
            self._digest = whole.digest()
        return self._digest

    def forget_digest(self) -> None:
        """The log has changed."""
        self._digest = None

    @property
    def rows(self) -> int:
        """Registers in all tables."""
        return sum(len(table) for table in self.tables.values())

    @property
    def version(self) -> Version:
        """Its epoch, and the seqno up to which nothing is missing."""
        return Version(self.epoch, self.heard.complete)

    @property
    def row_bytes(self) -> int:
        """What its registers take in memory, estimated."""
        return sum(register_bytes(t.schema.width) * len(t) for t in self.tables.values())

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, estimated: registers, envelopes, and the rest."""
        return MEMBER_BYTES + self.row_bytes + self.log.envelope_bytes


def register_bytes(width: int) -> int:
    """A register (key, value, evidence, place), and its row in the sums as if it were its own."""
    return (16 + 4 * width) + (28 + 16 * width)
