"""How the driver measures its event loop, and what it takes for its own delay."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from openfl.group import events as ev
from openfl.network.base import NetworkStatistics
from openfl.node.loop_watch import (
    FEW_BYTES,
    LOOK_SECONDS,
    REST_SECONDS,
    STALL_SECONDS,
    LoopWatch,
)

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


def watched(clock: HandClock) -> LoopWatch:
    watch = LoopWatch(clock=clock)
    slept(watch, clock, 1.0, 0.1)
    return watch


class Line:
    """What a network of ten connections tells."""

    def __init__(self) -> None:
        self.unread = 1_000_000
        self.received = 0
        self.waiting = 0

    def __call__(self) -> NetworkStatistics:
        return NetworkStatistics(
            bytes_received=self.received,
            connections=10,
            waiting=self.waiting,
            unread=self.unread,
        )


def measured(watch: LoopWatch, line: Line | None = None) -> ev.LoadMeasured:
    load = watch.measured(Line() if line is None else line)
    assert load is not None
    return load


def test_behind_is_how_long_the_loop_has_not_come_to_rest(clock: HandClock) -> None:
    watch = watched(clock)
    clock.now += 3.0
    load = measured(watch)
    assert (load.behind_seconds, load.most_behind_seconds) == (3.0, 3.0)
    clock.now += 2.0
    assert measured(watch).behind_seconds == 5.0, "it goes on"


def test_a_loop_that_has_caught_up_is_not_behind_but_was(clock: HandClock) -> None:
    watch = watched(clock)
    clock.now += 3.0
    slept(watch, clock, 1.0, 0.5)
    clock.now += 0.25
    load = measured(watch)
    assert (load.behind_seconds, load.most_behind_seconds) == (0.25, 3.0)
    slept(watch, clock, 1.0, 1.0)
    assert measured(watch).most_behind_seconds == 0.25


def test_looking_whether_there_is_anything_is_no_rest(clock: HandClock) -> None:
    watch = watched(clock)
    for _ in range(20):
        clock.now += 0.1
        slept(watch, clock, 0.0, 0.5)  # nothing to wait for: it was kept from going on
        slept(watch, clock, 1.0, REST_SECONDS / 2)
    assert measured(watch).behind_seconds == pytest.approx(12.0, abs=0.1)


def test_a_loop_without_rest_is_behind_by_what_is_unread_only(clock: HandClock) -> None:
    watch, line = watched(clock), Line()
    measured_at = 0.1  # the rest that `watched` had
    clock.now += 60.0
    line.received += round(10 * 5000 * (60.0 + measured_at))  # 5,000 bytes a connection and second
    line.unread = FEW_BYTES + 10_000
    assert measured(watch, line).behind_seconds == pytest.approx(2.0)
    clock.now += 10.0
    line.received += 10 * 5000 * 10
    line.unread = FEW_BYTES
    assert measured(watch, line).behind_seconds == 0.0


def test_what_peers_do_not_take_is_told(clock: HandClock) -> None:
    watch, line = watched(clock), Line()
    clock.now += LOOK_SECONDS
    line.waiting = 7
    assert measured(watch, line).waiting == 7


def test_between_measurements_there_is_a_pause(clock: HandClock) -> None:
    watch = watched(clock)
    clock.now += LOOK_SECONDS
    measured(watch)
    assert watch.measured(Line()) is None


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
    watch = LoopWatch(measures=False)
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


async def test_while_the_loop_is_behind_an_answer_may_be_here_unread(
    clock: HandClock, mock_clock: trio.testing.MockClock
) -> None:
    watch = watched(clock)
    with watch.limit(2 * PAUSE) as scope:
        for _ in range(5):
            clock.now += PAUSE
            await stand_still(watch, mock_clock, PAUSE)
        assert not scope.cancel_called
        for _ in range(2):  # and a rounding error
            clock.now += PAUSE
            await stand_still(watch, mock_clock, PAUSE)
        assert scope.cancel_called


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


async def test_on_virtual_time_nothing_is_measured(clock: HandClock) -> None:
    watch = LoopWatch(measures=False, clock=clock)
    with watch.watching():
        clock.now += 10 * LOOK_SECONDS
        assert watch.measured(Line()) is None
