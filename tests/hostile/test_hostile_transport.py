"""Attacks below our own protocol: sockets, handshakes, Yamux, identify. No membership is needed."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from hostile_rig import (
    PATIENCE_SECONDS,
    PLACES,
    Victim,
    attacker,
    make_network,
    mouth,
    offend,
    reset_or_ended,
    seen,
    seen_connected,
    thrown_out,
    until,
)
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_DATA, TYPE_WINDOW_UPDATE
from libp2p.utils.varint import encode_uvarint, encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.core.errors import RequestFailed
from openfl.network.libp2p.gossip.queues import MAX_RPC_BYTES
from openfl.wire import messages as wire
from tests.situation import within

MULTISTREAM = b"\x13/multistream/1.0.0\n"


@contextlib.contextmanager
def sockets(victim: Victim, count: int, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Bare TCP connections to the victim."""
    with contextlib.ExitStack() as stack:
        links = []
        for _ in range(count):
            link = stack.enter_context(socket.socket())
            link.settimeout(PATIENCE_SECONDS)
            link.bind((source, 0))
            link.connect(("127.0.0.1", victim.port))
            links.append(link)
        yield links


def closed(link: socket.socket) -> bool:
    """Whether the other side has closed; what it said before is thrown away."""
    link.setblocking(False)
    try:
        while link.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


HANDSHAKES = {
    "zeros": b"\x00" * 4096,
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown protocols": MULTISTREAM + b"\x0b/plaintext\xff\n" * 50,
    "noise with junk": MULTISTREAM + b"\x07/noise\n" + b"\xff\xff" + b"\x41" * 65535,
    "an empty noise message": MULTISTREAM + b"\x07/noise\n\x00\x00",
    "a length without end": b"\xff" * 64,
    "half a word, and then nothing": MULTISTREAM[:5],
    "nothing": b"",
}


def test_handshakes_of_junk_or_silence_are_given_up(victim: Victim) -> None:
    with sockets(victim, len(HANDSHAKES)) as links:
        for link, junk in zip(links, HANDSHAKES.values(), strict=True):
            with contextlib.suppress(OSError):  # closed while we still talk
                link.sendall(junk)
        for link, name in zip(links, HANDSHAKES, strict=True):
            until(lambda link=link: closed(link), f"an end of {name}")
    until(lambda: victim.faults("handshake-refused") >= len(HANDSHAKES), "the count")


def test_a_negotiation_message_of_a_gigabyte_is_not_collected(victim: Victim) -> None:
    """It takes what the sockets hold and no more, however long it is given to."""
    with sockets(victim, 1) as (link,):
        link.settimeout(PATIENCE_SECONDS)
        link.sendall(MULTISTREAM + encode_uvarint(1 << 30))
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                sent += link.send(bytes(1 << 18))
        assert sent < 16 << 20


async def test_a_flood_of_connections_takes_no_files_and_no_place_from_others(
    victim: Victim,
) -> None:
    files = victim.files()
    with sockets(victim, 300, "127.0.0.66") as links:
        await seen(lambda: sum(map(closed, links)) >= 250, "refusals")
        assert victim.files() - files <= 40
        # While those that got in still hold their places:
        async with attacker(victim) as honest:
            await seen(lambda: honest.peer_id in victim.connected(), "somebody else's connection")
    await seen(lambda: victim.faults("connection-flood") >= 250, "the count")
    await seen(lambda: victim.files() - files <= 10, "closed files")


