"""`Delta`: one signed publication of a member, as the replica merges it."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.aggregation.quantize import QuantizedBlock
from openfl.core.contribution import Evaluation, GroupId


@dataclass(frozen=True, slots=True)
class Delta:
    """The rows of its author that changed, absolute, with the author's place in its own history.

    The author is whoever signed it, never a field. `epoch` >= 1 grows each time the author starts
    or rejoins; `seqno` >= 1 counts its deltas within an epoch, without gaps. `round` and `fit` say
    how far the author's training is; `examples` is how many private examples stand behind it.
    `digest` is sha-256 over the encoded body: it names the delta, and orders two different deltas
    that a dishonest author gave the same seqno.
    """

    group_id: GroupId
    epoch: int
    seqno: int
    round: int
    examples: int
    fit: Evaluation | None
    blocks: tuple[QuantizedBlock, ...]
    digest: bytes = b""

    @property
    def row_count(self) -> int:
        """Rows of all blocks together."""
        return sum(len(block) for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Leave:
    """A tombstone: the author's registers of this epoch and older count no longer."""

    group_id: GroupId
    epoch: int
