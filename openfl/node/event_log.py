"""`EventLog`: what a node tells its owner, and the last of it for whoever looks later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from openfl.core.event_kinds import EVENT_KINDS
from openfl.core.telemetry import NodeEvent

MAX_EVENTS = 50


class EventLog:
    """Every event is handed on to `on_event` at once."""

    def __init__(
        self, unix_time: Callable[[], float], on_event: Callable[[NodeEvent], None]
    ) -> None:
        self._unix_time = unix_time
        self._on_event = on_event
        self._last: deque[NodeEvent] = deque(maxlen=MAX_EVENTS)
        self.observers: list[Callable[[NodeEvent], None]] = []
        """Parts of the node itself that are told of every event before its owner is."""

    @property
    def last(self) -> tuple[NodeEvent, ...]:
        """At most `MAX_EVENTS`, newest last."""
        return tuple(self._last)

    def tell(
        self,
        level: Literal["debug", "info", "warning", "error"],
        kind: str,
        message: str,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Hand on an event of now. ValueError: its kind is not in `openfl.core.event_kinds`."""
        if kind not in EVENT_KINDS:
            raise ValueError(f"{kind!r} is no kind of event: openfl.core.event_kinds lists them")
        event = NodeEvent(self._unix_time(), level, kind, message, data or {})
        self._last.append(event)
        for observer in self.observers:
            observer(event)
        self._on_event(event)
