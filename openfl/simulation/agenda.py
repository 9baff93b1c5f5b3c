"""`Agenda`: virtual time. What is planned happens in order of time, then of planning."""

from __future__ import annotations

import hashlib
import heapq
import struct
import zlib
from collections.abc import Callable
from typing import Any

Action = Callable[..., None]


class Agenda:
    """A heap of (time, number, action), and a digest of what was noted along the way."""

    def __init__(self) -> None:
        self.now = 0.0
        """Virtual seconds since the start."""
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._planned = 0
        self._ended = False
        self._trace = hashlib.sha256()

    def plan(self, at: float, action: Action, *arguments: Any) -> None:
        """Call `action(*arguments)` at the time `at`; not before now."""
        self._planned += 1
        heapq.heappush(self._heap, (max(at, self.now), self._planned, action, arguments))

    def run(self) -> None:
        """Until nothing is planned any more, or `end`."""
        while self._heap and not self._ended:
            self.now, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)

    def end(self) -> None:
        """Nothing more happens."""
        self._ended = True

    def note(self, what: str, who: int, payload: bytes = b"") -> None:
        """Take something that has happened into the trace."""
        crc = zlib.crc32(payload, zlib.crc32(what.encode()))
        self._trace.update(struct.pack("<dIII", self.now, who, crc, len(payload)))

    @property
    def trace(self) -> str:
        """A digest of everything noted so far, in order: equal for equal runs."""
        return self._trace.hexdigest()[:32]
