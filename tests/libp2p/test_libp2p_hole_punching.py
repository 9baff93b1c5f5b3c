"""Hole punching on loopback: the port that is shared, the messages, who is which side, and what
strangers may send. Routers, and packets that cross between them, are in `tests/netns`.

Relayed nodes announce an address where nobody listens, so that a circuit is the only way.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.exceptions import ParseError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.utils.varint import encode_varint_prefixed
from libp2p_rig import TOPIC, Heard, address_of, answers, id_of, make_network, until
from multiaddr import Multiaddr

from openfl.core.errors import NetworkError
from openfl.network.base import PeerAddress
from openfl.network.libp2p.listening import bind
from openfl.network.libp2p.nat import hole_punching, reachability
from openfl.network.libp2p.nat import punch as libp2p_punch
from openfl.network.libp2p.nat.dcutr import (
    DCUTR_PROTOCOL,
    MAX_ADDRESSES,
    is_outside,
    read_hole_punch,
    usable_addresses,
)
from openfl.network.libp2p.nat.port_sharing import AVAILABLE, dial_from_port_of
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.network.libp2p.streams import StreamReader

NOWHERE = ("/ip4/127.0.0.1/tcp/1",)
linux = pytest.mark.skipif(not AVAILABLE, reason="the port can be shared on Linux only")


# The port


@linux
async def test_a_connection_can_leave_from_the_port_that_is_listened_on() -> None:
    (_, (mine,)), (_, (other,)) = await bind([(4, "0.0.0.0", 0), (4, "127.0.0.1", 0)])
    async with mine, other:
        stream = await dial_from_port_of(mine, *other.socket.getsockname())
        far = await other.accept()
        async with stream, far:
            assert far.socket.getpeername()[1] == mine.socket.getsockname()[1]


@linux
async def test_a_second_node_on_the_port_still_gets_its_error() -> None:
    (_, (mine,)), (_, (other,)) = await bind([(4, "127.0.0.1", 0), (4, "127.0.0.1", 0)])
    async with mine, other:
        port = mine.socket.getsockname()[1]
        async with await dial_from_port_of(mine, *other.socket.getsockname()):
            with pytest.raises(NetworkError, match="in use"):
                await bind([(4, "127.0.0.1", port)])
        with pytest.raises(NetworkError, match="in use"):
            await bind([(4, "127.0.0.1", port)])


@linux
async def test_a_node_can_start_again_beside_what_is_left_of_such_a_connection() -> None:
    (_, (mine,)), (_, (other,)) = await bind([(4, "127.0.0.1", 0), (4, "127.0.0.1", 0)])
    async with other:
        stream = await dial_from_port_of(mine, *other.socket.getsockname())
        port = mine.socket.getsockname()[1]
        await mine.aclose()
        await stream.aclose()  # first, so that it is this side which has to wait
        ((_, (again,)),) = await bind([(4, "127.0.0.1", port)])
        await again.aclose()


@linux
async def test_without_the_option_on_the_listening_socket_it_is_refused() -> None:
    """So the option is what does it, and it is not left on."""
    ((_, (mine,)),) = await bind([(4, "127.0.0.1", 0)])
    async with mine:
        with socket.socket() as dialling:
            dialling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            dialling.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                dialling.bind(mine.socket.getsockname())
        with pytest.raises(OSError) as failed:  # noqa: PT011 (the number says which)
            await dial_from_port_of(mine, "127.0.0.1", 1)
        assert failed.value.errno == errno.ECONNREFUSED
        assert mine.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


# Messages


class Bytes:
    """A stream that holds what was sent."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def read(self, n: int | None = None) -> bytes:
        data, self.data = self.data, b""
        return data


def packed(*addresses: str) -> list[bytes]:
    return [Multiaddr(address).to_bytes() for address in addresses]


async def test_messages_have_the_bytes_that_the_specification_gives_them() -> None:
    # field 1: 100 or 300 as a varint; field 2: a multiaddr of eight bytes (4: ip4, 6: tcp)
    connect = bytes.fromhex("0864 1208 04c0000207 060fa1")
    message = HolePunch(type=HolePunch.CONNECT, ObsAddrs=packed("/ip4/192.0.2.7/tcp/4001"))
    assert message.SerializeToString() == connect
    assert HolePunch(type=HolePunch.SYNC).SerializeToString() == bytes.fromhex("08ac02")
    read = await read_hole_punch(StreamReader(Bytes(b"\x0c" + connect)), HolePunch.CONNECT)
    assert usable_addresses(read.ObsAddrs) == [("192.0.2.7", 4001)]


