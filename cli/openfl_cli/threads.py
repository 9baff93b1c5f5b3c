"""Calls that block, made beside trio."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """`call()` in a thread. When cancelled it is not waited for, and what it returns is lost."""
    return await trio.to_thread.run_sync(
        call,
        abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs are of an older trio
    )
