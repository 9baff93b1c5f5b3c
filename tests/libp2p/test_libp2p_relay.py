"""Circuits over a relay on loopback: who gets one, what runs over it, and its bounds.

Nodes that cannot be dialled are made by not listening where others look: `private` nodes listen on
a port that they announce wrongly, so that a circuit is the only way.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from libp2p.connection_types import ConnectionType
from libp2p_rig import TOPIC, Heard, address_of, answers, id_of, make_network, until

from openfl.core.errors import RequestFailed
from openfl.network.base import PeerAddress
from openfl.network.libp2p.nat import reachability
from openfl.network.libp2p.nat.relay import Relay, RelayLimits
from openfl.network.libp2p.network import Libp2pNetwork
from tests.situation import within

NOWHERE = ("/ip4/127.0.0.1/tcp/1",)


def private(**settings: Any) -> Libp2pNetwork:
    return make_network(reachability="private", announce=NOWHERE, **settings)


def circuits(network: Libp2pNetwork) -> PeerAddress:
    """Where the node can be dialled over relays."""
    found = tuple(a.rpartition("/p2p/")[0] for a in network.multiaddrs if "/p2p-circuit" in a)
    return PeerAddress(network.peer_id, found)


async def placed(node: Libp2pNetwork, relay: Libp2pNetwork) -> None:
    await node.connect(address_of(relay))
    await until(lambda: bool(circuits(node).multiaddrs))


class Looks:
    """Counts how often a node has looked for relays."""

    def __init__(self, node: Libp2pNetwork) -> None:
        self._count = 0
        look = node._reachability._keep_places

        async def counted() -> None:
            await look()
            self._count += 1

        node._reachability._keep_places = counted  # type: ignore[method-assign]

    async def two_more(self) -> None:
        """One whole look, and the rest of one that is going on."""
        before = self._count
        await until(lambda: self._count >= before + 2)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "LOOK_SECONDS", 0.1)


@pytest.mark.parametrize("key", [None, bytes(range(32))], ids=["open", "private network"])
async def test_two_nodes_that_nobody_can_dial_talk_over_a_relay(key: bytes | None) -> None:
    async with (
        make_network(relay=True, network_key=key) as relay,
        private(network_key=key) as a,
        private(network_key=key) as b,
    ):
        await placed(a, relay)
        heard = Heard()
        await a.subscribe(TOPIC, heard)
        await b.subscribe(TOPIC, Heard())
        await b.connect(circuits(a))
        assert await answers(a, b)
        assert await answers(b, a)
        # Gossip, too: the two are in each other's mesh, though the relay does not know the topic.
        await until(lambda: any(TOPIC in peer.mesh_topics for peer in b.peers()))
        payload = b"x" * 200_000
        await b.publish(TOPIC, payload)
        await until(lambda: heard.payloads == [payload])
        assert relay.statistics().faults["relay-circuits"] == 1


async def test_a_circuit_and_a_direct_connection_say_which_they_are() -> None:
    async with make_network(relay=True) as relay, private() as a, private() as b:
        await placed(a, relay)
        await b.connect(circuits(a))
        await b.connect(address_of(relay))
        for other, expected in ((a, ConnectionType.RELAYED), (relay, ConnectionType.DIRECT)):
            used = b._swarm.newest_connection(id_of(other))
            assert used.muxed_conn.get_connection_type() is expected


async def test_a_relay_tells_others_where_its_guests_are() -> None:
    async with make_network(relay=True) as relay, private() as a:
        await placed(a, relay)
        (guest,) = [p for p in relay.peers() if p.peer_id == a.peer_id]
        assert any(relay.peer_id in address for address in guest.multiaddrs)


async def test_a_node_that_is_no_relay_gives_no_place() -> None:
    async with make_network() as ordinary, private() as a:
        await a.connect(address_of(ordinary))
        looks = Looks(a)
        store = a._swarm.peerstore
        await until(lambda: store.has_peer(id_of(ordinary)))
        await until(lambda: bool(store.get_protocols(id_of(ordinary))))
        await looks.two_more()
        assert not circuits(a).multiaddrs


async def test_without_a_reservation_there_is_no_circuit() -> None:
    async with make_network(relay=True) as relay, make_network() as a, make_network() as b:
        await a.connect(address_of(relay))
        (address,) = address_of(relay).multiaddrs
        over = PeerAddress(a.peer_id, (f"{address}/p2p/{relay.peer_id}/p2p-circuit",))
        with pytest.raises(RequestFailed, match="no reservation"):
            await b.connect(over)
        assert relay.statistics().faults["relay-refused-no-reservation"] == 1


async def test_a_stranger_behind_the_relay_cannot_pass_for_another() -> None:
    async with make_network(relay=True) as relay, private() as a, make_network() as b:
        await placed(a, relay)
        # The relay is made to hand out a's circuit under another name.
        other = make_network()
        held = relay._relay._reservations  # type: ignore[union-attr]
        held[id_of(other)] = held[id_of(a)]
        direct = relay._relay._direct  # type: ignore[union-attr]
        relay._relay._direct = lambda peer: direct(id_of(a) if peer == id_of(other) else peer)  # type: ignore[method-assign,union-attr]
        with pytest.raises(RequestFailed, match=r"another peer answered|handshake"):
            await b.connect(PeerAddress(other.peer_id, circuits(a).multiaddrs))


async def test_a_relay_has_a_bounded_number_of_places_for_one_address() -> None:
    async with make_network(relay=True) as relay, private() as a, private() as b:
        assert isinstance(relay._relay, Relay)
        relay._relay._limits = RelayLimits(reservations_per_address=1)
        await placed(a, relay)
        await b.connect(address_of(relay))
        await until(
            lambda: relay.statistics().faults.get("relay-refused-reservation-refused", 0) > 0
        )
        assert not circuits(b).multiaddrs


async def test_a_circuit_ends_when_its_bytes_are_used_up() -> None:
    async with make_network(relay=True) as relay, private() as a, make_network() as b:
        assert isinstance(relay._relay, Relay)
        relay._relay._limits = RelayLimits(circuit_bytes=100_000)
        await placed(a, relay)
        await b.connect(circuits(a))

        async def swallow(peer: str, payload: bytes) -> bytes:
            return b""

        a.set_handler("/test-big/1", swallow, 1 << 20)
        with pytest.raises(RequestFailed), within():
            await b.request(a.peer_id, "/test-big/1", bytes(300_000))
        assert relay.statistics().faults["relay-limit-reached"] == 1
        await until(lambda: relay._relay._circuits_open == 0)  # type: ignore[union-attr]


# AutoNAT


async def test_a_node_that_can_be_dialled_finds_that_out_and_takes_no_place() -> None:
    async with make_network(relay=True) as relay, make_network() as a:
        await a.connect(address_of(relay))
        await until(lambda: a._reachability.private is False)
        assert not circuits(a).multiaddrs


async def test_a_node_that_cannot_be_dialled_finds_that_out_and_has_itself_relayed() -> None:
    async with make_network(relay=True) as relay, make_network(announce=NOWHERE) as a:
        await a.connect(address_of(relay))
        await until(lambda: a._reachability.private is True)
        await until(lambda: bool(circuits(a).multiaddrs))


async def test_to_be_reached_at_an_address_that_nobody_is_told_is_not_enough() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    elsewhere = (f"/ip4/192.0.2.7/tcp/{port}",)
    listen = (f"/ip4/127.0.0.1/tcp/{port}",)
    async with make_network() as other, make_network(listen=listen, announce=elsewhere) as a:
        await a.connect(address_of(other))
        await until(lambda: a._reachability.private is True)
