"""The lower half of the libp2p adapter: sockets, connections, dialling.

Everything here works around defects of py-libp2p 0.8.1 below pubsub and the DHT; each class and
override says which one, so that it can be deleted when a release fixes it. Regression tests are in
`tests/libp2p`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil  # type: ignore[import-untyped]
import trio
from libp2p.abc import IListener
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore, PeerStoreError
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_PROTOCOL
from libp2p.security.tls.transport import TLSTransport
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
)
from libp2p.stream_muxer.yamux.yamux import (
    PROTOCOL_ID as YAMUX_PROTOCOL,
)
from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from multiaddr import Multiaddr

log = logging.getLogger(__name__)
_FRAME_HEADER = struct.Struct(YAMUX_HEADER_FORMAT)

DIAL_TIMEOUT_SECONDS = 8.0
DIAL_STAGGER_SECONDS = 0.2
"""Head start of an address over the next one (RFC 8305; go-libp2p uses 250 ms)."""
MAX_DIALLED_ADDRESSES = 8
UPGRADE_TIMEOUT_SECONDS = 6.0
FRAME_WRITE_TIMEOUT_SECONDS = 10.0
KEEPALIVE_INTERVAL_SECONDS = 15.0
KEEPALIVE_TIMEOUT_SECONDS = 15.0
MAX_STREAMS_PER_CONNECTION = 128
MAX_BUFFERED_BYTES_PER_CONNECTION = 48 * 1024 * 1024
MAX_CONNECTIONS_PER_PEER = 2
PENDING_HANDSHAKES = 32
RETRY_DIAL_SECONDS = 5.0
"""How long the DHT's own dials leave a peer alone after all its addresses failed."""


def shielded(seconds: float) -> trio.CancelScope:
    """A scope for cleaning up: cancellation waits, but not for longer than `seconds`."""
    return trio.CancelScope(shield=True, deadline=trio.current_time() + seconds)


@dataclass
class Faults:
    """Counts what was refused or survived, and tells the adapter which peer was at fault."""

    counts: Counter[str] = field(default_factory=Counter)
    blame: Callable[[ID, str], None] = lambda peer_id, reason: None

    def count(self, name: str) -> None:
        self.counts[name] += 1

    def against(self, peer_id: ID, name: str) -> None:
        self.counts[name] += 1
        self.blame(peer_id, name)


@dataclass
class Traffic:
    """Bytes on the wire, encryption and framing included, for all connections since start."""

    sent: int = 0
    received: int = 0
    streams: set[CountingStream] = field(default_factory=set)
    """Those that are open."""

    def close_sockets(self) -> None:
        """Close what is left. Defect: a connection whose own clean-up was cancelled counts as
        closed while its socket is open."""
        for stream in self.streams:
            stream.stream.socket.close()
        self.streams.clear()


class CountingStream(TrioTCPStream):  # type: ignore[misc]
    def __init__(self, stream: trio.SocketStream, traffic: Traffic) -> None:
        super().__init__(stream)
        self._traffic = traffic
        traffic.streams.add(self)

    async def close(self) -> None:
        self._traffic.streams.discard(self)
        await super().close()

    async def write(self, data: bytes) -> None:
        await super().write(data)
        self._traffic.sent += len(data)

    async def read(self, n: int | None = None) -> bytes:
        data: bytes = await super().read(n)
        self._traffic.received += len(data)
        return data


def interface_addresses() -> tuple[str, ...]:
    """IPv4 and global IPv6 addresses of this machine, loopback first, link-local left out."""
    found: list[str] = []
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            ip = ipaddress.ip_address(entry.address.split("%")[0])
            if not (ip.is_link_local or ip.is_multicast or ip.is_unspecified):
                found.append(str(ip))
    return tuple(sorted(set(found), key=lambda ip: (not ipaddress.ip_address(ip).is_loopback, ip)))


class BoundListener(IListener):  # type: ignore[misc]
    """Accepts on sockets that were bound before the host started.

    py-libp2p's listener sets SO_REUSEPORT, so that a second node on the same port starts without
    an error and the two share the connections at random; it serves from a system task; and it
    announces `0.0.0.0`, which nobody can dial.
    """

    def __init__(self, transport: TcpTransport, handler: Callable[[Any], Awaitable[None]]) -> None:
        self._transport = transport
        self._handler = handler
        self._listeners: list[trio.SocketListener] = []
        self._scope = trio.CancelScope()

    async def listen(self, maddr: Multiaddr) -> None:
        self._listeners = self._transport.bound.get(str(maddr), [])
        if not self._listeners:
            raise OpenConnectionError(f"{maddr} was not bound")
        self._transport.nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        with self._scope:
            await trio.serve_listeners(self._accept, self._listeners)

    async def _accept(self, stream: trio.SocketStream) -> None:
        counting = CountingStream(stream, self._transport.traffic)
        try:
            await self._handler(counting)
        except Exception as error:
            log.debug("inbound connection failed: %r", error)
        finally:
            with shielded(0.5):
                await counting.close()

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        return tuple(
            Multiaddr(address)
            for listener in self._listeners
            for address in expand_address(listener.socket.getsockname())
        )

    async def close(self) -> None:
        self._scope.cancel()
        for listener in self._listeners:
            await listener.aclose()
        self._listeners = []


