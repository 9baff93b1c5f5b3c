"""DNS names in addresses."""

from __future__ import annotations

import dns.exception
import pytest
from libp2p.transport.exceptions import OpenConnectionError
from libp2p_rig import address_of, answers, make_network

from openfl.core.errors import NetworkError, RequestFailed
from openfl.network.base import PeerAddress
from openfl.network.libp2p import dns as libp2p_dns
from openfl.network.libp2p import swarm as libp2p_swarm
from openfl.network.libp2p.addresses import PEER_ADDRESS_EXAMPLE
from openfl.network.libp2p.dns import resolve_dnsaddr
from openfl.network.libp2p.network import Libp2pNetwork, parse_peer_multiaddr

PEER = PEER_ADDRESS_EXAMPLE.rpartition("/")[2]


def port_of(network: Libp2pNetwork) -> str:
    return address_of(network).multiaddrs[0].rpartition("/")[2]


@pytest.mark.parametrize("kind", ["dns", "dns4"])
async def test_a_name_that_the_system_knows_is_dialled(kind: str) -> None:
    async with make_network() as a, make_network() as b:
        await a.connect(PeerAddress(b.peer_id, (f"/{kind}/localhost/tcp/{port_of(b)}",)))
        assert await answers(b, a)


async def test_a_name_that_nobody_knows_is_named_in_the_reason() -> None:
    async with make_network() as a, make_network() as b:
        with pytest.raises(RequestFailed, match=r"the name no-such\.invalid is not known"):
            await a.connect(PeerAddress(b.peer_id, ("/dns4/no-such.invalid/tcp/4001",)))


async def test_a_dnsaddr_leads_to_the_addresses_in_its_text_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with make_network() as a, make_network() as b:
        (address,) = address_of(b).multiaddrs

        async def records(name: str) -> list[str]:
            assert name == "_dnsaddr.boot.example.org"
            return ["v=spf1", f"dnsaddr=/ip4/127.0.0.1/tcp/9/p2p/{a.peer_id}", said]

        async def resolve(name: str, peer_id: str) -> list[str]:
            return await resolve_dnsaddr(name, peer_id, records)

        monkeypatch.setattr(libp2p_swarm, "resolve_dnsaddr", resolve)
        target = parse_peer_multiaddr(f"/dnsaddr/boot.example.org/p2p/{b.peer_id}")
        said = f"dnsaddr={address}/p2p/{PEER}"
        with pytest.raises(RequestFailed, match="no address of"):
            await a.connect(target)
        said = f"dnsaddr={address}/p2p/{b.peer_id}"
        await a.connect(target)
        assert await answers(b, a)


async def test_a_dnsaddr_without_records_is_an_unreachable_peer() -> None:
    async def nothing(name: str) -> list[str]:
        raise dns.exception.Timeout

    with pytest.raises(OpenConnectionError, match=r"no addresses in the DNS for a\.example"):
        await resolve_dnsaddr("a.example", PEER, nothing)
    assert libp2p_dns.MAX_RECORDS < 100


def test_a_dnsaddr_must_say_which_peer() -> None:
    with pytest.raises(NetworkError, match="which peer"):
        parse_peer_multiaddr("/dnsaddr/boot.example.org")
