"""One behaviour for each defect of py-libp2p whose other tests ask for more than its being gone.

Nothing here looks at our counters of faults or at our own classes' insides: a py-libp2p that is
mended passes these tests without the workaround, and `make defects` says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio
import trio.testing
from cryptography import x509
from libp2p.connection_types import ConnectionType
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.peer.peerinfo import PeerInfo
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.tls.certificate import LIBP2P_EXTENSION_OID
from libp2p.stream_muxer.yamux import yamux
from libp2p.utils.varint import encode_uvarint, encode_varint_prefixed
from libp2p_rig import (
    GOSSIP,
    TOPIC,
    Heard,
    address_of,
    answers,
    id_of,
    make_network,
    meshed,
    until,
)
from multiaddr import Multiaddr

from openfl.core.errors import RequestFailed
from openfl.network.base import PeerAddress
from openfl.network.libp2p import dht as libp2p_dht
from openfl.network.libp2p import muxer as libp2p_muxer
from openfl.network.libp2p import network as libp2p_network
from openfl.network.libp2p import swarm as libp2p_swarm
from openfl.network.libp2p.dht import DHT_PROTOCOL
from openfl.network.libp2p.envelope import generate_identity, key_pair_of
from openfl.network.libp2p.muxer import HardenedYamux
from openfl.network.libp2p.private_network import NONCE_BYTES, XSalsa20
from openfl.network.libp2p.transport import Faults
from openfl.network.libp2p.upgrading import NOISE_PROTOCOL, TLS_PROTOCOL, YamuxUpgrader
from tests.situation import within

# Gossip


async def ended(stream: NetStream) -> None:
    """Return once the peer has closed or reset the stream."""
    with within(what="the end of a stream"), contextlib.suppress(Exception):
        while await stream.read(1024):
            pass


async def test_junk_on_a_gossip_stream_does_not_end_the_node() -> None:
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.connect(address_of(victim))
        stream = await attacker._host.open_stream(id_of(victim), [GOSSIP])
        await stream.write(encode_varint_prefixed(b"\xff" * 6))
        await ended(stream)
        assert await answers(victim, attacker)


def subscription(topic: str) -> bytes:
    options = rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic)
    return encode_varint_prefixed(rpc_pb2.RPC(subscriptions=[options]).SerializeToString())


async def test_a_message_with_an_undecodable_key_does_not_end_the_node() -> None:
    unknown = b"\x12\x20" + hashlib.sha256(b"somebody").digest()
    message = rpc_pb2.Message(
        from_id=unknown,
        seqno=bytes(8),
        topicIDs=[TOPIC],
        data=b"data",
        signature=b"s" * 64,
        key=b"no key",
    )
    async with make_network() as attacker, make_network() as victim:
        await victim.subscribe(TOPIC, Heard())
        await attacker.connect(address_of(victim))
        stream = await attacker._host.open_stream(id_of(victim), [GOSSIP])
        await stream.write(subscription("before"))
        frame = rpc_pb2.RPC(publish=[message]).SerializeToString()
        await stream.write(encode_varint_prefixed(frame))
        await stream.write(subscription("after"))
        await until(lambda: "after" in victim._pubsub.peer_topics)
        assert await answers(victim, attacker)


async def test_a_frame_with_a_record_older_than_the_last_is_read() -> None:
    identity = generate_identity()
    keys = key_pair_of(identity)
    async with make_network(identity) as peer, make_network() as node:
        await peer.connect(address_of(node))
        stream = await peer._host.open_stream(id_of(node), [GOSSIP])
        for topic, number in (("newer", 2_000), ("older", 1_000)):
            record = PeerRecord(id_of(peer), [Multiaddr("/ip4/127.0.0.1/tcp/1")], seq=number)
            options = rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic)
            rpc = rpc_pb2.RPC(
                subscriptions=[options],
                senderRecord=seal_record(record, keys.private_key).marshal_envelope(),
            )
            await stream.write(encode_varint_prefixed(rpc.SerializeToString()))
        await stream.write(subscription("after"))
        await until(lambda: "after" in node._pubsub.peer_topics)
        assert "older" in node._pubsub.peer_topics


async def test_a_gossip_stream_that_could_not_be_opened_is_tried_again() -> None:
    heard = Heard()
    async with make_network() as a, make_network() as b:
        original, tries = a._pubsub._handle_new_peer, []

        async def fails_once(peer_id: ID) -> None:
            tries.append(peer_id)
            if len(tries) == 1:
                raise MultiselectClientError("the negotiation failed")
            await original(peer_id)

        a._pubsub._handle_new_peer = fails_once
        await b.subscribe(TOPIC, heard)
        await a.connect(address_of(b))
        await until(lambda: id_of(b) in a._pubsub.peers)


async def test_an_exception_in_one_heartbeat_does_not_end_the_node() -> None:
    async with make_network() as a, make_network() as b:
        original, beats = a._gossip.mesh_heartbeat, []

        def fails_once() -> Any:
            beats.append(1)
            if len(beats) == 1:
                raise KeyError("a bug")
            return original()

        a._gossip.mesh_heartbeat = fails_once
        await until(lambda: len(beats) >= 2)
        await b.connect(address_of(a))
        assert await answers(a, b)


async def test_whole_messages_are_not_kept_to_notice_equivocation() -> None:
    async with make_network() as a:
        for number in range(20):
            seqno = number.to_bytes(8, "big")
            sent = rpc_pb2.Message(from_id=b"author", seqno=seqno, data=bytes(500_000))
            assert a._gossip._check_equivocation(sent)
        kept = a._gossip.equivocation_detection.values()
        assert sum(len(getattr(message, "data", b"")) for message in kept) < 1_000_000
        changed = rpc_pb2.Message(from_id=b"author", seqno=seqno, data=b"another")
        assert not a._gossip._check_equivocation(changed)


async def test_an_author_that_restarts_at_once_is_heard() -> None:
    """More messages than seconds between the two starts."""
    identity, heard = generate_identity(), Heard()
    async with make_network() as a:
        await a.subscribe(TOPIC, heard)
        for life, messages in enumerate((600, 1)):
            async with make_network(identity) as b:
                await b.subscribe(TOPIC, Heard())
                if life == 0:
                    b._pubsub.counter += messages
                await meshed(b, a)
                await b.publish(TOPIC, b"%d" % life)
                await until(lambda: len(heard.payloads) == life + 1)  # noqa: B023
                numbers = b._pubsub.counter
            await until(lambda: not a.peers())
            if life == 0:
                first = numbers
        assert numbers > first


async def test_gossip_runs_no_thread_of_its_own() -> None:
    before = set(threading.enumerate())
    async with make_network():
        new = set(threading.enumerate()) - before
        assert not [thread for thread in new if "libp2p" in str(vars(thread).get("_target"))]
        assert not [t for t in new if not t.name.lower().startswith("trio")]


# Connections


class Endless:
    """A reader that announces a negotiation message of 1 GiB and goes on with it."""

    def __init__(self) -> None:
        self.head = encode_uvarint(1 << 30)
        self.given = 0

    async def read(self, n: int = 1) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.head:
            piece, self.head = self.head[:n], self.head[n:]
            return piece
        if self.given > 8_000_000:
            return b""
        self.given += min(n, 65_536)
        return bytes(min(n, 65_536))

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_negotiation_message_of_any_length_is_not_collected() -> None:
    YamuxUpgrader(create_new_key_pair(), True, Faults())
    reader = Endless()
    with contextlib.suppress(Exception):
        await MultiselectCommunicator(reader).read()
    assert reader.given < 1_000_000


async def test_a_network_that_is_closed_in_no_time_leaves_no_socket_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with make_network() as other:
        async with make_network() as node:
            await node.connect(address_of(other))
            sockets = [stream.stream.socket for stream in node._traffic.streams]
            assert sockets
            monkeypatch.setattr(libp2p_network, "CLOSE_SECONDS", 0.0)
        assert [socket.fileno() for socket in sockets] == [-1] * len(sockets)


async def test_an_exception_in_the_muxer_ends_that_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In its task that clears up, which is told to do so more often."""
    monkeypatch.setattr(yamux, "_STALE_STREAM_SWEEP_INTERVAL", 0.05)
    failed = []
    async with make_network() as node, make_network() as one, make_network() as other:
        await other.connect(address_of(node))
        await one.connect(address_of(node))
        await until(lambda: len(node.peers()) == 2)
        muxed = node._swarm.newest_connection(id_of(one)).muxed_conn

        def fails() -> None:
            failed.append(1)
            raise ZeroDivisionError

        muxed._sweep_stale_streams = fails
        await until(lambda: bool(failed))
        assert await answers(node, other)


