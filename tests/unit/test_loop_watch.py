"""How the driver measures its event loop, and what it takes for its own delay."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from openfl.node.loop_watch import LOOK_SECONDS, STALL_SECONDS, LoopWatch

PAUSE = 0.25


class HandClock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def slept(watch: LoopWatch, clock: HandClock, asked: float, took: float) -> None:
    watch.before_io_wait(asked)
    clock.now += took
    watch.after_io_wait(asked)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def test_idle_is_what_the_loop_waits_for_something_to_do(
    clock: HandClock, autojump_clock: trio.testing.MockClock
) -> None:
    watch = LoopWatch(clock=clock)
    slept(watch, clock, 1.0, 0.75)
    clock.now += 0.25
    await watch.pause(PAUSE)
    load = watch.measured(lambda: 3)
    assert load is not None
    assert (load.seconds, load.busy, load.late_seconds, load.waiting) == (1.0, 0.25, 0.0, 3)


async def test_what_it_oversleeps_it_waited_for_the_processor(
    clock: HandClock, autojump_clock: trio.testing.MockClock
) -> None:
    watch = LoopWatch(clock=clock)
    slept(watch, clock, 0.5, 2.0)
    await watch.pause(PAUSE)
    load = watch.measured(lambda: 0)
    assert load is not None
    assert load.busy == 0.75


async def test_each_measurement_is_of_the_time_since_the_last(
    clock: HandClock, autojump_clock: trio.testing.MockClock
) -> None:
    watch = LoopWatch(clock=clock)
    clock.now += LOOK_SECONDS
    await watch.pause(PAUSE)
    first = watch.measured(lambda: 0)
    assert watch.measured(lambda: 0) is None, "too soon"
    slept(watch, clock, LOOK_SECONDS, LOOK_SECONDS)
    await watch.pause(PAUSE)
    second = watch.measured(lambda: 0)
    assert first is not None
    assert second is not None
    assert (first.busy, second.busy) == (1.0, 0.0)


async def test_late_is_how_long_after_its_time_a_pause_ends(
    clock: HandClock, mock_clock: trio.testing.MockClock
) -> None:
    watch = LoopWatch(clock=clock)
    late = iter((0.1, 0.3))

    async def go_on(seconds: float) -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(seconds)

    for by in late:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, PAUSE + by)
            await watch.pause(PAUSE)
    clock.now += LOOK_SECONDS
    load = watch.measured(lambda: 0)
    assert load is not None
    assert load.late_seconds == pytest.approx(0.2)


async def stand_still(watch: LoopWatch, mock_clock: trio.testing.MockClock, seconds: float) -> None:
    """The machine sleeps in the middle of a pause."""

    async def wake_up() -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake_up)
        await watch.pause(PAUSE)


async def test_a_stall_is_told_once_with_its_length(mock_clock: trio.testing.MockClock) -> None:
    watch = LoopWatch()
    assert watch.stalled(trio.current_time()) == 0, "nothing was due yet"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.pause, PAUSE)
        await trio.testing.wait_all_tasks_blocked()
        assert watch.stalled(trio.current_time() + PAUSE + STALL_SECONDS / 2) == 0
        mock_clock.jump(PAUSE + 30.0)
        # Before the pause itself has gone on: whatever is handled first must know.
        assert watch.stalled(trio.current_time()) == pytest.approx(30.0)
        assert watch.stalled(trio.current_time()) == 0


async def test_a_time_out_counts_only_the_time_in_which_an_answer_could_be_read(
    mock_clock: trio.testing.MockClock,
) -> None:
    watch = LoopWatch()
    with watch.limit(5.0) as scope:
        await stand_still(watch, mock_clock, 3600.0)
        await trio.lowlevel.checkpoint()
        assert not scope.cancel_called
        for _ in range(17):
            await stand_still(watch, mock_clock, PAUSE)
        assert not scope.cancel_called
        await stand_still(watch, mock_clock, PAUSE)
        assert scope.cancel_called
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_block_that_ends_in_time_is_not_cancelled_later(
    mock_clock: trio.testing.MockClock,
) -> None:
    watch = LoopWatch()
    with watch.limit(PAUSE):
        pass
    await stand_still(watch, mock_clock, PAUSE)
    assert not watch._limits


async def test_the_loop_is_watched_within_the_block_only() -> None:
    seen: list[float] = []

    class Seeing(LoopWatch):
        def before_io_wait(self, timeout: float) -> None:
            seen.append(timeout)
            super().before_io_wait(timeout)

    watch = Seeing()
    with watch.watching():
        await trio.sleep(0.01)
    count = len(seen)
    assert count
    await trio.sleep(0.01)
    assert len(seen) == count


async def test_on_virtual_time_nothing_is_measured(
    clock: HandClock, autojump_clock: trio.testing.MockClock
) -> None:
    watch = LoopWatch(measures=False, clock=clock)
    with watch.watching():
        clock.now += 10 * LOOK_SECONDS
        await watch.pause(PAUSE)
        assert watch.measured(lambda: 0) is None