@pytest.mark.parametrize(
    "frame",
    [
        encode_varint_prefixed(HolePunch(type=HolePunch.SYNC).SerializeToString()),
        encode_varint_prefixed(b"\xff\xff\xff"),
        encode_varint_prefixed(b""),
        encode_varint_prefixed(bytes(5000)),
    ],
    ids=["out of turn", "no protobuf", "empty", "too large"],
)
async def test_anything_but_the_message_whose_turn_it_is_is_malformed(frame: bytes) -> None:
    with pytest.raises(ParseError):
        await read_hole_punch(StreamReader(Bytes(frame)), HolePunch.CONNECT)


@pytest.mark.parametrize(
    "ip", ["192.0.2.7", "203.0.113.1", "8.8.8.8", "2a00:1450::1", "2001:db8::1"]
)
def test_addresses_outside_private_networks_may_be_dialled(ip: str) -> None:
    assert is_outside(ip)


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.251", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1"),
        *("ff02::fb", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001::1"),
    ],
)
def test_a_stranger_cannot_have_us_dial_private_local_or_shared_addresses(ip: str) -> None:
    assert not is_outside(ip)


def test_only_a_few_plain_tcp_addresses_of_a_peer_are_taken() -> None:
    good = packed(*(f"/ip4/192.0.2.{n}/tcp/4001" for n in range(1, 9)))
    assert usable_addresses(good) == [(f"192.0.2.{n}", 4001) for n in range(1, MAX_ADDRESSES + 1)]
    relay = "12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
    bad = packed(
        "/ip4/192.0.2.7/udp/4001",
        "/ip4/192.0.2.7/tcp/0",
        "/dns4/example.org/tcp/4001",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{relay}/p2p-circuit",
        "/ip4/192.168.1.1/tcp/80",
    )
    assert usable_addresses([*bad, b"", b"\xff\xff"]) == []
    # They are not searched for ever either.
    assert usable_addresses([b"\xff"] * 1000 + good) == []


# Nodes


