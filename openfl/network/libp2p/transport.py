"""The lowest part of the libp2p adapter: sockets, encryption, Yamux.

Each class and override says which of the `defects` of py-libp2p it works around.
"""

from __future__ import annotations

import logging
import os
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakSet

import trio
from cryptography import x509
from cryptography.x509.oid import NameOID
from libp2p.abc import IListener
from libp2p.connection_types import ConnectionType
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import MessageTooLarge
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectError
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.tls.transport import PROTOCOL_ID as TLS_PROTOCOL
from libp2p.security.tls.transport import IdentityConfig, TLSTransport
from libp2p.stream_muxer.yamux.yamux import (
    FLAG_SYN,
    TYPE_PING,
    YAMUX_HEADER_FORMAT,
    Yamux,
)
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL
from libp2p.transport.exceptions import MuxerUpgradeFailure, OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from openfl.network.libp2p.addresses import expand_address
from openfl.network.libp2p.dns import resolve_host
from openfl.network.libp2p.patience import comes

log = logging.getLogger(__name__)
_FRAME_HEADER = struct.Struct(YAMUX_HEADER_FORMAT)

MAX_READ_BYTES = 1 << 18
"""From a socket at once; whoever wants more reads again."""
FRAME_WRITE_TIMEOUT_SECONDS = 10.0
KEEPALIVE_INTERVAL_SECONDS = 5.0
KEEPALIVE_TIMEOUT_SECONDS = 15.0
"""After 20 s of silence at the latest a connection is given up. TCP tries ever less often: what was
silent for 13 s may otherwise stay so for 13 more after the network is back."""
MAX_BUFFERED_BYTES_PER_CONNECTION = 24 * 1024 * 1024
MAX_BUFFERED_BYTES = 96 * 1024 * 1024
"""Of all connections together: received, but not yet read by whoever handles the streams."""
COUNT_BUFFERED_EVERY_BYTES = 1024 * 1024
MAX_NEGOTIATION_BYTES = 1024
"""A line of a protocol negotiation: the name of a protocol, or "na"."""


def shielded(seconds: float) -> trio.CancelScope:
    """A scope for cleaning up: cancellation waits, but not for longer than `seconds`."""
    return trio.CancelScope(shield=True, deadline=trio.current_time() + seconds)


@dataclass
class Faults:
    """Counts what was refused or survived, and tells the adapter which peer was at fault."""

    counts: Counter[str] = field(default_factory=Counter)
    blame: Callable[[ID, str], None] = lambda peer_id, reason: None

    def count(self, name: str) -> None:
        """Count what is nobody's fault."""
        self.counts[name] += 1

    def against(self, peer_id: ID, name: str) -> None:
        """Count a fault of the peer, and hold it against it."""
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
        """Close what is left. Defect sockets-left-open."""
        for stream in self.streams:
            stream.stream.socket.close()
        self.streams.clear()


class CountingStream(TrioTCPStream):  # type: ignore[misc]
    """A TCP connection whose bytes are counted in `traffic`."""

    def __init__(self, stream: trio.SocketStream, traffic: Traffic) -> None:
        super().__init__(stream)
        self._traffic = traffic
        self.visit: Any = None
        """The `Visit` of an inbound connection."""
        traffic.streams.add(self)

    async def close(self) -> None:
        """Close the socket; it is no longer listed in `Traffic.streams`."""
        self._traffic.streams.discard(self)
        await super().close()

    async def write(self, data: bytes) -> None:
        """Send all of `data`, and count it."""
        await super().write(data)
        self._traffic.sent += len(data)

    async def read(self, n: int | None = None) -> bytes:
        """Defect announced-length."""
        data: bytes = await super().read(n if n is None else min(n, MAX_READ_BYTES))
        self._traffic.received += len(data)
        return data


async def _read_short_line(reader: Any) -> bytes:
    try:
        line: bytes = await read_varint_prefixed_bytes_limited(reader, MAX_NEGOTIATION_BYTES)
    except MessageTooLarge as error:
        raise ParseError("a negotiation message that is no name of a protocol") from error
    if not line.endswith(b"\n") or not line.isascii():
        raise ParseError("a negotiation message that is no line of text")
    return line[:-1]


