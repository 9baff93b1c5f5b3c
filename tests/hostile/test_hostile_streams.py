"""Attacks by requests and answers: our own protocols, the DHT, and the control socket."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing
from hostile_rig import (
    PATIENCE_SECONDS,
    Victim,
    attacker,
    make_network,
    offend,
    reset_or_ended,
    seen,
    until,
)
from libp2p.host import ping
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.kad_dht.utils import sort_peer_ids_by_distance
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId
from openfl.network.base import PeerAddress
from openfl.network.libp2p import dht as libp2p_dht
from openfl.network.libp2p import identify as libp2p_identify
from openfl.network.libp2p import request_response as libp2p_requests
from openfl.network.libp2p import swarm as libp2p_swarm
from openfl.network.libp2p.envelope import (
    generate_identity,
    identity_from_seed,
    peer_id_of,
)
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.network.libp2p.request_response import MAX_REQUESTS_PER_PEER
from openfl.wire import messages as wire
from openfl.wire.names import group_key
from tests.situation import within

OURS = (
    wire.SNAPSHOT_PROTOCOL,
    wire.SUMMARY_PROTOCOL,
    wire.PULL_PROTOCOL,
    wire.GROUPS_PROTOCOL,
    "/openfl/peers/1",
)


@pytest.mark.parametrize("protocol", OURS)
async def test_requests_of_junk_are_counted_and_end_in_refusal(
    victim: Victim, protocol: str
) -> None:
    async with attacker(victim) as network:
        lies = itertools.cycle((b"", b"\xff" * 40, b"\xa0" * 3, b"\x80" * 100))

        async def ask() -> None:
            await network.request(victim.address.peer_id, protocol, next(lies))

        await offend(network, victim, ask)
    assert victim.faults("request-refused") >= 8


@pytest.mark.parametrize("protocol", OURS)
@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        pytest.param(struct.pack(">I", (1 << 32) - 1), "request-too-large", id="four-gigabytes"),
        pytest.param(struct.pack(">I", 100) + b"x", "request-broken", id="cut-off"),
    ],
)
async def test_a_request_of_a_false_length_costs_its_stream(
    victim: Victim, protocol: str, frame: bytes, fault: str
) -> None:
    async with attacker(victim) as network:
        stream = await network._host.open_stream(victim.id, [protocol])
        await stream.write(frame)
        await stream.close_write()
        await reset_or_ended(stream)
    await seen(lambda: victim.faults(fault) == 1, "the count")


KAD, PUSH, PING = "/openfl/kad/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"
BEGUN: dict[str, bytes] = {
    **dict.fromkeys(OURS, struct.pack(">I", 1000) + b"\xa4"),
    KAD: b"\x90\x4e\x0a",
    PUSH: b"\x90\x4e\x0a",
    PING: b"x" * 8,
}
"""Of each protocol a frame that never goes on. (Of gossip, see
`test_gossip_frames_that_are_never_completed_fill_no_memory`.)"""


def patience_with_frames(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """How long nodes of this process wait for the rest of one."""
    monkeypatch.setattr(libp2p_requests, "REQUEST_READ_SECONDS", seconds)
    monkeypatch.setattr(libp2p_identify, "PUSH_SECONDS", seconds)
    monkeypatch.setattr(libp2p_dht, "QUERY_STREAM_SECONDS", seconds)
    monkeypatch.setattr(ping, "RESP_TIMEOUT", seconds)
    monkeypatch.setattr(libp2p_swarm, "LINGER_SECONDS", seconds)


def answering_node() -> Libp2pNetwork:
    """In this process, so that its patience can be set."""

    async def answer(peer: PeerId, request: bytes) -> bytes:
        return request

    node = make_network()
    for protocol in OURS:
        node.set_handler(protocol, answer)
    return node


async def begin_frames(network: Libp2pNetwork, node: Libp2pNetwork) -> dict[str, Any]:
    """One stream of each protocol, of some five, on which a frame is begun."""
    streams: dict[str, Any] = {}
    for protocol in (*BEGUN, *OURS * 4, *(KAD,) * 4):
        stream = await network._host.open_stream(ID.from_base58(node.peer_id), [protocol])
        with contextlib.suppress(Exception):  # given up already
            await stream.write(BEGUN[protocol])
        streams.setdefault(protocol, stream)
    return streams


async def test_frames_that_drip_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    patience_with_frames(monkeypatch, 10 * PATIENCE_SECONDS)  # as long as the test takes
    async with answering_node() as node, make_network() as network, make_network() as honest:
        for other in (network, honest):
            await other.connect(address_of(node))
        await begin_frames(network, node)
        with within():
            for protocol in OURS:
                assert await honest.request(node.peer_id, protocol, b"?") == b"?"
        assert await asked_providers(honest, node.peer_id, bytes(34)) == []


async def test_frames_that_drip_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    patience_with_frames(monkeypatch, 0.5)
    async with answering_node() as node, make_network() as network:
        await network.connect(address_of(node))
        for stream in (await begin_frames(network, node)).values():
            await reset_or_ended(stream)

        def counted() -> bool:
            faults = node.statistics().faults
            return (
                faults.get("request-broken", 0) >= len(OURS)
                and faults.get("identify-broken", 0) > 0
                and faults.get("dht-slow", 0) > 0
            )

        await seen(counted, "the counts")


async def test_only_a_few_answers_are_made_for_one_peer_at_once() -> None:
    """Each is kept in memory until it is read. Others are not held up."""
    answering = 0

    async def answer(peer: PeerId, request: bytes) -> bytes:
        nonlocal answering
        if peer == other.peer_id:
            answering += 1
            await trio.sleep_forever()
        return bytes(1 << 10)

    async with make_network() as node, make_network() as other, make_network() as honest:
        node.set_handler("/test/1", answer)
        for network in (other, honest):
            await network.connect(address_of(node))
        victim = ID.from_base58(node.peer_id)
        for _ in range(60):
            stream = await other._host.open_stream(victim, ["/test/1"])
            await stream.write(struct.pack(">I", 1) + b"x")
        with within():
            assert await honest.request(node.peer_id, "/test/1", b"x") == bytes(1 << 10)
        await seen(lambda: answering >= MAX_REQUESTS_PER_PEER, "as many answers as may be made")
        await trio.testing.wait_all_tasks_blocked()
        assert answering == MAX_REQUESTS_PER_PEER


# --- the DHT --------------------------------------------------------------------------------------


async def test_dht_streams_of_one_peer_that_say_nothing_leave_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience_with_frames(monkeypatch, 10 * PATIENCE_SECONDS)  # as long as the test takes
    async with make_network() as node, make_network() as network, make_network() as honest:
        for other in (network, honest):
            await other.connect(address_of(node))
        with contextlib.suppress(Exception):
            for _ in range(100):
                stream = await network._host.open_stream(ID.from_base58(node.peer_id), [KAD])
                await stream.write(b"\x90")  # the first byte of a length, and nothing after
        await seen(lambda: node.statistics().faults.get("dht-refused-busy", 0) > 0, "refusals")
        assert await asked_providers(honest, node.peer_id, bytes(34)) == []


async def asked_providers(network: Libp2pNetwork, peer_id: PeerId, key: bytes) -> list[Any]:
    stream = await network._host.open_stream(ID.from_base58(peer_id), [KAD])
    query = Message(type=Message.MessageType.GET_PROVIDERS, key=key)
    await stream.write(encode_varint_prefixed(query.SerializeToString()))
    with within():
        answer = await stream.read(65536)
    assert answer, "no answer"
    return list(Message.FromString(answer[1 if answer[0] < 128 else 2 :]).providerPeers)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\xff" * 20, id="a-length-without-end"),
        pytest.param(b"\x05" + b"\xff" * 5, id="junk"),
        pytest.param(b"\xff\xff\xff\x7f", id="256-mebibytes"),
        pytest.param(b"\x80\x80\x40" + bytes(1 << 16), id="more-than-allowed"),
    ],
)
async def test_dht_messages_of_junk_are_counted_and_end_in_refusal(
    victim: Victim, junk: bytes
) -> None:
    async with attacker(victim) as network:

        async def query() -> None:
            stream = await network._host.open_stream(victim.id, [KAD])
            await stream.write(junk)

        await offend(network, victim, query)
    assert victim.faults("dht-malformed") >= 8


async def test_a_dht_message_that_is_cut_off_costs_its_stream(victim: Victim) -> None:
    async with attacker(victim) as network:
        stream = await network._host.open_stream(victim.id, [KAD])
        await stream.write(b"\x20\x0a")
        await stream.close_write()
        await reset_or_ended(stream)
        assert await asked_providers(network, victim.address.peer_id, bytes(34)) == []


async def test_what_a_stranger_provides_does_not_push_out_what_members_provide() -> None:
    async with make_network() as node, make_network() as member, make_network() as stranger:
        store = node._dht.provider_store
        for network, keys in ((member, 2), (stranger, 5000)):
            info = network._host.get_id(), [Multiaddr("/ip4/127.0.0.1/tcp/1")]
            for number in range(keys):
                key = b"%d" % number + bytes(30)
                store.add_provider(key + network._host.get_id().to_bytes()[:2], peer_info(*info))
        assert len(store.providers) <= 2 + 64
        mine = [k for k, known in store.providers.items() if member.peer_id in known]
        assert len(mine) == 2


def peer_info(peer_id: ID, addresses: list[Multiaddr]) -> Any:
    return PeerInfo(peer_id, addresses)


@pytest.mark.parametrize("itself", [False, True], ids=["sixty-made-up", "itself-only"])
async def test_a_peer_that_answers_lookups_with_its_own_does_not_hide_the_members(
    itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eclipse: made-up providers, told at once, beside one honest answer. The liar is closer to
    the key, and asked before all others."""
    monkeypatch.setattr(libp2p_dht, "ALPHA", 1)
    key = group_key("ab" * 16, 0.0)  # type: ignore[arg-type]
    fakes = [peer_id_of(identity_from_seed(bytes([n]) * 32)) for n in range(60)]
    async with make_network() as seeker, make_network() as one, make_network() as another:
        near_first = sort_peer_ids_by_distance(
            b"\x12\x20" + key, [one._host.get_id(), another._host.get_id()]
        )
        liar, honest = (one, another) if near_first[0] == one._host.get_id() else (another, one)

        async def lie(stream: Any) -> None:
            answer = Message(type=Message.MessageType.GET_PROVIDERS)
            for fake in [liar.peer_id] if itself else fakes:
                told = answer.providerPeers.add()
                told.id = ID.from_base58(fake).to_bytes()
                told.addrs.append(Multiaddr("/ip4/127.0.0.1/tcp/1").to_bytes())
            await stream.write(encode_varint_prefixed(answer.SerializeToString()))
            await stream.close()

        liar._host.set_stream_handler(KAD, lie)
        member = peer_id_of(generate_identity())
        honest._dht.provider_store.add_provider(
            b"\x12\x20" + key,
            peer_info(ID.from_base58(member), [Multiaddr("/ip4/127.0.0.1/tcp/2")]),
        )
        for other in (liar, honest):
            await seeker.connect(address_of(other))
        found = [peer.peer_id for peer in await seeker.find_providers(key)]
        assert member in found[:2]
        assert len(found) <= 20


