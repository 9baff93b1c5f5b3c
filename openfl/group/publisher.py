"""`Publisher`: this member's own deltas: which rows, in which order, signed.

A member's deltas are numbered without gaps within an epoch. What is merged into its own replica is
decoded from the very bytes that are published, so that it sees the model that the others see.
"""

from __future__ import annotations

import numpy as np

from openfl.aggregation.quantize import quantize, split
from openfl.aggregation.replica import MergeKind, Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Contribution, Evaluation
from openfl.network.base import Sealer
from openfl.wire import messages as wire

DELTA_HEADROOM_BYTES = 2048
"""What a delta's body may hold beside its rows."""


class Publisher:
    """`epoch` must be higher than in any earlier membership of this peer in this group."""

    def __init__(
        self,
        replica: Replica,
        sealer: Sealer,
        selector: RowSelector,
        rng: np.random.Generator,
        epoch: int,
        examples: int,
        inline_limit_bytes: int,
    ) -> None:
        """`examples`: how many the others are told this member has. Envelopes larger than
        `inline_limit_bytes` are announced, not sent along."""
        self.epoch = epoch
        self.seqno = 0
        """Of the latest delta; 0 before the first."""
        self.examples = examples
        self.published_bytes = 0
        self._replica = replica
        self._sealer = sealer
        self._selector = selector
        self._rng = rng
        self._inline_limit_bytes = inline_limit_bytes

    def publish(
        self,
        contribution: Contribution,
        round_number: int,
        fit: Evaluation | None,
        now: float,
        rounds: int = 1,
    ) -> tuple[list[wire.GossipPayload], str | None]:
        """Sign and merge what is worth sending of `contribution`, the outcome of so many `rounds`:
        (messages, None), or with the reason why the rest was not published."""
        charter = self._replica.charter
        chosen = self._selector.select(contribution, rounds)
        blocks = tuple(
            quantize(block, charter.table(block.table), self._rng) for block in chosen.blocks
        )
        messages: list[wire.GossipPayload] = []
        for part in split(blocks, wire.LIMITS.max_delta_bytes - DELTA_HEADROOM_BYTES):
            body = wire.encode_delta(
                wire.Delta(
                    group_id=charter.group_id,
                    epoch=self.epoch,
                    seqno=self.seqno + 1,
                    round=round_number,
                    examples=self.examples,
                    fit=fit,
                    blocks=part,
                )
            )
            envelope = self._sealer.seal(wire.DELTA_TYPE, body)
            delta = wire.decode_delta(body)
            result = self._replica.merge(self._sealer.peer_id, delta, envelope, now)
            if result.kind is not MergeKind.MERGED:
                # Our own replica is full, or the task proposes what its charter forbids.
                return messages, result.detail or result.reason
            self.seqno += 1
            self.published_bytes += len(envelope)
            if len(envelope) <= self._inline_limit_bytes:
                messages.append(wire.InlineDelta(envelope))
            else:
                messages.append(wire.Announce(delta.digest, len(envelope), self.epoch, self.seqno))
        self._selector.record(blocks)
        return messages, None

    def leave(self) -> wire.LeaveNotice:
        """The tombstone of this membership."""
        body = wire.encode_leave(wire.Leave(self._replica.charter.group_id, self.epoch))
        return wire.LeaveNotice(self._sealer.seal(wire.LEAVE_TYPE, body))

    def meet_own_past(self, epoch: int) -> None:
        """The group holds something of ours of `epoch` that is not of this membership (but of an
        earlier run under a clock that was ahead, or of a node with the same identity): go on above
        it and publish everything again."""
        if epoch >= self.epoch:
            self.epoch = epoch + 1
            self.seqno = 0
            self._selector.forget()
