"""The lowest part of the libp2p adapter: sockets, and what is counted of them.

Each class and override says which of the `defects` of py-libp2p it works around.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from libp2p.abc import IListener
from libp2p.exceptions import ParseError
from libp2p.io.exceptions import ConnectionClosedError, MessageTooLarge
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP
from libp2p.utils.multiaddr_utils import extract_ip_from_multiaddr
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from openfl.network.libp2p.addresses import expand_address
from openfl.network.libp2p.dns import resolve_host
from openfl.network.libp2p.unread import unread_of_socket

log = logging.getLogger(__name__)

MAX_READ_BYTES = 1 << 16
"""From a socket at once; whoever wants more reads again."""
MAX_NEGOTIATION_BYTES = 1024
"""A line of a protocol negotiation: the name of a protocol, or "na"."""


def shielded(seconds: float) -> trio.CancelScope:
    """A scope for cleaning up: cancellation waits, but not for longer than `seconds`."""
    return trio.CancelScope(shield=True, deadline=trio.current_time() + seconds)


async def take(lock: trio.Lock) -> None:
    """Acquire `lock`, at once when it is free: trio's own way is through the scheduler always."""
    try:
        lock.acquire_nowait()
    except trio.WouldBlock:
        await lock.acquire()


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
        self._ahead = memoryview(b"")
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
        """At most `n` bytes, of what was read ahead first; empty at the end. Defects
        announced-length and frame-calls."""
        if n == 0:
            return b""
        if not self._ahead:
            await take(self.read_lock)
            try:
                self._ahead = memoryview(await self._receive())
            finally:
                self.read_lock.release()
        data = bytes(self._ahead[:n])
        self._ahead = self._ahead[len(data) :]
        return data

    @property
    def unread(self) -> int:
        """Bytes that have come and that nobody has taken."""
        return len(self._ahead) + unread_of_socket(self.stream.socket)

    async def _receive(self) -> bytes:
        try:
            data = await self.stream.receive_some(MAX_READ_BYTES)
        except trio.BrokenResourceError as error:
            raise ConnectionClosedError(f"connection reset: {error}", transport="tcp") from error
        except trio.ClosedResourceError:
            return b""  # closed here: no more comes
        self._traffic.received += len(data)
        return bytes(data)


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
