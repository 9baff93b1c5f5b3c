"""TXT records of multicast DNS: what we say, and what strangers on the LAN may say."""

from __future__ import annotations

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from openfl.contribution import PeerId
from openfl.network.libp2p_mdns import (
    MAX_ADDRESSES,
    MAX_TEXT_BYTES,
    LanDiscovery,
    read_text_record,
    text_record,
)

PEER = ID.from_pubkey(create_new_key_pair(bytes(32)).public_key).to_base58()
AT = f"/p2p/{PEER}"


def entry(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def test_a_record_gives_back_the_addresses_of_the_lan() -> None:
    said = (f"/ip4/192.168.1.7/tcp/4001{AT}", f"/ip6/fe80::1/tcp/4001{AT}")
    (peer,) = read_text_record(text_record(said))
    assert peer.peer_id == PEER
    assert peer.multiaddrs == ("/ip4/192.168.1.7/tcp/4001", "/ip6/fe80::1/tcp/4001")


@pytest.mark.parametrize(
    "address",
    [
        f"/ip4/127.0.0.1/tcp/4001{AT}",
        f"/ip6/::1/tcp/4001{AT}",
        f"/dns4/example.org/tcp/4001{AT}",
        f"/ip4/192.168.1.7/tcp/4001{AT}/p2p-circuit{AT}",
    ],
)
def test_what_is_no_address_of_a_lan_is_neither_said_nor_believed(address: str) -> None:
    assert text_record([address]) == b""
    assert read_text_record(entry(f"dnsaddr={address}")) == ()


@pytest.mark.parametrize(
    "text",
    [
        "dnsaddr=",
        "dnsaddr=/ip4/192.168.1.7/tcp/4001",
        "dnsaddr=/ip4/192.168.1.7/tcp/4001/p2p/nobody",
        "dnsaddr=/ip4/999.168.1.7/tcp/4001" + AT,
        "something=else",
    ],
)
def test_nonsense_beside_an_address_is_left_out(text: str) -> None:
    good = entry(f"dnsaddr=/ip4/192.168.1.7/tcp/4001{AT}")
    assert [p.peer_id for p in read_text_record(entry(text) + good)] == [PEER]
    assert read_text_record(entry(text)) == ()
    assert read_text_record(entry("dnsaddr=") + b"\x09dnsaddr=\xff") == ()


def test_a_record_is_bounded() -> None:
    many = [f"/ip4/192.168.1.{n}/tcp/4001{AT}" for n in range(1, 100)]
    assert len(text_record(many)) <= MAX_TEXT_BYTES
    (peer,) = read_text_record(text_record(many))
    assert len(peer.multiaddrs) == MAX_ADDRESSES
    packed = b"".join(entry(f"dnsaddr={a}") for a in many[:12])
    assert sum(len(p.multiaddrs) for p in read_text_record(packed)) == MAX_ADDRESSES


def test_a_record_that_is_cut_off_or_too_long_is_refused() -> None:
    good = entry(f"dnsaddr=/ip4/192.168.1.7/tcp/4001{AT}")
    for broken in (good[:-1], good + b"\x05abc", bytes(MAX_TEXT_BYTES + 1)):
        with pytest.raises(ValueError, match="TXT record"):
            read_text_record(broken)


async def test_a_name_that_is_none_of_the_service_does_no_harm() -> None:
    lan = LanDiscovery(PeerId(PEER), tuple, lambda peer: None)
    async with lan._send:
        lan._hear("printer._ipp._tcp.local.")
        lan._hear("\x00")
    await lan._look_up()
    assert not lan.somebody.is_set()
