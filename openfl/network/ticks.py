"""Waiting in step: tasks that look at something now and then do so at the same moments.

An idle node mostly pays for being woken up, not for what it then does. Ten tasks that each sleep
for half a second wake it twenty times a second; in step, twice.
"""

from __future__ import annotations

import math

import trio


async def next_tick(seconds: float) -> None:
    """Sleep until the next moment that is `tick_after` now. ValueError unless `seconds` > 0."""
    await trio.sleep_until(tick_after(trio.current_time(), seconds))


def tick_after(now: float, seconds: float) -> float:
    """When trio's clock next shows a multiple of `seconds`: no later than `seconds` from now, and
    that long from one call to the next. ValueError unless it is above 0.

    Every process counts from another zero, so that nodes do not act at the same moment.
    """
    if not seconds > 0:
        raise ValueError("a tick lasts some time")
    tick = (math.floor(now / seconds) + 1) * seconds
    # Never the tick that a task was just woken for, however the division was rounded.
    return tick if tick - now > 1e-3 * seconds else tick + seconds