def expand_address(name: Any) -> list[str]:
    """Dialable multiaddrs of a bound socket: an unspecified address becomes every interface's."""
    try:
        host, port = str(name[0]), int(name[1])
        bound = ipaddress.ip_address(host.split("%")[0])
    except (ValueError, IndexError, TypeError):
        return []
    if not bound.is_unspecified:
        return [f"/ip{bound.version}/{bound}/tcp/{port}"]
    return [
        f"/ip{bound.version}/{ip}/tcp/{port}"
        for ip in interface_addresses()
        if ipaddress.ip_address(ip).version == bound.version
    ]


class TcpTransport(TCP):  # type: ignore[misc]
    """TCP whose bytes are counted and whose listening sockets are bound by the adapter."""

    def __init__(self, nursery: trio.Nursery, traffic: Traffic) -> None:
        super().__init__()
        self.nursery = nursery
        self.traffic = traffic
        self.bound: dict[str, list[trio.SocketListener]] = {}

    def create_listener(self, handler_function: Any) -> BoundListener:
        return BoundListener(self, handler_function)

    async def _dial_resolved(self, maddr: Multiaddr, source: Any = None) -> RawConnection:
        host = extract_ip_from_multiaddr(maddr)
        port = maddr.value_for_protocol("tcp")
        if host is None or port is None:
            raise OpenConnectionError(f"{maddr} has no IP address and TCP port")
        try:
            stream = await trio.open_tcp_stream(host, int(port))
        except OSError as error:
            raise OpenConnectionError(describe_os_error(error)) from error
        return RawConnection(CountingStream(stream, self.traffic), True)


