"""`EventListeners`: everybody who hears what a node tells, each at their own pace.

A node never waits for who listens. What a slow listener has not taken is kept up to a bound; then
the oldest is dropped, and the listener is told how much in its place.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Protocol

import trio

from openfl.core.event_backlog import KEPT_EVENTS, Backlog
from openfl.core.telemetry import NodeEvent


class Listener(Protocol):
    """Whoever is told of each event, in trio's thread, and once of the end."""

    def hear(self, event: NodeEvent) -> None:
        """Take an event without waiting."""
        ...

    def end(self) -> None:
        """There will be no more events."""
        ...


class EventListeners:
    """`owner` is told first, of everything. Listeners are held weakly: who drops one has closed
    it."""

    def __init__(self, owner: Callable[[NodeEvent], None]) -> None:
        self._owner = owner
        self._listeners: list[weakref.ref[Listener]] = []
        self._ended = False

    def add(self, listener: Listener) -> None:
        """Tell `listener` of each event from now on; of the end at once when that has come."""
        if self._ended:
            listener.end()
            return
        self._listeners.append(weakref.ref(listener))

    def tell(self, event: NodeEvent) -> None:
        """Tell everybody."""
        self._owner(event)
        for listener in self._present():
            listener.hear(event)

    def end(self) -> None:
        """Listeners hear no more; the owner does."""
        self._ended = True
        for listener in self._present():
            listener.end()
        self._listeners.clear()

    def _present(self) -> list[Listener]:
        present = [listener for ref in self._listeners if (listener := ref()) is not None]
        if len(present) < len(self._listeners):
            self._listeners = [ref for ref in self._listeners if ref() is not None]
        return present


class EventStream:
    """The events of a node from now on: `async for event in stream`. Ends when the node is closed
    or asked to stop, after what was told before. Several tasks may take from one stream; each event
    then goes to one of them."""

    def __init__(self, listeners: EventListeners, kept: int = KEPT_EVENTS) -> None:
        self._backlog = Backlog(kept)
        self._takers = trio.lowlevel.ParkingLot()
        self._ended = False
        listeners.add(self)

    def hear(self, event: NodeEvent) -> None:
        """See `Listener`."""
        if not self._ended:
            self._backlog.put(event)
            self._takers.unpark()

    def end(self) -> None:
        """No more events come; those that wait can still be taken."""
        self._ended = True
        self._takers.unpark_all()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> NodeEvent:
        await trio.lowlevel.checkpoint()
        while not len(self._backlog):
            if self._ended:
                raise StopAsyncIteration
            await self._takers.park()
        return self._backlog.take()
