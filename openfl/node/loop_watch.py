"""`LoopWatch`: whether this node's event loop keeps up, and whether it stood still.

Whoever waits for others must not take its own delay for their silence, so time-outs here go by the
time in which the node could have heard them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from openfl.group import events as ev
from openfl.network.base import NetworkStatistics
from openfl.network.ticks import tick_after

STALL_SECONDS = 1.0
"""What is less late than that is a busy loop, which still handles what comes."""
LOOK_SECONDS = 1.0
"""Between two `LoadMeasured`."""
REST_SECONDS = 0.001
"""A loop that has waited so long for something to do has done all there was. Less may be nothing
but the look whether there is anything."""

FEW_BYTES = 4096
"""Of one connection, that may be unread at any moment."""
SLOWEST_BYTES_PER_SECOND = 1024
BEHIND_FACTOR = 3.0
"""How many times as long to wait for an answer while the loop does not come to rest."""


class LoopWatch(trio.abc.Instrument):
    """Entered where it is to measure; `pause` is to be called over and over.

    measures: False on virtual time, which runs as fast as the machine lets it. clock: real seconds.
    """

    def __init__(
        self, *, measures: bool = True, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._measures = measures
        self._clock = clock
        self._measured_at = self._rested_at = self._waits_since = clock()
        self._most_behind = 0.0
        self._received = 0
        self._due = float("inf")
        self._limits: dict[trio.CancelScope, float] = {}
        """Scope -> seconds that are left to it."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this block the loop is watched."""
        if not self._measures:
            yield
            return
        self._measured_at = self._rested_at = self._clock()
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        """The loop has nothing to do for so many seconds, unless something has come."""
        self._waits_since = self._clock()

    def after_io_wait(self, timeout: float) -> None:
        """It goes on."""
        now = self._clock()
        if timeout > 0 and now - self._waits_since >= REST_SECONDS:
            self._most_behind = max(self._most_behind, self._waits_since - self._rested_at)
            self._rested_at = now

    async def pause(self, seconds: float) -> None:
        """Sleep until the next tick, and note when that is."""
        began, looked = trio.current_time(), self._clock()
        self._due = tick_after(began, seconds)
        await trio.sleep_until(self._due)
        # However long the pause was, an answer could have been heard in no more of it than this.
        passed = min(trio.current_time() - began, 2 * seconds)
        if self._measures and self._rested_at < looked:
            passed /= BEHIND_FACTOR  # it may be here, among what is not read yet
        for scope in list(self._limits):
            self._limits[scope] -= passed
            if self._limits[scope] <= 0:
                del self._limits[scope]
                scope.cancel()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[trio.CancelScope]:
        """A block that is cancelled after so many seconds of pauses, to the end of the pause. Long
        ones count as two of what they should have been, and those without rest for a third."""
        with trio.CancelScope() as scope:
            self._limits[scope] = seconds
            try:
                yield scope
            finally:
                self._limits.pop(scope, None)

    def stalled(self, now: float) -> float:
        """For how long the loop stood still until now, on trio's clock; 0 when it did not. Asked
        with whatever is handled first afterwards; told once."""
        stalled = now - self._due
        if stalled < STALL_SECONDS:
            return 0.0
        self._due = now
        return stalled

    def measured(self, statistics: Callable[[], NetworkStatistics]) -> ev.LoadMeasured | None:
        """The load since the last time, once it was long enough ago. statistics: those of now."""
        now = self._clock()
        passed = now - self._measured_at
        if not self._measures or passed < LOOK_SECONDS:
            return None
        network = statistics()
        came, self._received = network.bytes_received - self._received, network.bytes_received
        rate = max(came / passed / max(1, network.connections), SLOWEST_BYTES_PER_SECOND)
        # By Little's law. A loop that is busy all the time may yet be near the end of its queue;
        # and one that was at rest a moment ago has none, whatever has just come.
        oldest = max(0, network.unread - FEW_BYTES) / rate
        behind = now - self._rested_at
        most = max(self._most_behind, behind)
        self._measured_at, self._most_behind = now, 0.0
        return ev.LoadMeasured(min(oldest, behind), min(oldest, most), network.waiting)
