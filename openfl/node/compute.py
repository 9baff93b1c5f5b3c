"""Where training runs: a worker thread in production, inline on virtual time in simulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Compute(Protocol):
    """Runs one piece of numerical work at a time."""

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work()`; what it raises is raised here."""
        ...


class ThreadCompute:
    """A worker thread (NumPy's kernels release the GIL), one job at a time.

    A cancelled job is abandoned: its thread ends by itself and its result is dropped, so that
    shutdown never waits for training.
    """

    def __init__(self) -> None:
        self._one_at_a_time = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns in a worker thread, or raises there; one job at a time."""
        return await trio.to_thread.run_sync(
            work,
            abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs are of an older trio
            limiter=self._one_at_a_time,
        )


class InlineCompute:
    """Inline work plus a virtual pause of `cost_seconds`: for virtual clocks, which run away from
    any real thread."""

    def __init__(self, cost_seconds: float = 0.0) -> None:
        if not (math.isfinite(cost_seconds) and cost_seconds >= 0):
            raise ValueError("cost_seconds must be finite and not negative")
        self._cost_seconds = cost_seconds

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, after the pause."""
        result = work()
        await trio.sleep(self._cost_seconds)
        return result
