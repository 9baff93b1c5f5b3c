"""Waiting in step: tasks that look at something now and then do so at the same moments.

An idle node mostly pays for being woken up, not for what it then does. Ten tasks that each sleep
for half a second wake it twenty times a second; in step, twice.
"""

from __future__ import annotations

import math

import trio


async def next_tick(seconds: float) -> None:
    """Sleep until trio's clock next shows a multiple of `seconds`: no longer than `seconds`, and
    that long from one call to the next. ValueError unless it is above 0.

    Every process counts from another zero, so that nodes do not act at the same moment.
    """
    if not seconds > 0:
        raise ValueError("a tick lasts some time")
    now = trio.current_time()
    tick = (math.floor(now / seconds) + 1) * seconds
    # Never the tick that this task was just woken for, however the division was rounded.
    await trio.sleep_until(tick if tick - now > 1e-3 * seconds else tick + seconds)
