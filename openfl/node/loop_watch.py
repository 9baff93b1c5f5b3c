"""`LoopWatch`: how busy this node's event loop is, and whether it stood still.

Whoever waits for others must not take its own delay for their silence, so time-outs here go by the
time in which the node could have heard them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from openfl.group import events as ev

STALL_SECONDS = 1.0
"""What is less late than that is a busy loop, which still handles what comes."""
LOOK_SECONDS = 1.0
"""What one `LoadMeasured` covers, at least."""


class LoopWatch(trio.abc.Instrument):
    """Entered where it is to measure; `pause` is to be called over and over.

    measures: False on virtual time, which runs as fast as the machine lets it. clock: real seconds.
    """

    def __init__(
        self, *, measures: bool = True, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._measures = measures
        self._clock = clock
        self._since = self._waits_since = clock()
        self._idle = self._late = 0.0
        self._pauses = 0
        self._due = float("inf")
        self._limits: dict[trio.CancelScope, float] = {}
        """Scope -> seconds that are left to it."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this block the loop is watched."""
        if not self._measures:
            yield
            return
        self._begin()
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def before_io_wait(self, timeout: float) -> None:
        """The loop has nothing to do for so many seconds, unless something comes."""
        self._waits_since = self._clock()

    def after_io_wait(self, timeout: float) -> None:
        """It goes on. What it overslept it was not idle, but waited for the processor."""
        self._idle += min(self._clock() - self._waits_since, timeout)

    async def pause(self, seconds: float) -> None:
        """Sleep, and note how late that ended."""
        began = trio.current_time()
        due = self._due = began + seconds
        await trio.sleep(seconds)
        now = trio.current_time()
        self._late += now - due
        self._pauses += 1
        # However long the pause was, it could have been heard in no more of it than this.
        for scope in list(self._limits):
            self._limits[scope] -= min(now - began, 2 * seconds)
            if self._limits[scope] <= 0:
                del self._limits[scope]
                scope.cancel()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[trio.CancelScope]:
        """A block that is cancelled after so many seconds of pauses, to the end of the pause; long
        ones count as two of what they should have been."""
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

    def measured(self, waiting: Callable[[], int]) -> ev.LoadMeasured | None:
        """The load since the last time, once there is enough to tell. waiting: see there; asked for
        only then."""
        now = self._clock()
        seconds = now - self._since
        if not self._measures or seconds < LOOK_SECONDS or not self._pauses:
            return None
        busy = min(1.0, max(0.0, 1 - self._idle / seconds))
        # One long pause (a suspended machine) is no load.
        late = min(self._late / self._pauses, STALL_SECONDS)
        self._begin()
        return ev.LoadMeasured(min(seconds, 2 * LOOK_SECONDS), busy, late, waiting())

    def _begin(self) -> None:
        self._since = self._clock()
        self._idle = self._late = 0.0
        self._pauses = 0
