"""`Backlog`: the events that one listener of a node has still to take."""

from __future__ import annotations

from collections import deque

from openfl.core.telemetry import NodeEvent

KEPT_EVENTS = 1000
"""Of a listener that does not take them; some hundred kilobytes."""


class Backlog:
    """Bounded: the oldest make room. kept: how many at most; ValueError below 1."""

    def __init__(self, kept: int) -> None:
        if kept < 1:
            raise ValueError("a listener must keep at least 1 event")
        self._waiting: deque[NodeEvent] = deque(maxlen=kept)
        self._missed = 0
        self._last_missed = 0.0

    def __len__(self) -> int:
        return len(self._waiting) + bool(self._missed)

    def put(self, event: NodeEvent) -> None:
        """Keep `event`, in place of the oldest when there is no room."""
        if len(self._waiting) == self._waiting.maxlen:
            self._missed += 1
            self._last_missed = self._waiting[0].time
        self._waiting.append(event)

    def take(self) -> NodeEvent:
        """The next one; what was dropped before it comes as one event `events-missed`. IndexError
        when there is none."""
        if self._missed:
            missed, self._missed = self._missed, 0
            plural = "" if missed == 1 else "s"
            text = f"{missed} event{plural} dropped: they were not taken in time"
            return NodeEvent(
                self._last_missed, "warning", "events-missed", text, {"missed": missed}
            )
        return self._waiting.popleft()