def describe_os_error(error: BaseException) -> str:
    """The reason in words; trio wraps the real one ("connection refused") in a group."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, BaseExceptionGroup):
            seen = seen.exceptions[0]
            continue
        if isinstance(seen, OSError) and seen.strerror and seen.errno:
            return seen.strerror.lower()
        seen = seen.__cause__
    return str(error)


class HardenedYamux(Yamux):  # type: ignore[misc]
    def __init__(self, *arguments: Any, faults: Faults, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._faults = faults
        self._frames_read = 0

    async def start(self) -> None:
        # Defect: an exception in the muxer's tasks ends the swarm's service, hence the node.
        try:
            await super().start()
        except Exception as error:
            log.debug("connection to %s failed: %r", self.peer_id, error)
            self._faults.count("connection-crashed")
            await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        # Defect: a cancelled write leaves half an encrypted frame on the wire, which ends the whole
        # connection for everybody else. A frame is written whole or the connection is closed.
        async with self._write_lock:
            with trio.CancelScope(
                shield=True, deadline=trio.current_time() + FRAME_WRITE_TIMEOUT_SECONDS
            ) as scope:
                await self.secured_conn.write(data)
            if scope.cancelled_caught:
                with shielded(1):
                    await self.secured_conn.close()
                raise RawConnError("the peer does not read")
        await trio.lowlevel.checkpoint()

    async def _read_data_body(self, length: int) -> bytes:
        # Defect: a peer that ignores the receive window is only logged, and its bytes are kept.
        self._frames_read += 1
        if self._frames_read % 16 == 0:
            buffered = sum(map(len, self.stream_buffers.values()))
            if buffered + length > MAX_BUFFERED_BYTES_PER_CONNECTION:
                self._faults.against(self.peer_id, "window-exceeded")
                # The one exception after which the reader closes the connection; after any other
                # it would read on in the middle of a frame.
                raise trio.TooSlowError("the peer ignores flow control")
        data: bytes = await super()._read_data_body(length)
        return data

    async def _measure_rtt_loop(self) -> None:
        # Defect: nobody closes a connection whose peer no longer answers (a pulled cable), so it
        # stays in the mesh and in the routing table until TCP gives up after a quarter of an hour.
        number = 0
        await trio.sleep(0.5)
        while not self.event_shutting_down.is_set():
            number += 1
            self._ping_id = number & 0xFFFFFFFF
            self._ping_event = trio.Event()
            self._ping_sent_time = trio.current_time()
            try:
                await self._write_frame(
                    _FRAME_HEADER.pack(0, TYPE_PING, FLAG_SYN, 0, self._ping_id)
                )
            except Exception:
                return  # the reader notices and cleans up
            with trio.move_on_after(KEEPALIVE_TIMEOUT_SECONDS) as waiting:
                await self._ping_event.wait()
            if waiting.cancelled_caught and not self.event_shutting_down.is_set():
                self._faults.count("peer-silent")
                await self._cleanup_on_error()
                return
            with trio.move_on_after(KEEPALIVE_INTERVAL_SECONDS):
                await self.event_shutting_down.wait()


class YamuxUpgrader(TransportUpgrader):  # type: ignore[misc]
    """Offers only authenticated encryption and only Yamux.

    A default host also accepts `/plaintext/2.0.0`, `/secio/1.0.0` and mplex.
    """

    def __init__(self, key_pair: KeyPair, tls: bool, faults: Faults) -> None:
        security: dict[TProtocol, Any] = {
            NOISE_PROTOCOL: NoiseTransport(
                key_pair, noise_privkey=create_new_x25519_key_pair().private_key
            )
        }
        if tls:
            security[TLS_PROTOCOL] = TLSTransport(key_pair)
        super().__init__(security, {TProtocol(YAMUX_PROTOCOL): Yamux})
        self._faults = faults

    async def upgrade_connection(self, conn: Any, peer_id: ID) -> HardenedYamux:
        # MuxerMultistream builds its own `Yamux` whatever class it is given.
        muxers = self.muxer_multistream
        try:
            await muxers._selector.select(conn, conn.is_initiator, muxers.negotiate_timeout)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("no common stream multiplexer") from error
        return HardenedYamux(conn, peer_id, is_initiator=conn.is_initiator, faults=self._faults)


class DialFailed(SwarmException):  # type: ignore[misc]
    """All addresses of a peer failed; `reasons` says why for each."""

    def __init__(self, reasons: Sequence[tuple[str, str]]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(f"{address}: {why}" for address, why in reasons))


class HardenedSwarm(Swarm):  # type: ignore[misc]
    def __init__(
        self,
        peer_id: ID,
        peerstore: PeerStore,
        upgrader: YamuxUpgrader,
        transport: TcpTransport,
        max_connections: int,
        faults: Faults,
    ) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            [transport],
            connection_config=ConnectionConfig(
                max_connections=max_connections,
                min_connections=0,
                low_watermark=0,
                high_watermark=max_connections,
                max_connections_per_peer=MAX_CONNECTIONS_PER_PEER,
                inbound_upgrade_timeout=UPGRADE_TIMEOUT_SECONDS,
                outbound_upgrade_timeout=UPGRADE_TIMEOUT_SECONDS,
            ),
        )
        self._tcp = transport
        self._faults = faults
        self._inbound_limiter = trio.CapacityLimiter(max_connections + PENDING_HANDSHAKES)
        # Off: the auto-connector dials whomever the peer store has heard of, up to half of
        # `max_connections`, whatever the watermarks are. Discovery decides whom we dial.
        self.auto_connector.maybe_connect = trio.lowlevel.checkpoint
        self._streams_open: Counter[int] = Counter()
        self._failed_dials: dict[ID, float] = {}
        self.is_refused: Callable[[ID], bool] = lambda peer_id: False

    async def _do_handle_inbound_connection(
        self, read_write_closer: Any, maddr: Multiaddr, failure_event: Any
    ) -> None:
        # Defect: the original waits here until the whole swarm ends, so the slot of an inbound
        # connection is never given back: after `max_connections` visitors, however short, a node
        # accepts nobody any more.
        raw = RawConnection(read_write_closer, False)
        try:
            muxed = await self.upgrade_inbound_raw_conn(raw, maddr)
        except SwarmException as error:
            self._faults.count("handshake-refused")
            log.debug("inbound connection refused: %s", error)
            with shielded(0.5):
                await raw.close()
            return
        await muxed.event_closed.wait()

    async def add_conn(self, muxed_conn: Any, direction: str = "unknown") -> Any:
        peer_id = muxed_conn.peer_id
        if peer_id == self.self_id or self.is_refused(peer_id):
            self._faults.count("connection-refused")
            await muxed_conn.close()
            raise SwarmException(f"{peer_id} is refused")
        added = await super().add_conn(muxed_conn, direction)
        # Defect: the original trims only connections older than 20 s, so one identity can take all
        # places of a node at once.
        mine = sorted(self.connections.get(peer_id, ()), key=lambda c: c._created_at)
        for surplus in mine[:-MAX_CONNECTIONS_PER_PEER]:
            self.manager.run_task(self._close_connection_async, surplus)
        return added

    def newest_connection(self, peer_id: ID) -> Any | None:
        """The latest open connection: after a peer restarted, the older one is dead though nobody
        has noticed yet."""
        live = [c for c in self.connections.get(peer_id, ()) if not c.is_closed]
        return max(live, key=lambda c: c._created_at, default=None)

    def _select_connection(self, connections: list[Any], peer_id: ID) -> Any:
        return max(connections, key=lambda c: c._created_at)

    async def dial_peer(self, peer_id: ID) -> list[Any]:
        """Dial with the addresses of the peer store: used by the DHT's queries."""
        connection = self.newest_connection(peer_id)
        if connection is not None:
            return [connection]
        if trio.current_time() < self._failed_dials.get(peer_id, 0.0):
            raise SwarmException(f"{peer_id} could not be reached a moment ago")
        try:
            addresses = [strip_peer_id(str(a)) for a in self.peerstore.addrs(peer_id)]
        except PeerStoreError as error:
            raise SwarmException(f"no address of {peer_id} is known") from error
        return [await self.dial_addresses(peer_id, addresses)]

    async def dial_addresses(self, peer_id: ID, addresses: Iterable[str]) -> Any:
        """A connection to the peer over the first address that answers; DialFailed otherwise.

        Defects: the original tries one TCP address only, prefers any other to loopback, blocks the
        peer for a minute after a failure, and waits for a silent peer's handshake for ever.
        """
        if peer_id == self.self_id:
            raise DialFailed([(str(peer_id), "this is our own peer id")])
        if self.is_refused(peer_id):
            raise DialFailed([(str(peer_id), "refused for repeated faults")])
        while (ongoing := self._ongoing_dials.get(peer_id)) is not None:
            await ongoing.wait()
        connection = self.newest_connection(peer_id)
        if connection is not None:
            return connection
        if self.get_total_connections() >= self.connection_config.max_connections:
            raise DialFailed([(str(peer_id), "all connections are in use")])
        self._ongoing_dials[peer_id] = trio.Event()
        try:
            connection = await _Dial(self, self._tcp, peer_id).run(order_addresses(addresses))
            self._failed_dials.pop(peer_id, None)
            return connection
        except DialFailed:
            now = trio.current_time()
            self._failed_dials = {p: t for p, t in self._failed_dials.items() if t > now}
            self._failed_dials[peer_id] = now + RETRY_DIAL_SECONDS
            raise
        finally:
            self._ongoing_dials.pop(peer_id).set()

    def guard(self, handler: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """A stream handler that cannot end the node.

        Defect: an exception in any handler (identify, DHT, pubsub or ours) propagates from
        `SwarmConn._handle_muxed_stream` into the swarm's service. Also bounds how many streams a
        connection can have open at once, which nothing else does.
        """

        async def guarded(stream: Any) -> None:
            connection = id(stream.muxed_conn)
            if self._streams_open[connection] >= MAX_STREAMS_PER_CONNECTION:
                self._faults.count("stream-refused")
                await stream.reset()
                return
            self._streams_open[connection] += 1
            try:
                await handler(stream)
            except Exception as error:
                self._faults.count("handler-crashed")
                log.debug("stream %s of %s: %r", stream.get_protocol(), connection, error)
                with contextlib.suppress(Exception):
                    await stream.reset()
            finally:
                self._streams_open[connection] -= 1
                if self._streams_open[connection] <= 0:
                    del self._streams_open[connection]

        return guarded

    async def close_all(self) -> None:
        """Close every connection side by side: one after another each takes 0.3 s."""
        self._closing = True
        async with trio.open_nursery() as nursery:
            for connection in self.get_connections():
                nursery.start_soon(self._close_connection_async, connection)


class _Dial:
    """One race over a peer's addresses: TCP side by side, handshakes one at a time."""

    def __init__(self, swarm: HardenedSwarm, transport: TcpTransport, peer_id: ID) -> None:
        self._swarm = swarm
        self._transport = transport
        self._peer_id = peer_id
        self._handshake = trio.Lock()
        self._connection: Any = None
        self._reasons: list[tuple[str, str]] = []

    async def run(self, addresses: Sequence[str]) -> Any:
        if not addresses:
            raise DialFailed([(str(self._peer_id), "no address that can be dialled is known")])
        async with trio.open_nursery() as nursery:
            for address in addresses[:MAX_DIALLED_ADDRESSES]:
                finished = trio.Event()
                nursery.start_soon(self._attempt, address, finished, nursery.cancel_scope)
                with trio.move_on_after(DIAL_STAGGER_SECONDS):
                    await finished.wait()
        if self._connection is None:
            raise DialFailed(self._reasons)
        return self._connection

    async def _attempt(self, address: str, finished: trio.Event, scope: trio.CancelScope) -> None:
        try:
            with trio.fail_after(DIAL_TIMEOUT_SECONDS):
                raw = await self._transport.dial(Multiaddr(address))
            try:
                async with self._handshake:
                    with trio.fail_after(UPGRADE_TIMEOUT_SECONDS):
                        self._connection = await self._swarm.upgrade_outbound_raw_conn(
                            raw, self._peer_id
                        )
                scope.cancel()
            except BaseException:
                with shielded(0.5):
                    await raw.close()
                raise
        except trio.TooSlowError:
            self._reasons.append((address, "no answer in time"))
        except Exception as error:
            self._reasons.append((address, _reason(error)))
        finally:
            finished.set()


def _reason(error: Exception) -> str:
    text = str(error)
    if "mismatch" in text.lower() or "mismatch" in str(error.__cause__).lower():
        return "another peer answered there"
    if "upgrade security" in text:
        return "no common secure channel, or the handshake failed"
    return text or type(error).__name__


def strip_peer_id(address: str) -> str:
    """The multiaddr without a trailing `/p2p/...`."""
    head, _, _ = address.partition("/p2p/")
    return head


def order_addresses(addresses: Iterable[str]) -> list[str]:
    """Dialable TCP addresses, likeliest first: loopback leads only for peers on this machine."""
    usable = []
    for address in dict.fromkeys(map(strip_peer_id, addresses)):
        try:
            protocols = [p.name for p in Multiaddr(address).protocols()]
        except Exception:
            continue
        if (
            len(protocols) == 2
            and protocols[1] == "tcp"
            and protocols[0] in ("ip4", "ip6", "dns", "dns4", "dns6")
            and not address.endswith("/tcp/0")
        ):
            usable.append(address)
    mine = set(interface_addresses())
    local = any(_is_one_of(address, mine) for address in usable)
    return sorted(usable, key=lambda address: _rank(address, local))


def _ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address.split("/")[2])
    except ValueError:
        return None  # a DNS name


