"""`EventIterator`: the events of a node for a thread that waits for them."""

from __future__ import annotations

import threading

from openfl.core.event_backlog import Backlog
from openfl.core.telemetry import NodeEvent


class EventIterator:
    """`for event in node.events()`: see `RunningNode.events`. May be taken from by any threads."""

    def __init__(self, timeout: float | None, kept: int) -> None:
        self._timeout = timeout
        self._backlog = Backlog(kept)
        self._ended = False
        self._changed = threading.Condition()

    def hear(self, event: NodeEvent) -> None:
        """By the node: here is another."""
        with self._changed:
            self._backlog.put(event)
            self._changed.notify()

    def end(self) -> None:
        """By the node: no more come; those that wait can still be taken."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Until something was told, or so long; what was told is dropped."""
        with self._changed:
            self._changed.wait_for(self._something, seconds)
            while len(self._backlog):
                self._backlog.take()

    def _something(self) -> bool:
        return len(self._backlog) > 0 or self._ended

    def __iter__(self) -> EventIterator:
        return self

    def __next__(self) -> NodeEvent:
        with self._changed:
            if not self._changed.wait_for(self._something, self._timeout):
                raise TimeoutError(f"no event within {self._timeout:g} s")
            if not len(self._backlog):
                raise StopIteration
            return self._backlog.take()
