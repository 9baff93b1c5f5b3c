"""What may wait for one peer to take it, and how fast one peer may speak."""

from __future__ import annotations

from typing import Any

from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.rpc_queue import RpcQueue

from openfl.network.libp2p.transport import Faults

MAX_RPC_BYTES = 1024 * 1024
"""Largest pubsub frame taken or sent: above it js-libp2p and go-libp2p drop the connection."""
MAX_QUEUED_RPCS = 256
MAX_QUEUED_BYTES = 8 * 1024 * 1024
"""Bounds of the outbound queue of one peer; what does not fit is dropped, and IHAVE repairs it."""
MAX_WRITE_BYTES = 64 * 1024
"""Of what waits, written to the stream at once; a larger RPC goes by itself."""


QUEUE_OPTIONS: dict[str, Any] = {"max_size": MAX_QUEUED_RPCS, "max_message_size": MAX_RPC_BYTES}
"""Of py-libp2p's RpcQueue."""


class BoundedRpcQueue(RpcQueue):  # type: ignore[misc]
    """What waits for one peer, bounded in bytes too. Defect gossip-small-queue."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(**QUEUE_OPTIONS)
        self._faults = faults
        self._bytes = 0

    def push(self, rpc: rpc_pb2.RPC, priority: bool = False) -> bool:
        """False when it is full: the frame is dropped and counted."""
        size = rpc.ByteSize()
        if self._bytes + size > MAX_QUEUED_BYTES or not super().push(rpc, priority):
            if not self.closed:
                self._faults.count("gossip-queue-full")
            return False
        self._bytes += size
        return True

    async def pop(self) -> rpc_pb2.RPC | None:
        """The next frame; None once the queue is closed."""
        rpc: rpc_pb2.RPC | None = await super().pop()
        if rpc is not None:
            self._bytes -= rpc.ByteSize()
        return rpc

    async def pop_several(self) -> list[rpc_pb2.RPC]:
        """What waits, in order: `MAX_WRITE_BYTES` at most, but one RPC at least; empty once the
        queue is closed. Waits for the first one only. Defect gossip-write-each."""
        first = await self.pop()
        if first is None:
            return []
        several, size = [first], first.ByteSize()
        while waiting := self._queue._priority or self._queue._non_priority:
            following = waiting[0].ByteSize()
            if size + following > MAX_WRITE_BYTES:
                break
            size += following
            self._bytes -= following
            several.append(waiting.popleft())
        return several

    def drain(self) -> list[tuple[rpc_pb2.RPC, bool]]:
        """Take out everything that waits: (rpc, whether it has priority), in order."""
        waiting = [(rpc, True) for rpc in self._queue._priority]
        waiting += [(rpc, False) for rpc in self._queue._non_priority]
        self._queue._priority.clear()
        self._queue._non_priority.clear()
        self._bytes = 0
        return waiting


class Pace:
    """A token bucket that says how long to wait. `now` in seconds."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._at = now

    def spend(self, cost: float, now: float) -> float:
        """Take `cost`, even when it is not there; seconds until the debt is paid."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second) - cost
        self._at = now
        return max(0.0, -self._tokens / self._per_second)
