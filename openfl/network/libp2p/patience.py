"""Waiting for a peer that may be slow, or may have been heard and not been read yet."""

from __future__ import annotations

from collections.abc import Callable

import trio

LOOK_SECONDS = 0.5
"""How often it is looked for signs of life. What takes longer than two of these counts as two: this
node stood still (stopped, suspended), and what the peer said waits unread."""


async def comes(event: trio.Event, seconds: float, signs_of_life: Callable[[], int]) -> bool:
    """Whether `event` comes before there was no new sign of life for so many seconds in which this
    node could have noticed one. `signs_of_life`: how many there have been."""
    silent, signs = 0.0, signs_of_life()
    while silent < seconds:
        since = trio.current_time()
        with trio.move_on_after(min(LOOK_SECONDS, seconds - silent)):
            await event.wait()
        if event.is_set():
            return True
        silent += min(trio.current_time() - since, 2 * LOOK_SECONDS)
        if signs_of_life() != signs:
            silent, signs = 0.0, signs_of_life()
    return False
