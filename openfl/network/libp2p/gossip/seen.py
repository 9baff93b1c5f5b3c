"""Which messages were heard already."""

from __future__ import annotations

from collections import OrderedDict

import trio

SEEN_SECONDS = 120.0
MAX_SEEN = 65_536


class SeenMessages:
    """Ids of recent messages; replaces a cache that runs a thread of its own for each pubsub."""

    def __init__(self) -> None:
        self._seen_at: OrderedDict[bytes, float] = OrderedDict()

    def has(self, message_id: bytes) -> bool:
        """Whether it was added within `SEEN_SECONDS`."""
        self._expire()
        return message_id in self._seen_at

    def add(self, message_id: bytes) -> bool:
        """True when it was new."""
        self._expire()
        new = message_id not in self._seen_at
        self._seen_at.setdefault(message_id, trio.current_time())
        if len(self._seen_at) > MAX_SEEN:
            self._seen_at.popitem(last=False)
        return new

    def stop(self) -> None:
        """Forget all."""
        self._seen_at.clear()

    def _expire(self) -> None:
        horizon = trio.current_time() - SEEN_SECONDS
        while self._seen_at:
            oldest = next(iter(self._seen_at))
            if self._seen_at[oldest] > horizon:
                return
            del self._seen_at[oldest]