async def test_what_a_peer_sends_beyond_every_window_is_not_kept(
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

        def kept() -> int:
            found = [c.muxed_conn for c in b._swarm.get_connections(id_of(a)) if not c.is_closed]
            return sum(len(data) for muxed in found for data in muxed.stream_buffers.values())

        # All that was sent has been read, or there is no connection left to read it from.
        await until(lambda: kept() >= 4_000_000 or not b.peers())
        assert kept() < 4_000_000


class Mute:
    """A secured connection that takes everything and never says anything."""

    is_initiator = True

    def __init__(self) -> None:
        self.closed = trio.Event()

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def read(self, n: int | None = None) -> bytes:
        await self.closed.wait()
        return b""

    async def close(self) -> None:
        self.closed.set()


async def test_a_connection_whose_peer_answers_no_ping_is_closed(autojump_clock: Any) -> None:
    muxed = HardenedYamux(Mute(), ID(b"p" * 34), is_initiator=True, faults=Faults())
    with trio.move_on_after(120):
        await muxed.start()
    assert muxed.is_closed


def test_libp2ps_extension_is_the_first_of_our_certificate() -> None:
    offered = YamuxUpgrader(create_new_key_pair(), True, Faults()).security_multistream.transports
    certificate = x509.load_pem_x509_certificate(
        offered[TLS_PROTOCOL].get_certificate_pem().encode()
    )
    assert next(iter(certificate.extensions)).oid == LIBP2P_EXTENSION_OID


async def test_a_private_network_begins_with_what_the_specification_says() -> None:
    """libp2p specs, pnet/Private-Networks-PSK-V1.md: a nonce of 24 bytes, then XSalsa20."""
    key, heard = bytes(range(32)), bytearray()

    async def listen(stream: trio.SocketStream) -> None:
        async for data in stream:
            heard.extend(data)

    async with make_network(network_key=key) as node, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen, [listener])
        port = listener.socket.getsockname()[1]
        somebody = make_network().peer_id
        address = PeerAddress(somebody, (f"/ip4/127.0.0.1/tcp/{port}",))
        async with trio.open_nursery() as dialling:
            dialling.start_soon(node.connect, address)
            await until(lambda: len(heard) >= NONCE_BYTES + 20)
            dialling.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    plain = XSalsa20(key, bytes(heard[:NONCE_BYTES])).apply(bytes(heard[NONCE_BYTES:]))
    assert plain.startswith(b"\x13/multistream/1.0.0\n")


