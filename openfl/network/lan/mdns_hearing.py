"""What others on the LAN say by multicast DNS, heard on a socket of our own, with bounds.

zeroconf tells its listeners what was said, but not by whom, and keeps a name for as long as its
sender wishes. Here each packet is counted against the address it came from, so that one machine
that names thousands of peers is heard no more than the next; nothing is kept but those counts.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import OrderedDict

import psutil  # type: ignore[import-untyped]
import trio
from zeroconf import DNSIncoming, DNSText  # type: ignore[attr-defined] # for older callers

from openfl.core.contribution import PeerId
from openfl.core.rate_limit import RateLimiter

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


class Sources:
    """Who said how much. `now`: seconds of any clock that does not go back."""

    def __init__(self) -> None:
        self._packets = RateLimiter(PACKETS_PER_SECOND, PACKETS_BURST, MAX_SOURCES)
        self._total = RateLimiter(TOTAL_PACKETS_PER_SECOND, TOTAL_PACKETS_PER_SECOND)
        self._named: OrderedDict[str, dict[PeerId, float]] = OrderedDict()
        """Of each address the peers it named, with the time at which each gives up its place."""

    def may_speak(self, source: str, now: float) -> bool:
        """Whether one more packet from that address is worth reading."""
        return self._packets.allow(source, now) and self._total.allow("all", now)

    def may_name(self, source: str, peer_id: PeerId, now: float) -> bool:
        """Whether that address may name this peer now."""
        peers = self._named.setdefault(source, {})
        self._named.move_to_end(source)
        if len(self._named) > MAX_SOURCES:
            self._named.popitem(last=False)
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
    """Take part at every IPv4 address of this machine that is not `known` yet. Afterwards `known`
    holds those of now: whoever leaves a network and comes back has to take part anew."""
    own = _own_addresses()
    for address in own - known:
        membership = socket.inet_aton(GROUP) + socket.inet_aton(address)
        with contextlib.suppress(OSError):  # an interface without multicast, or it is there already
            hearing.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    known.clear()
    known.update(own)


def _own_addresses() -> set[str]:
    return {
        entry.address
        for addresses in psutil.net_if_addrs().values()
        for entry in addresses
        if entry.family == socket.AF_INET
    }