async def test_thousands_of_made_up_peers_do_not_make_a_node_forget_itself() -> None:
    async with make_network() as node, make_network() as other:
        store = node._swarm.peerstore
        for number in range(3000):
            fake = ID.from_base58(peer_id_of(identity_from_seed(number.to_bytes(32, "big"))))
            store.add_addrs(fake, [Multiaddr("/ip4/10.0.0.1/tcp/1")], 3600)
        assert len(store.peer_data_map) <= 1000
        await other.connect(address_of(node))
        with within():
            myself = ID.from_base58(node.peer_id)
            while not identified(other, myself):  # noqa: ASYNC110 (needs its own key)
                await trio.sleep(0.02)


def identified(network: Libp2pNetwork, peer_id: ID) -> bool:
    store = network._swarm.peerstore
    return store.has_peer(peer_id) and bool(store.get_protocols(peer_id))


def address_of(network: Libp2pNetwork) -> PeerAddress:
    return PeerAddress(network.peer_id, (network.multiaddrs[0].partition("/p2p/")[0],))


# --- the control socket ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\xff" * 100 + b"\n", id="junk"),
        pytest.param(b"[" * 60_000 + b"\n", id="deep"),
        pytest.param(b'{"command": "' + b"x" * 100_000, id="too-long"),
        pytest.param(b"{}\n", id="no-command"),
        pytest.param(b'{"command": {"a": 1}}\n', id="strange-command"),
        pytest.param(b"", id="silent"),
    ],
)
def test_junk_on_the_control_socket_is_answered_with_an_error_or_nothing(
    victim: Victim, junk: bytes
) -> None:
    files = victim.files()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            link = stack.enter_context(socket.socket(socket.AF_UNIX))
            link.settimeout(PATIENCE_SECONDS)
            link.connect(str(victim.node.home / "control.sock"))
            with contextlib.suppress(ConnectionError):
                link.sendall(junk)
                if junk:
                    answer = link.recv(1 << 16)
                    # The end of a connection is no answer to a whole line: it comes to the silent.
                    assert (answer == b"" and b"\n" not in junk) or b'"ok": false' in answer
    until(lambda: victim.files() <= files + 2, "closed files")


@pytest.fixture(scope="module", autouse=True)
def silent_callers(group: Victim) -> Iterator[list[socket.socket]]:
    """Control sockets opened before all other tests of this file, on which nothing is said."""
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(10)]
        for link in links:
            link.connect(str(group.node.home / "control.sock"))
        yield links


def test_silence_on_the_control_socket_is_given_up(
    victim: Victim, silent_callers: list[socket.socket]
) -> None:
    for link in silent_callers:
        link.settimeout(PATIENCE_SECONDS)
        assert link.recv(1) == b""