def bound_negotiation() -> None:
    """Defect negotiation-length. For the whole process; again it changes nothing."""
    multiselect_communicator.read_delim = _read_short_line


class BoundListener(IListener):  # type: ignore[misc]
    """Accepts on sockets that were bound before the host started.

    Defect shared-port. py-libp2p's listener also serves from a system task, and announces
    `0.0.0.0`, which nobody can dial.
    """

    def __init__(self, transport: TcpTransport, handler: Callable[[Any], Awaitable[None]]) -> None:
        self._transport = transport
        self._handler = handler
        self._listeners: list[trio.SocketListener] = []
        self._scope = trio.CancelScope()

    async def listen(self, maddr: Multiaddr) -> None:
        """Accept at an address that was bound; OpenConnectionError for another."""
        self._listeners = self._transport.bound.get(str(maddr), [])
        if not self._listeners:
            raise OpenConnectionError(f"{maddr} was not bound")
        self._transport.nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        with self._scope:
            await trio.serve_listeners(self._accept, self._listeners)

    async def _accept(self, stream: trio.SocketStream) -> None:
        handler = self._handler
        try:
            host, port = stream.socket.getpeername()[:2]
            visit = self._transport.knock(str(host))
            address = str(host).removeprefix("::ffff:"), int(port)
            handler = self._transport.expected.get(address, handler)
        except OSError:
            visit = None  # it has gone already
        if visit is None:
            stream.socket.close()
            return
        counting = CountingStream(stream, self._transport.traffic)
        counting.visit = visit
        try:
            await handler(counting)
        except Exception as error:
            log.debug("inbound connection failed: %r", error)
        finally:
            visit.end()
            with shielded(0.5):
                await counting.close()

    def get_addrs(self) -> tuple[Multiaddr, ...]:
        """Addresses that can be dialled: one for each interface in place of 0.0.0.0."""
        return tuple(
            Multiaddr(address)
            for listener in self._listeners
            for address in expand_address(listener.socket.getsockname())
        )

    async def close(self) -> None:
        """Stop accepting, and free the port."""
        self._scope.cancel()
        for listener in self._listeners:
            await listener.aclose()
        self._listeners = []


class TcpTransport(TCP):  # type: ignore[misc]
    """TCP whose bytes are counted and whose listening sockets are bound by the adapter."""

    def __init__(
        self, nursery: trio.Nursery, traffic: Traffic, knock: Callable[[str], Any | None]
    ) -> None:
        """`knock(host)`: a `Visit`, or None when that visitor is not let in."""
        super().__init__()
        self.nursery = nursery
        self.traffic = traffic
        self.knock = knock
        self.bound: dict[str, list[trio.SocketListener]] = {}
        self.expected: dict[tuple[str, int], Callable[[CountingStream], Awaitable[None]]] = {}
        """(IP address, port) of visitors that are not strangers -> what to do with them."""

    def create_listener(self, handler_function: Any) -> BoundListener:
        """A listener on sockets that are bound already."""
        return BoundListener(self, handler_function)

    async def dial(self, maddr: Multiaddr) -> RawConnection:
        """Defect names-without-resolver."""
        kind = maddr.protocols()[0].name
        if kind not in ("dns", "dns4", "dns6"):
            return await self._dial_resolved(maddr)
        port = str(maddr.value_for_protocol("tcp"))
        name = str(maddr.value_for_protocol(kind))
        problem: OpenConnectionError | None = None
        for ip in await resolve_host(kind, name, int(port)):
            try:
                return await self._dial_resolved(
                    Multiaddr(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}/tcp/{port}")
                )
            except OpenConnectionError as error:
                problem = error
        raise problem or OpenConnectionError(f"the name {name} has no address")

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
            return os.strerror(seen.errno).lower()
        seen = seen.__cause__
    return str(error)