async def test_every_address_of_a_peer_is_tried() -> None:
    async with make_network() as a, make_network() as b:
        gone = make_unused_address()
        await a.connect(PeerAddress(b.peer_id, (gone, *address_of(b).multiaddrs)))
        assert await answers(b, a)


def make_unused_address() -> str:
    """An address of this machine where nothing listens: discard, below what anybody is given."""
    return "/ip4/127.0.0.1/tcp/9"


async def test_a_peer_that_could_not_be_reached_is_dialled_at_its_new_address() -> None:
    async with make_network() as a, make_network() as b:
        with pytest.raises(RequestFailed):
            await a.connect(PeerAddress(b.peer_id, (make_unused_address(),)))
        await a.connect(address_of(b))
        assert await answers(b, a)


async def test_dialling_an_address_where_nobody_speaks_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_swarm, "UPGRADE_TIMEOUT_SECONDS", 0.2)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with listener, make_network() as a:
        silent = PeerAddress(make_network().peer_id, (f"/ip4/127.0.0.1/tcp/{port}",))
        with within(what="the end of a dial"), pytest.raises(RequestFailed):
            await a.connect(silent)


async def test_an_exception_in_a_stream_handler_does_not_end_the_node() -> None:
    async with make_network() as a, make_network() as b:

        async def buggy(stream: Any) -> None:
            await stream.read(1)
            raise ZeroDivisionError

        b._host.set_stream_handler("/buggy/1", buggy)
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), ["/buggy/1"])
        await stream.write(b"x")
        await ended(stream)
        assert await answers(b, a)


async def test_an_identify_message_of_half_a_megabyte_is_not_taken() -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), ["/ipfs/id/push/1.0.0"])
        large = Identify(protocols=["/marker/1"], agent_version="x" * 500_000)
        with contextlib.suppress(Exception):
            await stream.write(encode_varint_prefixed(large.SerializeToString()))
            await stream.close_write()
        await ended(stream)
        assert "/marker/1" not in b._host.get_peerstore().get_protocols(id_of(a))


# The DHT and the peer store


def provider(number: int) -> PeerInfo:
    return PeerInfo(ID(number.to_bytes(34, "big")), [Multiaddr("/ip4/127.0.0.1/tcp/1")])


async def test_a_key_with_twenty_providers_takes_a_newer_one() -> None:
    async with make_network() as a:
        store = a._dht.provider_store
        for number in range(1, 22):
            store.add_provider(b"key", provider(number))
        assert provider(21).peer_id in [info.peer_id for info in store.get_providers(b"key")]