async def test_many_identities_of_one_address_leave_places_for_others(victim: Victim) -> None:
    """Sybils from one address get at most half of the places."""
    async with trio.open_nursery() as nursery:

        async def sybil(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            async with make_network(listen=()) as network:
                with contextlib.suppress(RequestFailed):
                    await network.connect(victim.address)
                task_status.started()
                await trio.sleep_forever()

        # One after another: a flood of handshakes is another case.
        with within():
            while not victim.faults("address-full"):
                await nursery.start(sybil)
        assert len(victim.connected()) <= PLACES // 2 + 1
        nursery.cancel_scope.cancel()
    await seen(lambda: len(victim.connected()) < 5, "an end of it")


# --- Yamux ----------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, length: int) -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length)


async def test_data_beyond_the_window_ends_the_connection(victim: Victim) -> None:
    """Sixty windows of 4 MiB, of which the node must not keep more than `MOST_MIB` together."""
    async with attacker(victim) as network:
        mux = network._swarm.newest_connection(victim.id).muxed_conn
        first = mux.next_stream_id
        with trio.move_on_after(PATIENCE_SECONDS), contextlib.suppress(Exception):
            for number in range(60):
                # Never read: nobody handles a stream that negotiates nothing.
                head = frame(TYPE_DATA, FLAG_SYN, first + 2 * number, 4 << 20)
                await mux._write_frame(head + bytes(4 << 20))
        await seen(lambda: victim.faults("window-exceeded") > 0, "the count")
        with within():
            while network.peers():  # noqa: ASYNC110
                await trio.sleep(0.05)


async def test_a_flood_of_streams_is_bounded(victim: Victim) -> None:
    before = victim.rss_mib()
    async with attacker(victim) as network:
        mux = network._swarm.newest_connection(victim.id).muxed_conn
        first = mux.next_stream_id
        with trio.move_on_after(PATIENCE_SECONDS), contextlib.suppress(Exception):
            for number in range(8000):
                await mux._write_frame(frame(TYPE_DATA, FLAG_SYN, first + 2 * number, 1) + b"\x13")
        await seen(lambda: victim.faults("stream-refused") >= 8, "refusals")
        await thrown_out(network, victim)
    assert victim.rss_mib() - before < 60


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(struct.pack(">BBHII", 7, 9, 0xFFFF, 1, 12), id="unknown-version-and-kind"),
        pytest.param(frame(TYPE_DATA, 0, 99_999, 16) + bytes(16), id="data-without-stream"),
        pytest.param(frame(TYPE_DATA, FLAG_SYN, 77_777, 0xFFFFFFFF), id="four-gigabytes"),
        pytest.param(frame(TYPE_WINDOW_UPDATE, 0, 0, 0xFFFFFFFF) * 1000, id="windows-of-nothing"),
        pytest.param(frame(3, 0, 0, 12345), id="go-away-for-no-reason"),
    ],
)
async def test_strange_yamux_frames_harm_that_connection_only(
    victim: Victim, frames: bytes
) -> None:
    async with attacker(victim) as network:
        mux = network._swarm.newest_connection(victim.id).muxed_conn
        with contextlib.suppress(Exception):
            await mux._write_frame(frames)
        # Answered after it has read the frames, if it has not closed the connection.
        with contextlib.suppress(RequestFailed):
            await network.request(
                victim.address.peer_id, wire.GROUPS_PROTOCOL, wire.encode_groups_request()
            )


# --- identify -------------------------------------------------------------------------------------


async def test_an_identity_with_a_hundred_thousand_addresses_is_trimmed(victim: Victim) -> None:
    async with attacker(victim) as network:
        for round_number in range(20):
            pushed = Identify(
                listen_addrs=[
                    Multiaddr(f"/ip4/10.{round_number}.{n // 250}.{n % 250}/tcp/1").to_bytes()
                    for n in range(1000)
                ],
                protocols=[f"/made-up/{round_number}/{n}" for n in range(1000)],
            )
            stream = await network._host.open_stream(victim.id, ["/ipfs/id/push/1.0.0"])
            with contextlib.suppress(Exception):
                await stream.write(encode_varint_prefixed(pushed.SerializeToString()))
                await stream.close_write()
            await reset_or_ended(stream)
        (me,) = [p for p in victim.status()["peers"] if p["peer_id"] == network.peer_id]
        assert 0 < len(me["multiaddrs"]) <= 16


@pytest.mark.parametrize("length", [MAX_RPC_BYTES + 1, (1 << 35) - 1, 1 << 40])
async def test_a_gossip_frame_that_declares_too_much_is_given_up(
    victim: Victim, length: int
) -> None:
    async with attacker(victim) as network:
        gossip = (await mouth(network, victim)).stream
        await gossip.write(encode_uvarint(length))
        await reset_or_ended(gossip)
    await seen(lambda: victim.faults("gossip-malformed") > 0, "the count")


PUSHES = {
    "junk": b"\x14" + b"\xff" * 20,
    "a-length-without-end": b"\xff" * 20,
    "a-terabyte": encode_uvarint(1 << 40),
    "more-than-allowed": encode_uvarint(1 << 20) + bytes(1 << 17),
}


@pytest.mark.parametrize("junk", PUSHES.values(), ids=PUSHES)
async def test_identities_of_junk_are_refused_and_their_sender_thrown_out(
    victim: Victim, junk: bytes
) -> None:
    async with attacker(victim) as network:

        async def push() -> None:
            stream = await network._host.open_stream(victim.id, ["/ipfs/id/push/1.0.0"])
            await stream.write(junk)

        await offend(network, victim, push)
    assert victim.faults("identify-malformed") >= 8


async def test_peers_that_give_no_identity_when_asked_are_given_up(victim: Victim) -> None:
    """Junk, cut off, too long, and a silence that lasts until the node's patience ends."""
    lies = (b"\x14" + b"\xff" * 20, b"\x64ab", encode_uvarint(1 << 40) + bytes(1 << 20), None)
    async with contextlib.AsyncExitStack() as stack:
        for lie in lies:
            network = await stack.enter_async_context(make_network(listen=()))

            async def tell(stream: Any, lie: bytes | None = lie) -> None:
                if lie is None:
                    await trio.sleep_forever()
                await stream.write(lie)
                await stream.close()

            network._host.set_stream_handler("/ipfs/id/1.0.0", tell)
            await seen_connected(network, victim)
        await seen(lambda: victim.faults("identify-failed") >= len(lies), "four counts")