def _is_one_of(address: str, mine: set[str]) -> bool:
    ip = _ip_of(address)
    return ip is not None and not ip.is_loopback and str(ip) in mine


def _rank(address: str, local: bool) -> int:
    ip = _ip_of(address)
    if ip is None:
        return 1
    if ip.is_loopback:
        return 0 if local else 4
    return (2 if ip.is_private else 1) + (ip.version == 6)


class HardenedHost(BasicHost):  # type: ignore[misc]
    """Tells when a peer was identified: the DHT needs that, and py-libp2p tells nobody."""

    def __init__(self, swarm: HardenedSwarm, announce: Sequence[Multiaddr]) -> None:
        self.on_identified: Callable[[ID], Awaitable[None]] | None = None
        super().__init__(
            swarm,
            announce_addrs=list(announce) or None,
            disable_identify_address_discovery=True,
        )
        swarm.set_stream_handler(swarm.guard(self._swarm_stream_handler))

    async def _identify_peer(self, peer_id: ID, *, reason: str) -> None:
        # Runs in a trio system task, where an exception is an internal error of trio itself.
        try:
            await super()._identify_peer(peer_id, reason=reason)
            if self.on_identified is not None and self.is_peer_connected(peer_id):
                await self.on_identified(peer_id)
        except Exception as error:
            log.debug("identify %s: %r", peer_id, error)

    async def open_stream(self, peer_id: ID, protocols: Sequence[str]) -> Any:
        """A negotiated stream over the newest connection; SwarmException or StreamFailure."""
        return await self.new_stream(peer_id, [TProtocol(p) for p in protocols])


async def open_stream_on(
    connection: Any, host: BasicHost, protocols: Sequence[TProtocol], timeout_seconds: int = 10
) -> Any:
    """A negotiated stream on this very connection; the stream is reset when that fails."""
    stream = await connection.new_stream()
    try:
        selected = await host.multiselect_client.select_one_of(
            list(protocols), MultiselectCommunicator(stream), timeout_seconds
        )
    except BaseException:
        with shielded(1):
            await stream.reset()
        raise
    stream.set_protocol(selected)
    return stream