async def test_a_lookup_asks_the_network_whatever_is_known_here() -> None:
    key = b"k" * 32
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        await until(lambda: a._dht.routing_table.peer_in_table(id_of(b)))
        a._dht.provider_store.add_provider(multihash(key), provider(1))
        b._dht.provider_store.add_provider(multihash(key), provider(2))
        found = {peer.peer_id for peer in await a.find_providers(key)}
        assert str(provider(2).peer_id) in found


def multihash(digest: bytes) -> bytes:
    return libp2p_dht.multihash(digest)


async def ask_the_dht(asker: Any, node: Any) -> bool:
    """Whether the node answers a query."""
    stream = await asker._host.open_stream(id_of(node), [DHT_PROTOCOL])
    query = Message(type=Message.MessageType.GET_PROVIDERS, key=multihash(b"k" * 32))
    with within(what="an answer of the DHT"):
        try:
            await stream.write(encode_varint_prefixed(query.SerializeToString()))
            return bool(await stream.read(1024))
        except Exception:
            return False


async def test_a_dht_with_twenty_silent_streams_still_answers() -> None:
    """As when eight nodes start together: each has some, and none more than it may."""
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(make_network())
        others = [await stack.enter_async_context(make_network()) for _ in range(4)]
        for other in others:
            await other.connect(address_of(node))
            for _ in range(5):
                await other._host.open_stream(id_of(node), [DHT_PROTOCOL])
        asker = await stack.enter_async_context(make_network())
        await asker.connect(address_of(node))
        assert await ask_the_dht(asker, node)


async def test_a_dht_stream_without_a_query_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libp2p_dht, "QUERY_STREAM_SECONDS", 0.2)
    async with make_network() as a, make_network() as b:
        await a.connect(address_of(b))
        stream = await a._host.open_stream(id_of(b), [DHT_PROTOCOL])
        await ended(stream)


async def test_the_addresses_of_a_peer_do_not_grow_without_end() -> None:
    async with make_network() as a:
        somebody = provider(1).peer_id
        for batch in range(3):
            ports = range(1 + 600 * batch, 601 + 600 * batch)
            told = [Multiaddr(f"/ip4/127.0.0.1/tcp/{port}") for port in ports]
            a._swarm.peerstore.add_addrs(somebody, told, 3600)
        assert len(a._swarm.peerstore.addrs(somebody)) <= 1000


async def test_a_node_that_heard_of_thousands_keeps_its_own_keys() -> None:
    async with make_network() as a:
        for number in range(1, 1300):
            made_up = provider(number)
            a._swarm.peerstore.add_addrs(made_up.peer_id, made_up.addrs, 3600)
            a._swarm.peerstore._enforce_peer_limit()
        assert len(a._swarm.peerstore.peer_data_map) <= 1100
        assert a._swarm.peerstore.privkey(id_of(a)) is not None


# The process


WARN = """
from tests.without_workaround import take_away_what_is_asked_for
take_away_what_is_asked_for()
import logging
from openfl.network.libp2p.logs import quieten_logging
quieten_logging()
logging.getLogger("libp2p.kad_dht").warning("something of interest")
"""


def test_a_warning_of_libp2p_does_not_reach_the_terminal() -> None:
    """In an interpreter of its own: pytest listens to all loggers of this one."""
    done = subprocess.run([sys.executable, "-c", WARN], capture_output=True, text=True, check=True)
    assert "something of interest" not in done.stderr + done.stdout


async def test_nothing_is_logged_at_the_root(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with make_network() as a, make_network() as b:
            await a.connect(address_of(b))
            assert await answers(b, a)
    theirs = [record for record in caplog.records if "libp2p" in record.pathname]
    assert not [record.getMessage() for record in theirs if record.name == "root"]


async def test_the_normal_end_of_a_dht_stream_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warned: list[str] = []

    class Warned(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.append(record.getMessage())

    handler = Warned(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("openfl").addHandler(handler)
        try:
            async with make_network() as a, make_network() as b:
                await a.connect(address_of(b))
                stream = await a._host.open_stream(id_of(b), [DHT_PROTOCOL])
                await stream.close_write()
                await ended(stream)
        finally:
            logging.getLogger("openfl").removeHandler(handler)
    assert not [text for text in warned if "Failed to read DHT message" in text]


async def test_a_tls_connection_says_what_it_runs_over() -> None:
    async with make_network() as a, make_network() as b:
        del a._swarm.upgrader.security_multistream.transports[NOISE_PROTOCOL]
        await a.connect(address_of(b))
        await until(lambda: b._swarm.newest_connection(id_of(a)) is not None)
        for near, far in ((a, b), (b, a)):
            used = near._swarm.newest_connection(id_of(far))
            assert used.muxed_conn.get_connection_type() is ConnectionType.DIRECT
            assert [peer.relayed for peer in near.peers()] == [False]
