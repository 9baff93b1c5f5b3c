"""Waiting in step, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from openfl.network.ticks import next_tick


@given(
    seconds=st.sampled_from([0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 0.3]),
    start=st.floats(0.0, 1e6),
)
def test_from_call_to_call_it_takes_so_long(seconds: float, start: float) -> None:
    async def run() -> None:
        await trio.sleep(start)
        before = trio.current_time()
        await next_tick(seconds)
        first = trio.current_time()
        assert 0 < first - before <= 1.01 * seconds
        for number in range(1, 6):
            await next_tick(seconds)
            assert trio.current_time() - first == pytest.approx(number * seconds, rel=1e-3)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_tasks_that_began_at_different_moments_wake_at_the_same(autojump_clock: Any) -> None:
    woken: list[list[float]] = [[], [], []]

    async def look(number: int, seconds: float) -> None:
        await trio.sleep(0.13 * number)
        while True:
            await next_tick(seconds)
            woken[number].append(trio.current_time())

    with trio.move_on_after(10.05):
        async with trio.open_nursery() as nursery:
            for number, seconds in enumerate((0.5, 0.5, 1.0)):
                nursery.start_soon(look, number, seconds)
    assert woken[0][-10:] == woken[1][-10:]
    assert set(woken[2]) <= set(woken[0])


async def test_a_tick_lasts_some_time() -> None:
    with pytest.raises(ValueError, match="some time"):
        await next_tick(0.0)
