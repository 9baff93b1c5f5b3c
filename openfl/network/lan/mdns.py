"""Finding nodes on the same LAN without any address: multicast DNS, as libp2p's mdns spec has it.

https://github.com/libp2p/specs/blob/master/discovery/mdns.md: every node answers for the service
`_p2p._udp.local` under a random name, with a TXT record that holds `dnsaddr=<multiaddr>` of each of
its addresses.

`libp2p.discovery.mdns` is not used: defect mdns-thread.
Here zeroconf answers and asks, in its own thread; what others say is heard in trio's, by
`mdns_hearing`: a hint of whoever is on the LAN, bounded, and worth a dial at most.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable

import trio
from zeroconf import (  # type: ignore[attr-defined] # for older callers
    DNSOutgoing,
    DNSQuestion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)
from zeroconf import Error as ZeroconfError

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError
from openfl.network.base import PeerAddress
from openfl.network.lan.mdns_hearing import (
    MAX_PACKET_BYTES,
    Sources,
    listen_at,
    open_socket,
    text_in,
)
from openfl.network.libp2p.addresses import parse_peer_multiaddr

log = logging.getLogger(__name__)

SERVICE = "_p2p._udp.local."
PREFIX = b"dnsaddr="
PLACEHOLDER_PORT = 4001
"""Of the SRV record, which the spec does not use."""
MAX_ADDRESSES = 8
MAX_TEXT_BYTES = 1300
"""Of a TXT record in one packet (RFC 6763, 6.1)."""
ASK_SECONDS = (0.0, 1.0, 3.0, 9.0, 27.0)
"""Pauses between the first questions; after them one a minute. Answers get lost, and a laptop may
come to another LAN."""
ASK_AGAIN_SECONDS = 60.0
REFRESH_SECONDS = 10.0
MAX_CACHED_RECORDS = 512
"""Of what zeroconf keeps for itself. It would keep 10,000, of 9 KB each if their sender likes."""
_QUERY, _PTR, _IN = 0, 12, 1  # RFC 1035

Found = Callable[[PeerAddress], None]


def text_record(addresses: Iterable[str]) -> bytes:
    """The TXT record for multiaddrs that end in `/p2p/<peer id>`; those of the LAN only, at most
    `MAX_ADDRESSES`."""
    record = bytearray()
    for address in [a for a in addresses if _of_a_lan(a)][:MAX_ADDRESSES]:
        entry = PREFIX + address.encode()
        if len(entry) <= 255 and len(record) + 1 + len(entry) <= MAX_TEXT_BYTES:
            record += bytes([len(entry)]) + entry
    return bytes(record)


def read_text_record(record: bytes) -> tuple[PeerAddress, ...]:
    """The peers of a TXT record; what is no address of a LAN is left out. ValueError: no record."""
    if len(record) > MAX_TEXT_BYTES:
        raise ValueError("a TXT record of more than one packet")
    found: dict[PeerId, list[str]] = {}
    at = 0
    while at < len(record):
        entry = record[at + 1 : at + 1 + record[at]]
        if len(entry) != record[at]:
            raise ValueError("a TXT record that ends within a text")
        at += 1 + len(entry)
        if not entry.startswith(PREFIX):
            continue
        with contextlib.suppress(NetworkError, UnicodeDecodeError):
            text = entry[len(PREFIX) :].decode("ascii")
            peer = parse_peer_multiaddr(text)
            if _of_a_lan(text) and sum(map(len, found.values())) < MAX_ADDRESSES:
                found.setdefault(peer.peer_id, []).extend(peer.multiaddrs)
    return tuple(PeerAddress(peer_id, tuple(addresses)) for peer_id, addresses in found.items())


def _of_a_lan(address: str) -> bool:
    """Whether a multiaddr is plain IP and TCP, and not of this machine alone."""
    parts = address.split("/")
    plain = len(parts) == 7 and parts[1] in ("ip4", "ip6") and parts[3] == "tcp"
    return plain and not parts[2].startswith("127.") and parts[2] != "::1"


class LanDiscovery:
    """Says where this node is, and calls `found` for every other that says so.

    `addresses`: this node's multiaddrs now; asked again from time to time.
    """

    def __init__(
        self, peer_id: PeerId, addresses: Callable[[], Iterable[str]], found: Found
    ) -> None:
        self.somebody = trio.Event()
        """Set once another node has been found."""
        self._peer_id = peer_id
        self._addresses = addresses
        self._found = found
        self._name = f"{secrets.token_hex(16)}.{SERVICE}"
        self._listening_at: set[str] = set()
        self._sources = Sources()
        self._zeroconf: Zeroconf

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """On the LAN for as long as the block is open. NetworkError: no multicast here."""
        told = self._own_info()
        try:
            hearing = open_socket()
            try:
                self._zeroconf = await trio.to_thread.run_sync(_open, told)
            except BaseException:
                hearing.close()
                raise
        except (OSError, ZeroconfError) as error:
            raise NetworkError(f"mDNS does not work on this machine: {error}") from error
        try:
            with hearing:
                listen_at(hearing, self._listening_at)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear, hearing)
                    nursery.start_soon(self._keep_asking)
                    nursery.start_soon(self._keep_told, told, hearing)
                    yield
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._zeroconf.close)

    def _own_info(self) -> ServiceInfo:
        record = text_record(self._addresses())
        host = f"{self._name.partition('.')[0]}.local."
        return ServiceInfo(SERVICE, self._name, PLACEHOLDER_PORT, properties=record, server=host)

    async def _hear(self, hearing: trio.socket.SocketType) -> None:
        while True:
            try:
                packet, source = await hearing.recvfrom(MAX_PACKET_BYTES)
            except OSError as error:
                log.debug("mdns: nothing heard: %s", error)  # an interface goes; tried again
                await trio.sleep(1.0)
            else:
                self.hear(packet, source[0], trio.current_time())

    def hear(self, packet: bytes, source: str, now: float) -> None:
        """One packet from the address `source`; any bytes."""
        if not self._sources.may_speak(source, now):
            return
        try:
            peers = read_text_record(text_in(packet, SERVICE, MAX_TEXT_BYTES))
        except ValueError as error:
            log.debug("mdns: %s: %s", source, error)
            return
        for peer in peers[:1]:  # everybody speaks for itself
            if peer.peer_id != self._peer_id and self._sources.may_name(source, peer.peer_id, now):
                self._found(peer)
                self.somebody.set()

    async def _keep_asking(self) -> None:
        pauses = iter(ASK_SECONDS)
        while True:
            await trio.sleep(next(pauses, ASK_AGAIN_SECONDS))
            question = DNSOutgoing(_QUERY)
            question.add_question(DNSQuestion(SERVICE, _PTR, _IN))
            self._zeroconf.send(question)

    async def _keep_told(self, told: ServiceInfo, hearing: trio.socket.SocketType) -> None:
        while True:
            await trio.sleep(REFRESH_SECONDS)
            listen_at(hearing, self._listening_at)
            info = self._own_info()
            if info.text == told.text:
                continue
            try:
                await trio.to_thread.run_sync(self._zeroconf.update_service, info)
            except (ZeroconfError, OSError) as error:
                log.debug("mdns: not told of new addresses: %s", error)  # tried again
            else:
                told = info


class _Forgetting(RecordUpdateListener):
    """Empties zeroconf's cache, which nothing here needs. Called in zeroconf's own thread."""

    def __init__(self, zeroconf: Zeroconf) -> None:
        self._cache = zeroconf.cache
        self._records = 0

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        self._records += len(records)

    def async_update_records_complete(self) -> None:
        if self._records > MAX_CACHED_RECORDS:
            self._records = 0
            for name in self._cache.names():
                self._cache.async_remove_records(self._cache.entries_with_name(name))


def _open(info: ServiceInfo) -> Zeroconf:
    zeroconf = Zeroconf()
    try:
        zeroconf.add_listener(_Forgetting(zeroconf), None)
        zeroconf.register_service(info)
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf
