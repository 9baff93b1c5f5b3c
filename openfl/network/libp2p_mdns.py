"""Finding nodes on the same LAN without any address: multicast DNS, as libp2p's mdns spec has it.

https://github.com/libp2p/specs/blob/master/discovery/mdns.md: every node answers for the service
`_p2p._udp.local` under a random name, with a TXT record that holds `dnsaddr=<multiaddr>` of each of
its addresses.

`libp2p.discovery.mdns` of 0.8.1 is not used: it writes into the peer store from zeroconf's thread.
Here zeroconf only hands names and bytes over; all else happens in trio's thread. What is heard is
a hint of whoever is on the LAN: bounded, and worth a dial at most.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterable

import trio
from zeroconf import Error as ZeroconfError
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from openfl.contribution import PeerId
from openfl.errors import NetworkError
from openfl.network.base import PeerAddress
from openfl.network.libp2p_addresses import parse_peer_multiaddr

log = logging.getLogger(__name__)

SERVICE = "_p2p._udp.local."
PREFIX = b"dnsaddr="
PLACEHOLDER_PORT = 4001
"""Of the SRV record, which the spec does not use."""
MAX_ADDRESSES = 8
MAX_TEXT_BYTES = 1300
"""Of a TXT record in one packet (RFC 6763, 6.1)."""
LOOK_UP_MILLISECONDS = 3000
QUEUE = 64
REFRESH_SECONDS = 10.0

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
        self._send, self._receive = trio.open_memory_channel[str](QUEUE)
        self._zeroconf: Zeroconf

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """On the LAN for as long as the block is open. NetworkError: no multicast here."""
        told = self._own_info()
        hand_over = trio.lowlevel.current_trio_token().run_sync_soon
        listener = _Listener(lambda name: hand_over(self._hear, name))
        try:
            self._zeroconf = await trio.to_thread.run_sync(_open, told, listener)
        except (OSError, ZeroconfError) as error:
            raise NetworkError(f"mDNS does not work on this machine: {error}") from error
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_up)
                nursery.start_soon(self._keep_told, told)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._zeroconf.close)

    def _own_info(self) -> ServiceInfo:
        record = text_record(self._addresses())
        host = f"{self._name.partition('.')[0]}.local."
        return ServiceInfo(SERVICE, self._name, PLACEHOLDER_PORT, properties=record, server=host)

    def _hear(self, name: str) -> None:
        with contextlib.suppress(trio.WouldBlock):  # a LAN that floods us loses some
            self._send.send_nowait(name)

    async def _look_up(self) -> None:
        async for name in self._receive:
            if name == self._name:
                continue
            try:
                peers = read_text_record(await trio.to_thread.run_sync(self._text_of, name))
            except (ValueError, ZeroconfError, OSError) as error:
                # Anybody on the LAN can say any name.
                log.debug("mdns: %s: %s", name, error)
                continue
            for peer in peers:
                if peer.peer_id != self._peer_id:
                    self._found(peer)
                    self.somebody.set()

    def _text_of(self, name: str) -> bytes:
        info = ServiceInfo(SERVICE, name)
        # It comes with the answer that gave the name. Asking for more waits for an address record,
        # too, which the spec does not ask for.
        if not (info.load_from_cache(self._zeroconf) or info.text):
            info.request(self._zeroconf, LOOK_UP_MILLISECONDS)
        return info.text or b""

    async def _keep_told(self, told: ServiceInfo) -> None:
        while True:
            await trio.sleep(REFRESH_SECONDS)
            info = self._own_info()
            if info.text == told.text:
                continue
            try:
                await trio.to_thread.run_sync(self._zeroconf.update_service, info)
            except (ZeroconfError, OSError) as error:
                log.debug("mdns: not told of new addresses: %s", error)  # tried again
            else:
                told = info


class _Listener(ServiceListener):
    """Called by zeroconf in its own thread."""

    def __init__(self, hand_over: Callable[[str], None]) -> None:
        self._hand_over = hand_over

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._hand_over(name)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A peer that left the LAN may still be reached otherwise."""


def _open(info: ServiceInfo, listener: ServiceListener) -> Zeroconf:
    zeroconf = Zeroconf()
    try:
        zeroconf.register_service(info)
        ServiceBrowser(zeroconf, SERVICE, listener=listener)
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf
