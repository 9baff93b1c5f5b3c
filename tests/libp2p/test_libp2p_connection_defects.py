"""Regression tests of what `transport`, `swarm`, `dht` work around."""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from cryptography import x509
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.host.autonat.pb.autonat_pb2 import Message as AutoNat
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.connection.exceptions import RawConnError
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.security.tls.certificate import LIBP2P_EXTENSION_OID, verify_certificate_chain
from libp2p.utils.varint import encode_varint_prefixed
from libp2p_rig import address_of, answers, id_of, make_network, until
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed
from openfl.network.base import PeerAddress
from openfl.network.libp2p import addresses as libp2p_addresses
from openfl.network.libp2p import dht as libp2p_dht
from openfl.network.libp2p import muxer as libp2p_muxer
from openfl.network.libp2p import swarm as libp2p_swarm
from openfl.network.libp2p.addresses import (
    PEER_ADDRESS_EXAMPLE,
    order_addresses,
    parse_peer_multiaddr,
)
from openfl.network.libp2p.dht import DHT_PROTOCOL, BoundedProviderStore
from openfl.network.libp2p.muxer import HardenedYamux
from openfl.network.libp2p.nat.reachability import AUTONAT_PROTOCOL
from openfl.network.libp2p.transport import Faults
from openfl.network.libp2p.upgrading import TLS_PROTOCOL, YamuxUpgrader
from tests.patience import PATIENCE_SECONDS
from tests.situation import within

# Security


def test_the_first_extension_of_our_certificate_is_that_of_libp2p() -> None:
    """js-libp2p looks at no other one, and refuses a TLS connection without it."""
    key_pair = create_new_key_pair()
    offered = YamuxUpgrader(key_pair, True, Faults()).security_multistream.transports
    certificate = x509.load_pem_x509_certificate(
        offered[TLS_PROTOCOL].get_certificate_pem().encode()
    )
    assert [extension.oid for extension in certificate.extensions] == [LIBP2P_EXTENSION_OID]
    assert verify_certificate_chain([certificate]) == key_pair.public_key


# Handlers


IDENTIFY = "/ipfs/id/1.0.0"


async def test_streams_that_a_peer_never_closes_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        monkeypatch.setattr(libp2p_swarm, "LINGER_SECONDS", 10 * PATIENCE_SECONDS)
        asked = [await a._host.open_stream(id_of(b), [IDENTIFY]) for _ in range(20)]
        assert b.statistics().streams >= 20
        # What it was answered has arrived, and is still there to be read.
        assert all([await stream.read(65536) for stream in asked])
        monkeypatch.setattr(libp2p_swarm, "LINGER_SECONDS", 0.2)
        for _ in range(20):
            asked.append(await a._host.open_stream(id_of(b), [IDENTIFY]))
        await until(lambda: b.statistics().streams < 30)
        assert b.statistics().faults.get("stream-refused", 0) == 0


async def test_streams_that_wait_for_their_peer_to_close_count_as_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_swarm, "LINGER_SECONDS", 10 * PATIENCE_SECONDS)
    limit = libp2p_swarm.MAX_STREAMS_PER_CONNECTION
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        asked = []
        with contextlib.suppress(Exception):  # it is thrown out in the end
            for _ in range(limit + 20):
                asked.append(await a._host.open_stream(id_of(b), [IDENTIFY]))
        assert len(asked) <= limit
        await until(lambda: b.statistics().faults.get("stream-refused", 0) > 0)


async def test_what_nobody_read_of_a_closed_stream_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_swarm, "LINGER_SECONDS", 0.5)
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        for _ in range(20):
            stream = await a._host.open_stream(id_of(b), [IDENTIFY])
            with contextlib.suppress(Exception):  # it may have been given up by now
                await stream.write(bytes(1000))
                await stream.close()
        await until(lambda: b.statistics().streams < 10)


async def test_an_exception_in_any_stream_handler_ends_that_stream_only() -> None:
    async with make_network() as a, make_network() as b:

        async def buggy(stream: Any) -> None:
            await stream.read(1)
            raise ZeroDivisionError

        b._host.set_stream_handler("/buggy/1", buggy)
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), ["/buggy/1"])
        await stream.write(b"x")
        with contextlib.suppress(Exception):
            await stream.read(1)
        await until(lambda: b.statistics().faults.get("handler-crashed") == 1)
        assert await answers(b, a)


async def test_a_peer_that_does_not_wait_for_an_answer_is_no_bug_of_ours() -> None:
    async with make_network() as a, make_network() as b:
        gone = trio.Event()
        asked: list[Any] = []

        async def answers_late(stream: Any) -> None:
            asked.append(stream)
            await gone.wait()
            await stream.write(b"too late")

        async def waits_too_long(stream: Any) -> None:
            with trio.fail_after(0):
                await stream.read()

        b._host.set_stream_handler("/late/1", answers_late)
        b._host.set_stream_handler("/slow/1", waits_too_long)
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), ["/late/1"])
        await stream.reset()
        await until(lambda: bool(asked) and asked[0].muxed_stream.closed)
        gone.set()
        await until(lambda: b.statistics().faults.get("stream-broken") == 1)
        await a._host.open_stream(id_of(b), ["/slow/1"])
        await until(lambda: b.statistics().faults.get("stream-broken") == 2)
        assert "handler-crashed" not in b.statistics().faults
        assert await answers(b, a)


async def test_whoever_asks_whether_it_is_reached_and_leaves_is_no_bug_of_ours() -> None:
    async with make_network() as a, make_network() as b:
        began, gone = trio.Event(), trio.Event()

        async def dial_back(*arguments: Any) -> bytes:
            began.set()
            await gone.wait()
            return b""

        b._reachability._dial_back = dial_back  # type: ignore[method-assign]
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), [AUTONAT_PROTOCOL])
        request = AutoNat(type=AutoNat.DIAL)
        request.dial.peer.id = id_of(a).to_bytes()
        await stream.write(encode_varint_prefixed(request.SerializeToString()))
        await began.wait()
        here = b._swarm.newest_connection(id_of(a))
        (asked,) = [s for s in here.get_streams() if s.get_protocol() == AUTONAT_PROTOCOL]
        await stream.reset()
        await until(lambda: asked.muxed_stream.closed)
        gone.set()
        await until(lambda: b.statistics().faults.get("stream-broken") == 1)
        assert "handler-crashed" not in b.statistics().faults


async def test_a_connection_has_a_bounded_number_of_open_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_swarm, "MAX_STREAMS_PER_CONNECTION", 6)
    async with make_network() as a, make_network() as b, trio.open_nursery() as nursery:

        async def slow(asker: PeerId, payload: bytes) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        b.set_handler("/slow/1", slow)
        await a.connect(address_of(b))
        refused = []

        async def ask() -> None:
            try:
                await a.request(b.peer_id, "/slow/1", b"")
            except RequestFailed as error:
                refused.append(error)

        for _ in range(12):
            nursery.start_soon(ask)
        await until(lambda: len(refused) >= 6)
        assert b.statistics().faults["stream-refused"] >= 6
        nursery.cancel_scope.cancel()


# Connections


async def test_places_of_peers_that_left_are_given_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_swarm, "MAX_HANDSHAKES", 0)
    async with make_network(max_peers=2) as a:
        for _ in range(5):
            async with make_network() as visitor:
                await visitor.connect(address_of(a))
                await until(lambda: len(a.peers()) == 1)
            await until(lambda: not a.peers())


async def test_no_more_peers_than_allowed_are_connected() -> None:
    async with make_network(max_peers=1) as a, make_network() as b, make_network() as c:
        await b.connect(address_of(a))
        with contextlib.suppress(RequestFailed):  # refused after the handshake, or in it
            await c.connect(address_of(a))
        await until(lambda: not c.peers())
        assert [peer.peer_id for peer in a.peers()] == [b.peer_id]
        with pytest.raises(RequestFailed, match="in use"):
            await a.connect(address_of(c))


async def test_one_identity_cannot_take_all_places() -> None:
    async with make_network() as a, make_network() as b:
        (address,) = address_of(b).multiaddrs
        for _ in range(5):
            raw = await a._swarm._tcp.dial(Multiaddr(address))
            await a._swarm.upgrade_outbound_raw_conn(raw, id_of(b))
        await until(lambda: len(b._swarm.get_connections(id_of(a))) <= 2)
        assert await answers(b, a)


async def test_a_connection_outlives_those_beside_it_that_are_closed_and_still_listed() -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        await until(lambda: len(b._swarm.get_connections(id_of(a))) == 1)
        listed = b._swarm.connections[id_of(a)]
        (first,) = listed
        first._created_at -= 60  # older than py-libp2p spares
        closed = [SimpleNamespace(is_closed=True, _created_at=time.time()) for _ in range(2)]
        listed.extend(closed)
        b._swarm._trim_connections(id_of(a))
        for connection in closed:
            listed.remove(connection)
        assert await answers(a, b)
        assert not first.is_closed


async def test_nobody_is_dialled_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[Any] = []

    async def dial(peer_id: ID) -> Any:
        dialled.append(peer_id)
        raise RawConnError("not here")

    async with make_network() as a, make_network() as b:
        peer = address_of(b)
        a._swarm.peerstore.add_addrs(id_of(b), [Multiaddr(text) for text in peer.multiaddrs], 3600)
        monkeypatch.setattr(a._swarm, "dial_peer", dial)
        await a._swarm.auto_connector.maybe_connect()
        await trio.testing.wait_all_tasks_blocked()
        assert dialled == []


class FakeConnection:
    """A secured connection whose writes stop half-way for a moment, and that never receives."""

    is_initiator = True

    def __init__(self) -> None:
        self.written = b""
        self.closed = trio.Event()
        self.pause_seconds = 0.05

    async def write(self, data: bytes) -> None:
        self.written += data[: len(data) // 2]
        await trio.sleep(self.pause_seconds)
        self.written += data[len(data) // 2 :]

    async def read(self, n: int | None = None) -> bytes:
        await self.closed.wait()
        return b""

    async def close(self) -> None:
        self.closed.set()


async def test_a_cancelled_write_leaves_no_half_frame(autojump_clock: Any) -> None:
    connection = FakeConnection()
    yamux = HardenedYamux(connection, ID(b"p" * 34), is_initiator=True, faults=Faults())
    with trio.move_on_after(0.01) as scope:
        await yamux._write_frame(b"0123456789")
    assert scope.cancelled_caught
    assert connection.written == b"0123456789"


async def test_a_peer_that_stops_reading_loses_its_connection(autojump_clock: Any) -> None:
    connection = FakeConnection()
    connection.pause_seconds = 60
    yamux = HardenedYamux(connection, ID(b"p" * 34), is_initiator=True, faults=Faults())
    with pytest.raises(RawConnError):
        await yamux._write_frame(b"0123456789")
    assert connection.closed.is_set()


async def test_a_peer_that_answers_no_ping_loses_its_connection(autojump_clock: Any) -> None:
    faults = Faults()
    yamux = HardenedYamux(FakeConnection(), ID(b"p" * 34), is_initiator=True, faults=faults)
    with trio.fail_after(60):
        await yamux.start()
    assert yamux.is_closed
    assert faults.counts == {"peer-silent": 1}


async def test_a_peer_that_ignores_flow_control_loses_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_muxer, "MAX_BUFFERED_BYTES_PER_CONNECTION", 1_000_000)
    async with make_network() as a, make_network() as b:

        async def never_reads(stream: Any) -> None:
            await trio.sleep_forever()

        b._host.set_stream_handler("/never-reads/1", never_reads)
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), ["/never-reads/1"])
        stream.muxed_stream.send_window = 2**31  # the attacker's own book-keeping
        with contextlib.suppress(Exception):
            await stream.write(bytes(4_000_000))
        await until(lambda: b.statistics().faults.get("window-exceeded", 0) >= 1)
        await until(lambda: not b.peers())


async def negotiate(port: int, protocol: bytes) -> bytes:
    """The listener's answer to a proposed secure channel (multistream-select 1.0.0)."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(b"\x13/multistream/1.0.0\n")
        await stream.send_all(bytes([len(protocol) + 1]) + protocol + b"\n")
        received = b""
        with within():
            while received.count(b"\n") < 2:
                received += await stream.receive_some(1024)
        return received.split(b"\n")[1][1:]


@pytest.mark.parametrize(
    ("protocol", "tls", "accepted"),
    [
        (b"/noise", True, True),
        (b"/tls/1.0.0", True, True),
        (b"/tls/1.0.0", False, False),
        (b"/plaintext/2.0.0", True, False),
        (b"/secio/1.0.0", True, False),
    ],
)
async def test_only_authenticated_encryption_is_accepted(
    protocol: bytes, tls: bool, accepted: bool
) -> None:
    async with make_network(tls=tls) as a:
        port = int(a.multiaddrs[0].split("/")[4])
        answer = await negotiate(port, protocol)
        assert answer == (protocol if accepted else b"na")


async def test_a_node_without_tls_and_one_with_it_understand_each_other() -> None:
    async with make_network(tls=False) as a, make_network(tls=True) as b:
        await a.connect(address_of(b))
        assert await answers(b, a)


async def test_closing_leaves_no_thread_and_no_open_port() -> None:
    before = set(threading.enumerate())
    async with make_network() as a, make_network() as b:
        port = int(a.multiaddrs[0].split("/")[4])
        await b.connect(address_of(a))
    # Fewer is fine: idle workers of trio end by themselves.
    assert set(threading.enumerate()) <= before
    with pytest.raises(OSError, match="all attempts"):
        await trio.open_tcp_stream("127.0.0.1", port)


# Listening and addresses


async def test_a_port_in_use_is_named() -> None:
    async with make_network() as a:
        address = a.multiaddrs[0].partition("/p2p/")[0]
        with pytest.raises(NetworkError, match=rf"{address}: the port is in use"):
            async with make_network(listen=(address,)):
                pass


async def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(NetworkError, match=r"192\.0\.2\.1.*no such address"):
        async with make_network(listen=("/ip4/192.0.2.1/tcp/0",)):
            pass


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1",
        "/ip4/1.2.3/tcp/1",
        "/ip4/127.0.0.1/udp/1/quic-v1",
        "/ip4/127.0.0.1/tcp/99999",
        "/ip4/127.0.0.1/tcp/0/ws",
    ],
)
async def test_a_malformed_listen_address_is_named(address: str) -> None:
    with pytest.raises(NetworkError, match="cannot listen on") as caught:
        make_network(listen=(address,))
    assert repr(address) in str(caught.value)


async def test_listening_everywhere_lists_addresses_that_can_be_dialled() -> None:
    async with make_network(listen=("/ip4/0.0.0.0/tcp/0",)) as a:
        port = a.multiaddrs[0].split("/")[4]
        assert a.multiaddrs[0] == f"/ip4/127.0.0.1/tcp/{port}/p2p/{a.peer_id}"
        assert not any("0.0.0.0" in address for address in a.multiaddrs)


async def test_announced_addresses_replace_those_we_listen_on() -> None:
    async with make_network(announce=("/ip4/192.0.2.7/tcp/4001",)) as a:
        assert a.multiaddrs == (f"/ip4/192.0.2.7/tcp/4001/p2p/{a.peer_id}",)
    with pytest.raises(NetworkError, match="cannot announce 'nonsense'"):
        make_network(announce=("nonsense",))


def test_a_peer_address_is_parsed() -> None:
    assert parse_peer_multiaddr(PEER_ADDRESS_EXAMPLE) == PeerAddress(
        PeerId("12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"),
        ("/ip4/192.0.2.7/tcp/4001",),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.7:4001", "must begin with"),
        ("/ip4/192.0.2.7/tcp/4001", "/p2p/<peer id> is missing"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/", "is not a peer id"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW", "is not a peer id"),
        (PEER_ADDRESS_EXAMPLE.replace("192.0.2.7", "1.2.3"), "not a multiaddr"),
        (PEER_ADDRESS_EXAMPLE.replace("/tcp/4001", "/udp/4001/quic-v1"), "not a TCP address"),
        (PEER_ADDRESS_EXAMPLE.replace("/tcp/4001", "/tcp/0"), "not a TCP address"),
    ],
)
def test_a_malformed_peer_address_says_what_is_wrong_and_gives_an_example(
    text: str, why: str
) -> None:
    with pytest.raises(NetworkError, match=why) as caught:
        parse_peer_multiaddr(text)
    assert PEER_ADDRESS_EXAMPLE in str(caught.value)


def test_addresses_are_dialled_in_a_sensible_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_addresses, "interface_addresses", lambda: ("127.0.0.1", "10.0.0.5"))
    local, lan, public = "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.9/tcp/1", "/ip4/192.0.2.7/tcp/1"
    useless = ["/ip4/1.2.3.4/udp/1", "nonsense", "/ip4/1.2.3.4/tcp/0"]
    assert order_addresses([local, lan, *useless, "/dns4/example.org/tcp/1"]) == [
        "/dns4/example.org/tcp/1", lan, local,
    ]  # fmt: skip
    same_machine = "/ip4/10.0.0.5/tcp/1"
    assert order_addresses([same_machine, local, local + "/p2p/x"]) == [local, same_machine]
    assert order_addresses([public]) == [public]


async def test_dialling_a_silent_listener_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_swarm, "UPGRADE_TIMEOUT_SECONDS", 0.2)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener, make_network() as a, make_network() as b:
        silent = f"/ip4/127.0.0.1/tcp/{port}"
        shake_hands = a._swarm.upgrade_outbound_raw_conn

        async def with_the_next_as_long_as_it_takes(*arguments: Any) -> Any:
            monkeypatch.setattr(libp2p_swarm, "UPGRADE_TIMEOUT_SECONDS", PATIENCE_SECONDS)
            return await shake_hands(*arguments)

        with pytest.raises(RequestFailed, match=f"{silent}: no answer in time"):
            await a.connect(PeerAddress(b.peer_id, (silent,)))
        # Nor is the peer blocked for a minute afterwards, as with py-libp2p's own dialler.
        monkeypatch.setattr(
            a._swarm, "upgrade_outbound_raw_conn", with_the_next_as_long_as_it_takes
        )
        await a.connect(PeerAddress(b.peer_id, (silent, *address_of(b).multiaddrs)))


# The DHT


async def test_our_dht_is_not_the_public_one() -> None:
    async with make_network() as a:
        spoken = set(a._host.get_mux().get_protocols())
        assert DHT_PROTOCOL in spoken
        assert "/ipfs/kad/1.0.0" not in spoken


async def test_a_peer_that_dialled_us_enters_the_routing_table() -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        await until(lambda: b._dht.routing_table.peer_in_table(id_of(a)))
        await until(lambda: a._dht.routing_table.peer_in_table(id_of(b)))


async def test_values_of_strangers_are_not_stored() -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        request = Message(type=Message.MessageType.PUT_VALUE, key=b"/x/key")
        request.record.key = b"/x/key"
        request.record.value = bytes(1000)
        for key in (b"/x/key", b"plain"):
            request.key = request.record.key = key
            stream = await a._host.open_stream(id_of(b), [DHT_PROTOCOL])
            await stream.write(encode_varint_prefixed(request.SerializeToString()))
            with contextlib.suppress(Exception):
                await stream.read(1)
        assert b._dht.get_value_store_size() == 0


@pytest.mark.parametrize("junk", [b"\xff" * 6, b"\x01\xff", b"\x80" * 12])
async def test_junk_on_a_dht_stream_is_survived(junk: bytes) -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), [DHT_PROTOCOL])
        await stream.write(junk)
        await stream.close_write()
        with contextlib.suppress(Exception):
            await stream.read(1)
        assert await answers(b, a)


def provider(number: int, addresses: int = 1) -> PeerInfo:
    return PeerInfo(
        ID(number.to_bytes(34, "big")),
        [Multiaddr(f"/ip4/127.0.0.1/tcp/{n + 1}") for n in range(addresses)],
    )


async def test_provider_records_are_bounded_and_the_oldest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_dht, "MAX_PROVIDERS_PER_KEY", 25)
    monkeypatch.setattr(libp2p_dht, "MAX_PROVIDER_KEYS", 10)
    async with make_network() as a:
        store = a._dht.provider_store
        assert isinstance(store, BoundedProviderStore)
        for number in range(30):  # the original takes 20 and refuses the rest for two days
            store.add_provider(b"key", provider(number, addresses=100))
        known = {
            int.from_bytes(info.peer_id.to_bytes(), "big") for info in store.get_providers(b"key")
        }
        assert known == set(range(5, 30))
        assert max(len(info.addrs) for info in store.get_providers(b"key")) == 16
        for number in range(50):
            store.add_provider(b"%d" % number, provider(1))
        assert len(store.providers) == 10
        assert b"49" in store.providers


async def test_an_address_that_answers_is_not_kept_waiting_by_any_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes some 10 ms on loopback; py-libp2p's dialler first waits for 250."""
    monkeypatch.setattr(libp2p_swarm, "DIAL_STAGGER_SECONDS", 10 * PATIENCE_SECONDS)
    async with make_network() as a, make_network() as b:
        with within():
            await a.connect(address_of(b))


async def test_a_node_that_only_dials_has_no_address_and_is_no_provider() -> None:
    async with make_network(listen=()) as light, make_network() as a, make_network() as b:
        assert light.multiaddrs == ()
        await light.connect(address_of(a))
        await b.connect(address_of(a))
        await a.provide(b"k" * 32)
        await light.provide(b"k" * 32)
        assert await answers(a, light)
        found: tuple[PeerAddress, ...] = ()
        with within():
            while not found:
                found = await b.find_providers(b"k" * 32)
        assert found == (address_of(a),)
        assert await light.find_providers(b"k" * 32) == (address_of(a),)


@pytest.mark.parametrize("other_left", [True, False])
async def test_a_request_whose_connection_is_closed_goes_on_over_the_other_one(
    other_left: bool,
) -> None:
    """Two peers that dial each other at once have two connections, of which one may be closed."""
    async with make_network() as a, make_network() as b:
        asked = 0

        async def close_its_connection_once(asker: PeerId, payload: bytes) -> bytes:
            nonlocal asked
            asked += 1
            if asked == 1:
                newest = b._swarm.newest_connection(id_of(a))
                await b._swarm._close_connection_async(newest)
                await trio.sleep_forever()
            return payload

        b.set_handler("/test-close/1", close_its_connection_once)
        (address,) = address_of(b).multiaddrs
        for count in range(1 + other_left):
            raw = await a._swarm._tcp.dial(Multiaddr(address))
            await a._swarm.upgrade_outbound_raw_conn(raw, id_of(b))
            await until(lambda count=count: len(b._swarm.get_connections(id_of(a))) == count + 1)
        with within():
            if other_left:
                assert await a.request(b.peer_id, "/test-close/1", b"?") == b"?"
                assert asked == 2
            else:
                with pytest.raises(RequestFailed):
                    await a.request(b.peer_id, "/test-close/1", b"?")
                assert asked == 1