class HardenedYamux(Yamux):  # type: ignore[misc]
    """A multiplexed connection that no peer can crash, fill or leave hanging."""

    def __init__(
        self,
        *arguments: Any,
        faults: Faults,
        others: WeakSet[HardenedYamux] | None = None,
        **keywords: Any,
    ) -> None:
        """`others`: all open connections of this node; this one is added to them."""
        super().__init__(*arguments, **keywords)
        self.buffered = 0
        """Bytes received and not read, as of the last count."""
        self._faults = faults
        self._bodies = 0
        """Frames with data received, as a sign of life."""
        self.circuit: Multiaddr | None = None
        """The address of the circuit this connection runs over; None when it is direct."""
        self.punched = False
        """Made by hole punching: nobody can dial the address it goes to."""
        self._uncounted = 0
        self._all = others if others is not None else WeakSet()
        self._all.add(self)

    def get_connection_type(self) -> ConnectionType:
        """Defect connection-type."""
        return ConnectionType.DIRECT if self.circuit is None else ConnectionType.RELAYED

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The address of the circuit, or those of the connection."""
        if self.circuit is not None:
            return [self.circuit]
        addresses: list[Multiaddr] = super().get_transport_addresses()
        return addresses

    async def start(self) -> None:
        """Defect muxer-crash."""
        try:
            await super().start()
        except Exception as error:
            log.debug("connection to %s failed: %r", self.peer_id, error)
            self._faults.count("connection-crashed")
            await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        # Defect cancelled-write. A frame is written whole or the connection is closed.
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
        self._bodies += 1
        # Defect window-ignored.
        self._uncounted += length
        if self._uncounted >= COUNT_BUFFERED_EVERY_BYTES:
            self._uncounted = 0
            self.buffered = length + sum(map(len, self.stream_buffers.values()))
            together = sum(c.buffered for c in self._all if not c.event_shutting_down.is_set())
            if self.buffered > MAX_BUFFERED_BYTES_PER_CONNECTION or (
                together > MAX_BUFFERED_BYTES and self.buffered > together // len(self._all)
            ):
                self.buffered = 0
                self._faults.against(self.peer_id, "window-exceeded")
                # The one exception after which the reader closes the connection; after any other
                # it would read on in the middle of a frame.
                raise trio.TooSlowError("the peer ignores flow control")
        data: bytes = await super()._read_data_body(length)
        return data

    async def _measure_rtt_loop(self) -> None:
        # Defect silent-peer.
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
            # Between overloaded nodes the answer may wait behind much else, which is as good.
            answers = await comes(self._ping_event, KEEPALIVE_TIMEOUT_SECONDS, lambda: self._bodies)
            if not answers and not self.event_shutting_down.is_set():
                self._faults.count("peer-silent")
                await self._cleanup_on_error()
                return
            with trio.move_on_after(KEEPALIVE_INTERVAL_SECONDS):
                await self.event_shutting_down.wait()


def bare_certificate() -> x509.CertificateBuilder:
    """A certificate without extensions, to which libp2p's own is added.

    Defect certificate-extensions. Nobody needs the others: go-libp2p does not have them either.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "libp2p")])
    # Backdated for clocks that are behind; it lives no longer than this process.
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=365 * 100))
        .subject_name(name)
        .issuer_name(name)
    )


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
            security[TLS_PROTOCOL] = TLSTransport(
                key_pair, identity_config=IdentityConfig(bare_certificate())
            )
        super().__init__(security, {TProtocol(YAMUX_PROTOCOL): Yamux})
        self._faults = faults
        self._open: WeakSet[HardenedYamux] = WeakSet()
        bound_negotiation()

    async def upgrade_security(
        self, raw_conn: Any, is_initiator: bool, peer_id: ID | None = None
    ) -> Any:
        """Secure the connection; what it runs over is remembered."""
        secured = await super().upgrade_security(raw_conn, is_initiator, peer_id)
        if raw_conn.get_connection_type() == ConnectionType.RELAYED:
            secured.circuit = raw_conn.get_transport_addresses()[0]
        return secured

    async def upgrade_connection(self, conn: Any, peer_id: ID) -> HardenedYamux:
        """Defect muxer-class."""
        muxers = self.muxer_multistream
        try:
            await muxers._selector.select(conn, conn.is_initiator, muxers.negotiate_timeout)
        except (MultiselectError, MultiselectClientError) as error:
            raise MuxerUpgradeFailure("no common stream multiplexer") from error
        muxed = HardenedYamux(
            conn, peer_id, is_initiator=conn.is_initiator, faults=self._faults, others=self._open
        )
        muxed.circuit = getattr(conn, "circuit", None)
        return muxed
