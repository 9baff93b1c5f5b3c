"""Addresses of a router that forwards to a node: announced, and tried by others, on loopback.

The nodes here announce a port that they do not listen on, so that nothing but what is forwarded
leads to them.
"""

from __future__ import annotations

from libp2p_rig import address_of, make_network, until

from openfl.network.libp2p.network import Libp2pNetwork

NOWHERE = ("/ip4/127.0.0.1/tcp/1",)
NOR_HERE = ("/ip4/127.0.0.1/tcp/2",)


def real_address(network: Libp2pNetwork) -> str:
    ((host, port),) = network.listening
    return f"/ip4/{host}/tcp/{port}"


def known_to(other: Libp2pNetwork, network: Libp2pNetwork) -> tuple[str, ...]:
    return next((p.multiaddrs for p in other.peers() if p.peer_id == network.peer_id), ())


async def test_a_forwarded_address_leads_and_peers_are_told_of_it() -> None:
    async with make_network() as other, make_network(announce=NOWHERE) as a:
        await a.connect(address_of(other))
        a.forwarded_from((real_address(a),))
        assert a.multiaddrs[0] == f"{real_address(a)}/p2p/{a.peer_id}"
        await until(lambda: real_address(a) in known_to(other, a))
        await until(lambda: a._reachability.private is False)
        assert a.multiaddrs[0] == f"{real_address(a)}/p2p/{a.peer_id}"
        a.forwarded_from(())
        assert real_address(a) not in str(a.multiaddrs)


async def test_one_where_nothing_answers_is_no_longer_announced() -> None:
    async with make_network() as other, make_network(announce=NOWHERE) as a:
        a.forwarded_from(NOR_HERE)
        assert NOR_HERE[0] in str(a.multiaddrs)
        await a.connect(address_of(other))
        await until(lambda: a._reachability.private is True)
        assert NOR_HERE[0] not in str(a.multiaddrs)


async def test_once_a_port_is_forwarded_the_node_asks_again_and_needs_no_relay() -> None:
    async with make_network(relay=True) as relay, make_network(announce=NOWHERE) as a:
        await a.connect(address_of(relay))
        await until(lambda: "/p2p-circuit" in str(a.multiaddrs))
        a.forwarded_from((real_address(a),))
        await until(lambda: a._reachability.private is False)
        await until(lambda: "/p2p-circuit" not in str(a.multiaddrs))
