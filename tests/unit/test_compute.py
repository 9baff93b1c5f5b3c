"""Where training runs: in a thread that shutdown does not wait for, or inline on virtual time."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from openfl.node.compute import Compute, InlineCompute, ThreadCompute
from tests.patience import PATIENCE_SECONDS
from tests.situation import within


def fail() -> None:
    raise ZeroDivisionError("of the work")


@pytest.mark.parametrize("compute", [ThreadCompute(), InlineCompute()], ids=["thread", "inline"])
async def test_the_result_of_the_work_comes_back(compute: Compute) -> None:
    assert await compute.run(lambda: 6 * 7) == 42


@pytest.mark.parametrize("compute", [ThreadCompute(), InlineCompute()], ids=["thread", "inline"])
async def test_what_the_work_raises_is_raised_here(compute: Compute) -> None:
    with pytest.raises(ZeroDivisionError, match="of the work"):
        await compute.run(fail)


async def test_work_runs_in_another_thread_and_holds_up_no_task() -> None:
    go_on = threading.Event()
    names: list[int] = []

    def work() -> None:
        names.append(threading.get_ident())
        assert go_on.wait(PATIENCE_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ThreadCompute().run, work)
        await trio.lowlevel.checkpoint()  # this task runs while the work waits for it
        go_on.set()
    assert names != [threading.get_ident()]


async def test_one_piece_of_work_runs_at_a_time() -> None:
    compute = ThreadCompute()
    go_on, begun = threading.Event(), trio.Event()
    done: list[str] = []

    def first() -> None:
        trio.from_thread.run_sync(begun.set)
        assert go_on.wait(PATIENCE_SECONDS)
        done.append("first")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(compute.run, first)
        await begun.wait()
        nursery.start_soon(compute.run, lambda: done.append("second"))
        await trio.testing.wait_all_tasks_blocked()
        await ThreadCompute().run(lambda: None)  # by now a thread too many would be done
        assert done == []
        go_on.set()
    assert done == ["first", "second"]


async def test_two_computes_do_not_wait_for_each_other() -> None:
    go_on = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ThreadCompute().run, lambda: go_on.wait(PATIENCE_SECONDS))
        with within():
            await ThreadCompute().run(go_on.set)


async def test_a_cancelled_job_is_abandoned_at_once() -> None:
    compute = ThreadCompute()
    go_on, begun = threading.Event(), trio.Event()

    done: list[bool] = []

    def work() -> None:
        trio.from_thread.run_sync(begun.set)
        done.append(go_on.wait(PATIENCE_SECONDS))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compute.run, work)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert done == []  # it did not wait for the thread
    finally:
        go_on.set()


async def test_inline_work_costs_virtual_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    before = trio.current_time()
    assert await InlineCompute(2.5).run(lambda: "done") == "done"
    assert trio.current_time() - before == 2.5


async def test_others_run_while_inline_work_takes_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    moments = []

    async def tick() -> None:
        await trio.sleep(1.0)
        moments.append(trio.current_time())

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await InlineCompute(5.0).run(lambda: None)
        assert moments == [start + 1.0]


@pytest.mark.parametrize("cost", [-0.1, float("nan"), float("inf")])
def test_a_cost_that_makes_no_sense_is_refused(cost: float) -> None:
    with pytest.raises(ValueError, match="cost_seconds"):
        InlineCompute(cost)
