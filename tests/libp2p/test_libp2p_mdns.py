"""TXT records of multicast DNS: what we say, and what strangers on the LAN may say."""

from __future__ import annotations

import random
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from zeroconf import (  # type: ignore[attr-defined]
    DNSCache,
    DNSOutgoing,
    DNSText,
    RecordUpdate,
)

from openfl.core.contribution import PeerId
from openfl.network.base import PeerAddress
from openfl.network.lan import mdns_hearing
from openfl.network.lan.mdns import (
    MAX_ADDRESSES,
    MAX_CACHED_RECORDS,
    MAX_TEXT_BYTES,
    SERVICE,
    LanDiscovery,
    _Forgetting,
    read_text_record,
    text_record,
)
from openfl.network.lan.mdns_hearing import (
    MAX_SOURCES,
    NAMED_SECONDS,
    PACKETS_BURST,
    PACKETS_PER_SECOND,
    PEERS_PER_SOURCE,
    TOTAL_PACKETS_PER_SECOND,
    Sources,
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


# What is heard

NAME = f"abc.{SERVICE}"
SOURCE = "192.168.1.7"


def packet(*texts: bytes, name: str = NAME, ttl: int = 120, flags: int = 0x8400) -> bytes:
    """A packet with a TXT record of `name` for each of these."""
    out = DNSOutgoing(flags)
    for text in texts:
        out.add_answer_at_time(DNSText(name, 16, 1, ttl, text), 0)
    made: list[bytes] = out.packets()
    return made[0]


def told_of(number: int) -> tuple[PeerId, bytes]:
    """A peer, and a packet in which it says where it is."""
    key = create_new_key_pair(number.to_bytes(32, "big")).public_key
    peer = ID.from_pubkey(key).to_base58()
    return PeerId(peer), packet(text_record([f"/ip4/192.168.1.9/tcp/4001/p2p/{peer}"]))


class Lan:
    """A `LanDiscovery` that hears what it is given, and whom it found."""

    def __init__(self) -> None:
        self.found: list[PeerAddress] = []
        self.discovery = LanDiscovery(PeerId("me"), tuple, self.found.append)

    def hear(self, data: bytes, source: str = SOURCE, now: float = 1.0) -> None:
        self.discovery.hear(data, source, now)


def test_addresses_in_records_of_their_own_are_all_heard() -> None:
    """As js-libp2p says them, those of loopback among them."""
    lan = Lan()
    addresses = ("/ip4/192.168.1.7/tcp/4001", "/ip4/10.0.0.7/tcp/4001", "/ip4/127.0.0.1/tcp/4001")
    lan.hear(packet(*(entry(f"dnsaddr={a}{AT}") for a in addresses)))
    assert lan.found == [PeerAddress(PeerId(PEER), addresses[:2])]
    assert lan.discovery.somebody.is_set()


@pytest.mark.parametrize(
    "changes",
    [{"name": "abc._ipp._tcp.local."}, {"ttl": 0}, {"flags": 0}],
    ids=["of another service", "a goodbye", "no answer"],
)
def test_what_is_no_answer_of_the_service_is_not_heard(changes: dict[str, Any]) -> None:
    lan = Lan()
    text = text_record([f"/ip4/192.168.1.7/tcp/4001{AT}"])
    lan.hear(packet(text, **changes))
    assert lan.found == []
    lan.hear(packet(text))
    assert [peer.peer_id for peer in lan.found] == [PEER]


def test_no_bytes_do_harm() -> None:
    lan = Lan()
    good = packet(text_record([f"/ip4/192.168.1.7/tcp/4001{AT}"]))
    rng = random.Random(3)
    for number in range(2000):
        damaged = bytearray(good[: rng.randrange(len(good) + 1)] + rng.randbytes(3))
        for _ in range(rng.randrange(6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        lan.hear(bytes(damaged), now=float(number))
    lan.hear(b"")
    lan.hear(good, now=3000.0)
    assert lan.found[-1].peer_id == PEER


def test_one_address_names_so_many_peers_and_others_are_still_heard() -> None:
    lan = Lan()
    many = [told_of(number) for number in range(PEERS_PER_SOURCE + 5)]
    for _, said in many:
        lan.hear(said)
    assert [peer.peer_id for peer in lan.found] == [peer for peer, _ in many[:PEERS_PER_SOURCE]]
    lan.found.clear()
    lan.hear(many[0][1])  # those it named already may say more
    lan.hear(many[-1][1])
    lan.hear(many[-1][1], source="192.168.1.8")
    assert [peer.peer_id for peer in lan.found] == [many[0][0], many[-1][0]]
    lan.hear(many[-2][1], now=2.0 + NAMED_SECONDS)
    assert lan.found[-1].peer_id == many[-2][0]


def test_a_packet_of_several_peers_counts_for_the_first() -> None:
    lan = Lan()
    texts = [text_record([f"/ip4/192.168.1.7/tcp/{n}/p2p/{told_of(n)[0]}"]) for n in range(1, 5)]
    lan.hear(packet(*texts))
    assert [peer.peer_id for peer in lan.found] == [told_of(1)[0]]


def test_of_one_address_so_many_packets_are_read_a_second() -> None:
    sources = Sources()
    assert sum(sources.may_speak("a", 10.0) for _ in range(1000)) == PACKETS_BURST
    assert sources.may_speak("b", 10.0)
    assert sum(sources.may_speak("a", 11.0) for _ in range(1000)) == PACKETS_PER_SECOND


def test_of_all_addresses_together_too_and_only_some_are_remembered() -> None:
    sources = Sources()
    heard = sum(sources.may_speak(f"10.0.{n // 256}.{n % 256}", 10.0) for n in range(1000))
    assert heard == TOTAL_PACKETS_PER_SECOND
    assert len(sources._packets._buckets) == MAX_SOURCES


def test_of_addresses_that_name_peers_only_some_are_remembered() -> None:
    sources = Sources()
    assert all(sources.may_name(f"10.0.{n}.1", PeerId("a"), float(n)) for n in range(300))
    assert len(sources._named) == MAX_SOURCES


def test_a_machine_that_comes_back_to_a_lan_takes_part_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = {SOURCE}
    joined: list[str] = []
    hearing: Any = SimpleNamespace(
        setsockopt=lambda *option: joined.append(socket.inet_ntoa(option[2][4:]))
    )
    monkeypatch.setattr(mdns_hearing, "_own_addresses", lambda: set(here))
    known: set[str] = set()
    mdns_hearing.listen_at(hearing, known)
    mdns_hearing.listen_at(hearing, known)
    assert joined == [SOURCE]
    here.clear()
    mdns_hearing.listen_at(hearing, known)
    here.add(SOURCE)
    mdns_hearing.listen_at(hearing, known)
    assert joined == [SOURCE, SOURCE]


def test_zeroconf_keeps_little_of_what_it_is_told() -> None:
    zeroconf: Any = SimpleNamespace(cache=DNSCache())
    forgetting = _Forgetting(zeroconf)
    for number in range(5 * MAX_CACHED_RECORDS):
        record = DNSText(f"{number}.{SERVICE}", 16, 1, 1_000_000, b"\x01a")
        forgetting.async_update_records(zeroconf, 0.0, [RecordUpdate(record, None)])
        zeroconf.cache.async_add_records([record])
        forgetting.async_update_records_complete()
    assert len(zeroconf.cache.names()) <= MAX_CACHED_RECORDS