def relayed_node(**settings: Any) -> Libp2pNetwork:
    return make_network(reachability="private", announce=NOWHERE, **settings)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(hole_punching, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(hole_punching, "RETIRE_SECONDS", 0.5)


@pytest.fixture
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback may be dialled, too."""
    monkeypatch.setattr(hole_punching.HolePuncher.__init__, "__defaults__", (lambda ip: True,))


def circuits(network: Libp2pNetwork) -> PeerAddress:
    found = [a.rpartition("/p2p/")[0] for a in network.multiaddrs if "/p2p-circuit" in a]
    return PeerAddress(network.peer_id, tuple(found))


async def meet(relay: Libp2pNetwork, dialled: Libp2pNetwork, dialler: Libp2pNetwork) -> None:
    """A connection over the relay from one to the other."""
    await dialled.connect(address_of(relay))
    await until(lambda: bool(circuits(dialled).multiaddrs))
    await dialler.connect(circuits(dialled))


def bound_at(network: Libp2pNetwork) -> str:
    """Where it listens, which it does not announce."""
    (address,) = network._puncher._transport.bound
    return address


def ways(near: Libp2pNetwork, far: Libp2pNetwork) -> list[str]:
    """direct, relayed: one word for each open connection."""
    return sorted(
        "direct" if c.muxed_conn.circuit is None else "relayed"
        for c in near._swarm.connections.get(id_of(far), ())
        if not c.is_closed
    )


@linux
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["open", "private network"])
async def test_a_relayed_connection_becomes_a_direct_one(key: bytes | None) -> None:
    async with (
        make_network(relay=True, network_key=key) as relay,
        relayed_node(network_key=key) as a,
        relayed_node(network_key=key) as b,
    ):
        heard = Heard()
        await b.subscribe(TOPIC, heard)
        await a.subscribe(TOPIC, Heard())
        await meet(relay, b, a)
        await until(lambda: ways(a, b) == ways(b, a) == ["direct"])
        # One connection each with the relay, as before: from the port at which it sees the node.
        await until(lambda: ways(relay, a) == ways(relay, b) == ["direct"])
        live = [c for c in relay._swarm.get_connections() if not c.is_closed]
        ports = {c.get_transport_addresses()[0] for c in live}
        assert ports == {Multiaddr(bound_at(node)) for node in (a, b)}
        # Gossip has moved before the relayed one was closed, and nobody was taken for gone.
        assert {p.peer_id: p.relayed for p in a.peers()} == {
            relay.peer_id: False,
            b.peer_id: False,
        }
        await a.publish(TOPIC, b"after")
        await until(lambda: heard.payloads == [b"after"])
        assert await answers(a, b)
        assert await answers(b, a)
        assert a.statistics().faults["hole-punched"] == 1
        # Nobody else could dial the address at which the other was found.
        assert not any(bound_at(b) in p.multiaddrs for p in a.peers())


@linux
@pytest.mark.usefixtures("anywhere")
async def test_without_hole_punching_they_stay_on_the_relay() -> None:
    async with (
        make_network(relay=True) as relay,
        relayed_node() as a,
        relayed_node(hole_punching=False) as b,
        relayed_node() as later,
    ):
        await meet(relay, b, a)
        await meet(relay, later, a)
        await until(lambda: "direct" in ways(a, later))
        assert ways(a, b) == ways(b, a) == ["relayed"]
        assert all(p.relayed for p in a.peers() if p.peer_id == b.peer_id)


@linux
@pytest.mark.usefixtures("anywhere")
async def test_a_relay_that_does_not_tell_where_it_sees_a_node_costs_it_no_circuit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is asked again and again, each time over a connection of its own, which is closed."""
    asked: list[Any] = []

    async def tells_nothing(stream: Any) -> Identify:
        asked.append(stream.muxed_conn)
        return Identify()

    monkeypatch.setattr(hole_punching, "read_identify", tells_nothing)
    monkeypatch.setattr(hole_punching, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(hole_punching, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(hole_punching, "OBSERVED_WAIT_SECONDS", 0.1)
    async with make_network(relay=True) as relay, relayed_node() as a, relayed_node() as b:
        await meet(relay, b, a)
        (circuit,) = b._swarm.connections[id_of(a)]
        await until(lambda: sum(c.peer_id == id_of(relay) for c in asked) >= 8)
        assert not circuit.is_closed
        await until(lambda: ways(a, relay) == ways(b, relay) == ["direct"])
        assert await answers(a, b)


@linux
@pytest.mark.usefixtures("anywhere")
async def test_two_that_dialled_each_other_over_the_relay_do_not_get_in_each_others_way() -> None:
    async with make_network(relay=True) as relay, relayed_node() as a, relayed_node() as b:
        for node in (a, b):
            await node.connect(address_of(relay))
            await until(lambda node=node: bool(circuits(node).multiaddrs))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.connect, circuits(b))
            nursery.start_soon(b.connect, circuits(a))
        await until(lambda: set(ways(a, b)) == set(ways(b, a)) == {"direct"})
        assert await answers(a, b)


@linux
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
async def test_an_address_that_the_peer_announces_is_tried_first(
    monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    """And when nobody answers there, holes are punched."""
    dialled: list[list[str]] = []
    async with make_network(relay=True) as relay, relayed_node() as a, relayed_node() as b:
        dial = b._swarm.dial_directly

        async def dial_directly(peer: Any, addresses: Any) -> Any:
            dialled.append(list(addresses))
            return await dial(peer, [bound_at(a)] if right else addresses)

        monkeypatch.setattr(b._swarm, "dial_directly", dial_directly)
        monkeypatch.setattr(b._swarm, "dial_directly", dial_directly)
        with monkeypatch.context() as patch:  # it is identified before it is its turn
            patch.setattr(b._puncher, "_to_begin_with", list)
            await meet(relay, b, a)
            await until(lambda: NOWHERE[0] in _known(b, a))
        await until(lambda: "direct" in ways(a, b) and "direct" in ways(b, a))
        assert dialled == [list(NOWHERE)]
        assert b.statistics().faults.get("hole-punched", 0) == (0 if right else 1)


def _known(near: Libp2pNetwork, far: Libp2pNetwork) -> list[str]:
    return [a for peer in near.peers() if peer.peer_id == far.peer_id for a in peer.multiaddrs]


class Blind(dict[Any, Any]):
    """Of nobody does it know that it is expected."""

    def get(self, key: Any, default: Any = None) -> Any:
        return default


@linux
@pytest.mark.usefixtures("anywhere")
@pytest.mark.parametrize(
    ("silent", "expecting", "reached"),
    [("client", True, True), ("server", True, True), ("client", False, False)],
)
async def test_whichever_side_gets_through_first_the_roles_are_those_agreed_on(
    monkeypatch: pytest.MonkeyPatch, silent: str, expecting: bool, reached: bool
) -> None:
    """One side's packets do not leave: the other's come to the listener, which must not take a
    server for a client."""
    monkeypatch.setattr(hole_punching, "MAX_TRIES", 1)
    if not reached:
        monkeypatch.setattr(libp2p_punch, "TRY_SECONDS", 1.0)
        monkeypatch.setattr(libp2p_punch, "UPGRADE_TIMEOUT_SECONDS", 1.0)
    async with make_network(relay=True) as relay, relayed_node() as a, relayed_node() as b:
        quiet, loud = (a, b) if silent == "client" else (b, a)
        dial = quiet._puncher._dial

        async def to_others(address: tuple[str, int]) -> Any:
            if bound_at(loud).endswith(f"/{address[1]}"):
                raise OSError(errno.ENETUNREACH, "the network is down")
            return await dial(address)

        quiet._puncher._dial = to_others  # type: ignore[method-assign]
        if not expecting:
            quiet._puncher._transport.expected = Blind()
        await meet(relay, b, a)
        if reached:
            await until(lambda: "direct" in ways(a, b) and "direct" in ways(b, a))
        else:
            await until(lambda: b.statistics().faults.get("hole-punch-failed", 0) == 1)
            assert ways(a, b) == ways(b, a) == ["relayed"]
        assert await answers(a, b)


# Strangers


async def opened(attacker: Libp2pNetwork, victim: Libp2pNetwork) -> Any:
    (connection,) = attacker._swarm.connections[id_of(victim)]
    return await open_stream_on(connection, attacker._host, [DCUTR_PROTOCOL])


async def say(stream: Any, kind: Any, *addresses: str) -> None:
    message = HolePunch(type=kind, ObsAddrs=packed(*addresses))
    await stream.write(encode_varint_prefixed(message.SerializeToString()))


@linux
async def test_over_a_direct_connection_there_is_nothing_to_punch() -> None:
    async with make_network() as victim, make_network() as attacker:
        await attacker.connect(address_of(victim))
        with contextlib.suppress(MultiselectClientError):  # the refusal may come first
            await opened(attacker, victim)
        await until(lambda: victim.statistics().faults.get("hole-punch-not-relayed", 0) == 1)
        assert await answers(victim, attacker)


@linux
async def test_what_is_no_message_of_the_protocol_is_the_senders_fault() -> None:
    async with (
        make_network(relay=True) as relay,
        relayed_node(hole_punching=False) as attacker,
        relayed_node() as victim,
    ):
        await meet(relay, attacker, victim)
        stream = await opened(attacker, victim)
        await stream.write(encode_varint_prefixed(b"\xff\xff\xff"))
        await until(lambda: victim.statistics().faults.get("hole-punch-malformed", 0) == 1)
        # Nor is there a second session at once.
        with contextlib.suppress(MultiselectClientError):  # the refusal may come first
            await opened(attacker, victim)
        await until(lambda: victim.statistics().faults.get("hole-punch-declined", 0) == 1)
        assert await answers(victim, attacker)


@linux
async def test_of_the_addresses_that_a_stranger_names_only_public_ones_are_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hole_punching, "OBSERVED_WAIT_SECONDS", 0.0)
    dialled: list[Any] = []

    async def dial(self: Any, address: Any) -> Any:
        dialled.append(address)
        raise OSError(errno.ENETUNREACH, "the network is down")

    monkeypatch.setattr(hole_punching.HolePuncher, "_dial", dial)
    async with (
        make_network(relay=True) as relay,
        relayed_node(hole_punching=False) as attacker,
        relayed_node() as victim,
    ):
        await meet(relay, attacker, victim)
        stream = await opened(attacker, victim)
        inside = (bound_at(victim), "/ip4/192.168.1.1/tcp/80", "/ip4/169.254.169.254/tcp/80")
        await say(stream, HolePunch.CONNECT, *inside, "/ip4/192.0.2.7/tcp/4001")
        await read_hole_punch(StreamReader(stream), HolePunch.CONNECT)
        await say(stream, HolePunch.SYNC)
        await trio.testing.wait_all_tasks_blocked()  # all of one try are dialled at once
        assert dialled == [("192.0.2.7", 4001)]


async def test_a_direct_connection_is_kept_when_a_peer_has_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two relayed ones that came after it the older goes."""

    class Connection:
        is_closed = False

        def __init__(self, circuit: str | None, created_at: float) -> None:
            self.muxed_conn = self
            self.circuit = circuit
            self._created_at = created_at

    async with make_network() as node:
        closed: list[Any] = []
        monkeypatch.setattr(node._swarm.manager, "run_task", lambda _, c: closed.append(c))
        direct, older, newer = Connection(None, 1), Connection("over", 2), Connection("over", 3)
        peer = id_of(make_network())
        monkeypatch.setattr(node._swarm, "connections", {peer: [direct, older, newer]})
        node._swarm._trim_connections(peer)
        monkeypatch.undo()
        assert closed == [older]
