"""What an overloaded or stopped node sees of its own delay, and takes for nobody's silence."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from libp2p_rig import address_of, id_of, make_network, until

from openfl.network.base import PeerAddress
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.network.libp2p.patience import LOOK_SECONDS, comes
from tests.situation import within

SECONDS = 15.0


async def jump_over(clock: trio.testing.MockClock, seconds: float) -> None:
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(seconds)
    await trio.testing.wait_all_tasks_blocked()


async def test_what_comes_in_time_is_waited_for(autojump_clock: Any) -> None:
    event = trio.Event()
    async with trio.open_nursery() as nursery:

        async def later() -> None:
            await trio.sleep(SECONDS - 1)
            event.set()

        nursery.start_soon(later)
        assert await comes(event, SECONDS, lambda: 0)


async def test_silence_is_given_up_after_its_time(autojump_clock: Any) -> None:
    began = trio.current_time()
    assert not await comes(trio.Event(), SECONDS, lambda: 7)
    assert SECONDS <= trio.current_time() - began < SECONDS + LOOK_SECONDS


async def test_any_sign_of_life_begins_the_time_anew(autojump_clock: Any) -> None:
    began = trio.current_time()

    def one_every_ten_seconds_for_a_minute() -> int:
        return min(6, int((trio.current_time() - began) / 10))

    assert not await comes(trio.Event(), SECONDS, one_every_ten_seconds_for_a_minute)
    assert trio.current_time() - began >= 60 + SECONDS


async def test_the_time_in_which_this_node_stood_still_does_not_count(
    mock_clock: trio.testing.MockClock,
) -> None:
    event = trio.Event()
    outcome: list[bool] = []

    async def wait() -> None:
        outcome.append(await comes(event, SECONDS, lambda: 0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for _ in range(3):
            await jump_over(mock_clock, 3600.0)
        assert not outcome
        event.set()
    assert outcome == [True]


async def test_what_nobody_reads_is_counted_and_gone_when_it_is_read() -> None:
    read_on = trio.Event()
    done = trio.Event()
    async with make_network() as a, make_network() as b:

        async def reads_later(stream: Any) -> None:
            await read_on.wait()
            left = 100_000
            while left:
                left -= len(await stream.read(left))
            done.set()

        b._host.set_stream_handler("/reads-later/1", reads_later)
        await a.connect(address_of(b))
        with within(what="the bytes to come and be read"):
            stream = await a._host.open_stream(id_of(b), ["/reads-later/1"])
            await stream.write(bytes(100_000))
            await until(lambda: b.statistics().unread >= 100_000)
            read_on.set()
            await done.wait()
            await until(lambda: b.statistics().unread < 1000)
        assert a.statistics().waiting == 0


async def test_one_that_floods_is_not_the_measure_of_what_is_unread() -> None:
    async with make_network() as b, make_network() as flooder, trio.open_nursery() as nursery:

        async def never_reads(stream: Any) -> None:
            await trio.sleep_forever()

        b._host.set_stream_handler("/never-reads/1", never_reads)
        with within(what="the bytes to come"):
            for _ in range(3):
                await nursery.start(keep_open, address_of(b))
            await until(lambda: len(b.peers()) == 3)
            await flooder.connect(address_of(b))
            stream = await flooder._host.open_stream(id_of(b), ["/never-reads/1"])
            await stream.write(bytes(100_000))
            await until(lambda: sum(buffered(b)) >= 100_000)
        assert b.statistics().unread < 10_000
        nursery.cancel_scope.cancel()


async def keep_open(to: PeerAddress, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    """A network that is connected and says nothing."""
    async with make_network() as network:
        await network.connect(to)
        task_status.started()
        await trio.sleep_forever()


def buffered(network: Libp2pNetwork) -> list[int]:
    return [
        sum(map(len, connection.muxed_conn.stream_buffers.values()))
        for connection in network._swarm.get_connections()
    ]
