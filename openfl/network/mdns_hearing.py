"""What others on the LAN say by multicast DNS, heard on a socket of our own, with bounds.

zeroconf tells its listeners what was said, but not by whom, and keeps a name for as long as its
sender wishes. Here each packet is counted against the address it came from, so that one machine
that names thousands of peers is heard no more than the next; nothing is kept but those counts.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]
import trio
from zeroconf import DNSIncoming, DNSText  # type: ignore[attr-defined] # for older callers

from openfl.contribution import PeerId

log = logging.getLogger(__name__)

GROUP = "224.0.0.251"
PORT = 5353
MAX_PACKET_BYTES = 9000
"""RFC 6762, 17."""
PACKETS_PER_SECOND = 4.0
PACKETS_BURST = 32.0
"""Of one address. Other services of a machine speak here, too."""
TOTAL_PACKETS_PER_SECOND = 100.0
MAX_SOURCES = 256
"""Addresses whose counts are kept; of more, those heard last."""
PEERS_PER_SOURCE = 8
NAMED_SECONDS = 60.0
"""How long a peer takes one of these places."""
_RESPONSE_BIT = 0x80


class Allowance:
    """So many at once, and so many a second again (a token bucket)."""

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = burst
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


@dataclass
class _Source:
    packets: Allowance
    peers: dict[PeerId, float] = field(default_factory=dict)
    """Those it named, with the time at which each gives up its place; the oldest first."""


class Sources:
    """Who said how much. `now`: seconds of any clock that does not go back."""

    def __init__(self, now: float) -> None:
        self._total = Allowance(TOTAL_PACKETS_PER_SECOND, TOTAL_PACKETS_PER_SECOND, now)
        self._sources: dict[str, _Source] = {}

    def may_speak(self, source: str, now: float) -> bool:
        """Whether one more packet from that address is worth reading."""
        known = self._sources.pop(source, None)
        if known is None:
            known = _Source(Allowance(PACKETS_BURST, PACKETS_PER_SECOND, now))
        self._sources[source] = known
        if len(self._sources) > MAX_SOURCES:
            del self._sources[next(iter(self._sources))]
        return known.packets.take(now) and self._total.take(now)

    def may_name(self, source: str, peer_id: PeerId, now: float) -> bool:
        """Whether that address, which `may_speak`, may name this peer now."""
        peers = self._sources[source].peers
        for name in [name for name, until in peers.items() if until <= now]:
            del peers[name]
        if peer_id not in peers and len(peers) >= PEERS_PER_SOURCE:
            return False
        peers.setdefault(peer_id, now + NAMED_SECONDS)
        return True


def text_in(packet: bytes, service: str, max_bytes: int) -> bytes:
    """The TXT records in `packet` of one instance of `service`, joined; empty when it has none.

    js-libp2p says each address in a record of its own, zeroconf and go-libp2p all in one. The spec
    knows no packet about more than one instance: of several, the first counts.
    """
    if len(packet) < 12 or not packet[2] & _RESPONSE_BIT:
        return b""
    try:
        answers = DNSIncoming(packet).answers()
    except Exception as error:  # whatever a stranger's bytes make of the library
        log.debug("mdns: a packet that cannot be read: %r", error)
        return b""
    found, instance = b"", ""
    for record in answers:
        if not isinstance(record, DNSText) or not record.ttl:
            continue
        name = record.name.lower()
        if name.endswith(f".{service}") and name == (instance or name):
            instance = name
            if len(found) + len(record.text) <= max_bytes:
                found += record.text
    return found


def open_socket() -> trio.socket.SocketType:
    """Hears what is said to everybody on the LAN, beside others that do. OSError."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):  # macOS wants it as well
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        raw.setblocking(False)
        raw.bind(("", PORT))
        return trio.socket.from_stdlib_socket(raw)
    except BaseException:
        raw.close()
        raise


def listen_at(hearing: trio.socket.SocketType, known: set[str]) -> None:
    """Take part at every IPv4 address of this machine that is not `known` yet, which it then is."""
    for address in set(_own_addresses()) - known:
        known.add(address)
        membership = socket.inet_aton(GROUP) + socket.inet_aton(address)
        with contextlib.suppress(OSError):  # an interface without multicast, or it is there already
            hearing.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _own_addresses() -> Iterable[str]:
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family == socket.AF_INET:
                yield entry.address
