"""Frames of Yamux, calls of the system and writes of gossip: few, and right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IncompleteReadError
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.exceptions import MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    TYPE_DATA,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    Yamux,
)
from libp2p_rig import (
    TOPIC,
    Heard,
    address_of,
    answers,
    id_of,
    make_network,
    meshed,
    until,
)

from openfl.network.libp2p.gossip.queues import MAX_WRITE_BYTES, BoundedRpcQueue
from openfl.network.libp2p.muxed_stream import FRAME_HEADER, frame_header
from openfl.network.libp2p.muxer import HardenedYamux
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.network.libp2p.transport import Faults
from tests.situation import within

PROTOCOL = "/test-frames/1"
PEER = ID(b"p" * 34)


class Pipe:
    """One end of a secured connection in memory."""

    def __init__(self, stream: Any, is_initiator: bool) -> None:
        self._stream = stream
        self.is_initiator = is_initiator
        self.written: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        await self._stream.send_all(data)

    async def read(self, n: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(n))

    async def close(self) -> None:
        await self._stream.aclose()

    def frames(self, kind: int) -> list[tuple[int, int]]:
        """(flags, length) of those written; each was written by itself."""
        headers = [FRAME_HEADER.unpack(data[:12]) for data in self.written]
        return [(flags, length) for _, found, flags, _, length in headers if found == kind]


def pipe() -> tuple[Pipe, Pipe]:
    left, right = trio.testing.memory_stream_pair()
    return Pipe(left, True), Pipe(right, False)


def ours(end: Pipe, faults: Faults | None = None) -> HardenedYamux:
    return HardenedYamux(end, PEER, is_initiator=end.is_initiator, faults=faults or Faults())


def theirs(end: Pipe, faults: Faults | None = None) -> Yamux:
    """As every peer of an earlier version has it."""
    return Yamux(end, PEER, is_initiator=end.is_initiator)


KINDS = pytest.mark.parametrize(
    ("dialler", "dialled"), [(ours, ours), (ours, theirs), (theirs, ours)]
)


async def read_all(stream: Any, count: int, at_once: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += await stream.read(at_once)
    return bytes(data)


def pattern(count: int, seed: int) -> bytes:
    return bytes((seed + n * n) % 251 for n in range(4096)) * (count // 4096)


# window-updates


async def window_updates(network: Libp2pNetwork, peer: Libp2pNetwork, messages: int) -> int:
    """How many the network sends while it reads 1,000 bytes so many times, each by itself."""
    streams: list[Any] = []

    async def keep(stream: Any) -> None:
        streams.append(stream)
        await trio.sleep_forever()

    network._host.set_stream_handler(PROTOCOL, keep)
    stream = await peer._host.open_stream(id_of(network), [PROTOCOL])
    await until(lambda: bool(streams))
    muxed = streams[0].muxed_conn
    sent = []
    write = muxed._write_frame

    async def count(data: bytes) -> None:
        _, kind, flags, _, length = FRAME_HEADER.unpack(data[:12])
        if kind == TYPE_WINDOW_UPDATE and not flags:
            sent.append(length)
        await write(data)

    muxed._write_frame = count
    for n in range(messages):
        await stream.write(bytes([n % 256]) * 1000)
        assert await read_all(streams[0], 1000, 1000) == bytes([n % 256]) * 1000
    assert (
        sum(sent)
        <= 1000 * messages + muxed.streams[stream.muxed_stream.stream_id].target_recv_window
    )
    return len(sent)


async def test_reads_are_not_answered_with_a_frame_each() -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        with within(what="all messages"):
            assert await window_updates(b, a, 100) == 0
            # A thousand messages are a megabyte, of which each half window is one frame at most.
            assert 0 < await window_updates(b, a, 1000) <= 2 * 1_000_000 / DEFAULT_WINDOW_SIZE


@KINDS
@pytest.mark.parametrize("at_once", [700, 50_000, 1 << 20])
async def test_a_stream_never_runs_dry_in_either_direction(
    dialler: Callable[[Pipe], Any], dialled: Callable[[Pipe], Any], at_once: int
) -> None:
    count = 4096 * (256 if at_once < 1000 else 1024)
    there, back = pattern(count, 1), pattern(count, 2)
    left, right = pipe()
    near, far = dialler(left), dialled(right)
    got = {}

    async def read(stream: Any, name: str) -> None:
        got[name] = await read_all(stream, count, at_once)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        with within(what="all bytes, both ways"):
            mine = await near.open_stream()
            other = await far.accept_stream()
            async with trio.open_nursery() as moving:
                moving.start_soon(read, mine, "back")
                moving.start_soon(read, other, "there")
                moving.start_soon(mine.write, there)
                moving.start_soon(other.write, back)
        assert got == {"there": there, "back": back}
        for end, muxed in ((left, near), (right, far)):
            if isinstance(muxed, HardenedYamux):
                updates = [length for flags, length in end.frames(TYPE_WINDOW_UPDATE) if not flags]
                assert all(length >= DEFAULT_WINDOW_SIZE // 2 for length in updates)
        nursery.cancel_scope.cancel()


@KINDS
async def test_a_reader_that_comes_late_gets_everything(
    dialler: Callable[[Pipe], Any], dialled: Callable[[Pipe], Any]
) -> None:
    """The window is used up to its last byte before anything is read."""
    left, right = pipe()
    near, far = dialler(left), dialled(right)
    sent = pattern(4096 * 200, 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        with within(what="all bytes"):
            mine = await near.open_stream()
            other = await far.accept_stream()
            nursery.start_soon(mine.write, sent)
            await until(lambda: mine.send_window == 0)
            await until(lambda: len(far.stream_buffers[1]) == DEFAULT_WINDOW_SIZE)
            assert await read_all(other, len(sent), 3000) == sent
        nursery.cancel_scope.cancel()


async def test_what_came_before_the_end_is_read_and_asks_for_nothing_more() -> None:
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        with within(what="the answer"):
            mine = await near.open_stream()
            other = await far.accept_stream()
            await mine.write(bytes(200_000))
            await mine.close()
            await until(lambda: other.recv_closed)
            assert len(await read_all(other, 200_000, 1 << 20)) == 200_000
        assert [length for flags, length in right.frames(TYPE_WINDOW_UPDATE) if not flags] == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["reset", "the connection"])
async def test_a_writer_that_waits_for_room_learns_at_once_that_there_will_be_none(
    end: str, autojump_clock: Any
) -> None:
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        mine = await near.open_stream()
        other = await far.accept_stream()
        ended = trio.Event()

        async def write() -> None:
            with pytest.raises(MuxedStreamError):
                await mine.write(bytes(1_000_000))
            ended.set()

        nursery.start_soon(write)
        while mine.send_window > 0:  # noqa: ASYNC110 (a count)
            await trio.sleep(0.01)
        began = trio.current_time()
        await (other.reset() if end == "reset" else near.close())
        await ended.wait()
        assert trio.current_time() - began < 1
        nursery.cancel_scope.cancel()


async def test_a_peer_that_never_reads_makes_a_write_fail(autojump_clock: Any) -> None:
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        mine = await near.open_stream()
        await far.accept_stream()
        with pytest.raises(MuxedStreamError, match="does not read"):
            await mine.write(bytes(1_000_000))
        nursery.cancel_scope.cancel()


# full-frames


async def test_a_full_frame_fits_one_encrypted_message() -> None:
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        with within(what="all bytes"):
            mine = await near.open_stream()
            other = await far.accept_stream()
            nursery.start_soon(mine.write, bytes(1 << 20))
            await read_all(other, 1 << 20, 1 << 20)
        assert max(map(len, left.written)) <= MAX_PLAINTEXT_LENGTH
        assert (
            len(left.frames(TYPE_DATA)) <= 21
        )  # each window is used up with one frame that is not full
        nursery.cancel_scope.cancel()


# frame-calls


async def test_a_frame_is_read_with_one_call_of_the_system() -> None:
    async with make_network() as a, make_network() as b:
        streams: list[Any] = []

        async def keep(stream: Any) -> None:
            streams.append(stream)
            await trio.sleep_forever()

        b._host.set_stream_handler(PROTOCOL, keep)
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), [PROTOCOL])
        await until(lambda: bool(streams))
        (counting,) = b._traffic.streams
        calls = []
        receive = counting.stream.receive_some

        async def count(n: int | None = None) -> Any:
            calls.append(n)
            return await receive(n)

        counting.stream.receive_some = count  # type: ignore[method-assign]
        for n in range(200):
            await stream.write(bytes([n]) * 100)
            await read_all(streams[0], 100, 100)
        assert 0 < len(calls) < 300


# flags-beside-ack, and what a peer may send


async def connected(faults: Faults, nursery: trio.Nursery) -> tuple[HardenedYamux, Pipe]:
    left, right = pipe()
    near = ours(left, faults)
    nursery.start_soon(near.start)
    await near.event_started.wait()
    return near, right


@pytest.mark.parametrize("kind", [TYPE_DATA, TYPE_WINDOW_UPDATE])
async def test_a_stream_that_its_peer_breaks_off_in_its_first_frame_is_over(kind: int) -> None:
    async with trio.open_nursery() as nursery:
        near, far = await connected(Faults(), nursery)
        with within(what="the end of the stream"):
            stream = await near.open_stream()
            await far.write(frame_header(kind, FLAG_ACK | FLAG_RST, stream.stream_id, 0))
            with pytest.raises(MuxedStreamReset):
                await stream.read(1)
        assert stream.closed
        assert near.streams == {}
        assert not near.event_shutting_down.is_set()
        nursery.cancel_scope.cancel()


async def test_a_first_frame_may_hold_everything() -> None:
    """Data, and the end of it, with the frame that opens a stream."""
    async with trio.open_nursery() as nursery:
        near, far = await connected(Faults(), nursery)
        with within(what="the data"):
            await far.write(frame_header(TYPE_DATA, FLAG_SYN | FLAG_FIN, 2, 5) + b"hello")
            stream = await near.accept_stream()
            assert await stream.read(100) == b"hello"
        assert stream.recv_closed
        assert not stream.closed
        nursery.cancel_scope.cancel()


async def test_frames_come_in_any_pieces() -> None:
    async with trio.open_nursery() as nursery:
        near, far = await connected(Faults(), nursery)
        frames = frame_header(TYPE_DATA, FLAG_SYN, 2, 5) + b"hello"
        frames += frame_header(TYPE_PING, FLAG_SYN, 0, 77)
        frames += frame_header(TYPE_DATA, 0, 2, 3) + b", y"
        frames += frame_header(TYPE_DATA, FLAG_FIN, 2, 2) + b"ou"
        for place in range(len(frames)):
            await far.write(frames[place : place + 1])
        with within(what="the data"):
            stream = await near.accept_stream()
            assert await read_all(stream, 10, 100) == b"hello, you"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("bytes_", "fault"),
    [
        (frame_header(9, 0, 1, 0), "frame-malformed"),
        (frame_header(TYPE_DATA, 0, 1, (1 << 24) + 1), "frame-malformed"),
        (frame_header(TYPE_DATA, FLAG_SYN, 2, 1000) + b"cut off", None),
    ],
    ids=["kind", "length", "cut off"],
)
async def test_what_is_no_frame_ends_the_connection(bytes_: bytes, fault: str | None) -> None:
    faults = Faults()
    async with trio.open_nursery() as nursery:
        near, far = await connected(faults, nursery)
        await far.write(bytes_)
        await far.close()
        with within(what="the end of the connection"):
            await near.event_closed.wait()
        assert faults.counts == ({fault: 1} if fault else {})


@pytest.mark.parametrize(
    "error", [RuntimeError("the tag is wrong"), IncompleteReadError("cut off"), OSError("gone")]
)
async def test_bytes_that_cannot_be_decrypted_end_the_connection_and_are_no_crash(
    error: Exception,
) -> None:
    class Broken(Pipe):
        async def read(self, n: int | None = None) -> bytes:
            raise error

    faults = Faults()
    left, _ = trio.testing.memory_stream_pair()
    muxed = ours(Broken(left, True), faults)
    with within(what="the end of the connection"):
        await muxed.start()
    assert muxed.is_closed
    assert faults.counts == {}


async def test_a_stream_whose_opening_is_cancelled_is_broken_off_at_the_peer() -> None:
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        with trio.CancelScope() as scope:
            write = left.write

            async def write_and_cancel(data: bytes) -> None:
                await write(data)
                scope.cancel()

            left.write = write_and_cancel  # type: ignore[method-assign]
            await near.open_stream()
        assert scope.cancelled_caught
        assert near.streams == {}
        with within(what="the end of the stream"):
            stream = await far.accept_stream()
            with pytest.raises(BaseLibp2pError):
                await stream.read(1)
        assert near.stream_backlog_semaphore.value == 256
        nursery.cancel_scope.cancel()


# reset-lost


async def test_a_stream_that_is_reset_while_others_write_is_reset_at_the_peer() -> None:
    """Whoever resets it has no time to wait for its turn."""
    left, right = pipe()
    near, far = ours(left), ours(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        nursery.start_soon(far.start)
        mine, other = await near.open_stream(), await near.open_stream()
        at_peer, _ = await far.accept_stream(), await far.accept_stream()
        await mine.write(b"half a question")
        write, goes_on = left.write, trio.Event()

        async def busy(data: bytes) -> None:
            await goes_on.wait()
            await write(data)

        left.write = busy  # type: ignore[method-assign]
        nursery.start_soon(other.write, b"x")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.05):
            await mine.reset()
        assert mine.stream_id not in near.streams
        goes_on.set()
        await other.write(b"y")
        with within(what="the end of the stream"):
            await until(lambda: at_peer.closed)
            with pytest.raises(MuxedStreamReset):
                await at_peer.read(100)
        assert not near.event_shutting_down.is_set()
        nursery.cancel_scope.cancel()


# silent-peer


class Speaking(Pipe):
    """Says something every three seconds of virtual time, but never answers a ping."""

    async def read(self, n: int | None = None) -> bytes:
        await trio.sleep(3)
        return frame_header(TYPE_WINDOW_UPDATE, 0, 99, 1)


async def test_a_peer_that_speaks_is_not_asked_whether_it_is_there(autojump_clock: Any) -> None:
    left, _ = trio.testing.memory_stream_pair()
    end, faults = Speaking(left, True), Faults()
    muxed = ours(end, faults)
    with trio.move_on_after(300):
        await muxed.start()
    assert not muxed.is_closed
    assert faults.counts == {}
    # To measure the round trip, once a minute and a half: no answer comes.
    assert 3 <= len(end.frames(TYPE_PING)) <= 6


async def test_a_peer_that_falls_silent_is_given_up_within_twenty_seconds(
    autojump_clock: Any,
) -> None:
    left, right = pipe()
    faults = Faults()
    near = ours(left, faults)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.start)
        for _ in range(10):
            await trio.sleep(3)
            await right.write(frame_header(TYPE_WINDOW_UPDATE, 0, 99, 1))
        silent_since = trio.current_time()
        await near.event_closed.wait()
        assert 15 <= trio.current_time() - silent_since <= 20.5
        nursery.cancel_scope.cancel()
    assert faults.counts == {"peer-silent": 1}


# gossip-write-each


def rpc(size: int) -> rpc_pb2.RPC:
    return rpc_pb2.RPC(publish=[rpc_pb2.Message(data=bytes(size))])


async def test_what_waits_is_taken_out_in_order_and_within_bounds() -> None:
    queue = BoundedRpcQueue(Faults())
    sizes = [100, 200, MAX_WRITE_BYTES - 1000, 700, 2 * MAX_WRITE_BYTES, 10]
    for size in sizes:
        assert queue.push(rpc(size))
    urgent = rpc(1)
    queue.push(urgent, priority=True)
    batches = [[len(r.publish[0].data) for r in await queue.pop_several()] for _ in range(4)]
    assert batches == [[1, 100, 200, MAX_WRITE_BYTES - 1000], [700], [2 * MAX_WRITE_BYTES], [10]]
    assert queue._bytes == 0
    assert len(queue) == 0
    queue.close()
    assert await queue.pop_several() == []


async def test_what_waits_for_a_peer_is_written_at_once() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, heard)
        await meshed(a, b)
        stream = a._pubsub.peers[id_of(b)]
        written = []
        write = stream.write

        async def count(data: bytes) -> None:
            written.append(data)
            await write(data)

        stream.write = count
        payloads = [b"%d" % n for n in range(30)]
        async with a._pubsub._write_locks.setdefault(stream, trio.Lock()):
            for payload in payloads:
                await a.publish(TOPIC, payload)
        await until(lambda: len(heard.payloads) == 30)
        assert heard.payloads == payloads
        assert len(written) < 10
        assert a.statistics().gossip_sent >= 30


# gossip-peer-record


async def test_no_record_of_our_addresses_is_made_for_a_message() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        await a.subscribe(TOPIC, Heard())
        await b.subscribe(TOPIC, heard)
        await meshed(a, b)
        asked = []
        addresses = a._host.get_addrs

        def count() -> Any:
            asked.append(1)
            return addresses()

        a._host.get_addrs = count  # type: ignore[method-assign]
        for n in range(20):
            await a.publish(TOPIC, b"%d" % n)
        await until(lambda: len(heard.payloads) == 20)
        assert len(asked) < 20
        assert await answers(b, a)
