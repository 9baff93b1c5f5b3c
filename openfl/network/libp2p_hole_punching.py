"""`HolePuncher`: turns a connection over a relay into a direct one (libp2p specs, relay/DCUtR.md).

A router lets in only what answers something that went out. So two nodes behind routers tell each
other, over the relay, at which addresses they are seen from outside, and dial each other there at
the same moment: each router takes the other's packets for answers. The dialled side of the relayed
connection (B of the specification) begins, and is the server on the new connection.

What a peer says is not believed: a handful of addresses is tried, no private, local or shared ones
(so nobody has this node knock at machines of its own network), a few times, for a few peers at
once. Who answers there has to prove that it is the peer. py-libp2p's own implementation belongs to
its relay and its transport, which are not used here; only its protobuf messages are.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.exceptions import ParseError
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.io.exceptions import IncompleteReadError, MessageTooLarge
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.network.libp2p_addresses import relay_of
from openfl.network.libp2p_circuit import MAX_MESSAGE_BYTES, is_relayed
from openfl.network.libp2p_port_sharing import AVAILABLE, dial_from_port_of
from openfl.network.libp2p_streams import StreamReader
from openfl.network.libp2p_swarm import (
    UPGRADE_TIMEOUT_SECONDS,
    HardenedHost,
    HardenedSwarm,
    open_stream_on,
)
from openfl.network.libp2p_transport import CountingStream, Faults, TcpTransport, shielded

log = logging.getLogger(__name__)

DCUTR_PROTOCOL = "/libp2p/dcutr"
IDENTIFY_PROTOCOL = "/ipfs/id/1.0.0"
MAX_IDENTIFY_BYTES = 64 * 1024
MAX_ADDRESSES = 4
"""Of a peer that are dialled in one try, and of ours that are told."""
MAX_TRIES = 3
MAX_AT_ONCE = 8
"""Peers with whom it is tried at the same time."""
TRY_SECONDS = 5.0
"""For the packets to meet; the handshake has its own time."""
MAX_DIALS = 3
"""To one address in one try: a router may have refused the first."""
REDIAL_SECONDS = 0.3
ANSWER_SECONDS = 15.0
OBSERVE_SECONDS = 15.0
OBSERVED_WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 2.0
"""Half a round trip over the relay is taken to last at most this long."""
RETRY_SECONDS = (60.0, 300.0, 1800.0)
"""After the first failure, the second and all later ones with the same peer."""
AGAIN_SECONDS = 10.0
"""How soon it is tried again with a peer that a direct connection was lost to."""
ANSWER_AGAIN_SECONDS = 30.0
"""How often a peer may have us try."""
LOOK_SECONDS = 1.0
RETIRE_SECONDS = 10.0
RETIRE_AT_LAST_SECONDS = 60.0
"""A relayed connection beside a direct one is closed when nothing runs over it any more; after
this long in any case."""

Address = tuple[str, int]
"""IP address and TCP port."""

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "224.0.0.0/3",
    )
)
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")
_TUNNELS = tuple(ipaddress.ip_network(text) for text in ("2001::/32", "2002::/16"))
"""IPv6 addresses with an IPv4 address inside, which could be of any network."""
_PASSING = {errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.ECONNRESET}
"""Dialling may work a moment later. An address is not available when the other's packet came first:
then there is that connection already."""


def is_public(ip: str) -> bool:
    """Whether the address can belong to a machine outside all private networks."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if address.version == 4:
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _PUBLIC_V6 and not any(address in network for network in _TUNNELS)


def usable_addresses(
    said: Iterable[bytes], allowed: Callable[[str], bool] = is_public
) -> list[Address]:
    """The first `MAX_ADDRESSES` of the multiaddrs that are plain IP and TCP and are allowed."""
    found: dict[Address, None] = {}
    for raw in list(said)[: 4 * MAX_ADDRESSES]:
        try:
            address = Multiaddr(raw)
            names = [protocol.name for protocol in address.protocols()]
            if names not in (["ip4", "tcp"], ["ip6", "tcp"]):
                continue
            ip = str(address.value_for_protocol(names[0]))
            port = int(str(address.value_for_protocol("tcp")))
        except Exception:  # the library raises all kinds for what is no multiaddr
            continue
        if port > 0 and allowed(ip):
            found[ip, port] = None
    return list(found)[:MAX_ADDRESSES]


def as_multiaddr(address: Address) -> Multiaddr:
    return Multiaddr(f"/ip{6 if ':' in address[0] else 4}/{address[0]}/tcp/{address[1]}")


async def read_hole_punch(reader: StreamReader, expected: Any) -> HolePunch:
    """A message of that type; ParseError for anything else, IncompleteReadError at the end."""
    try:
        frame = await reader.read_varint_frame(MAX_MESSAGE_BYTES)
    except MessageTooLarge as error:
        raise ParseError(str(error)) from error
    if frame is None:
        raise IncompleteReadError("the stream ended before a message")
    message = HolePunch()
    try:
        message.ParseFromString(frame)
    except ProtobufError as error:
        raise ParseError("not a message of the hole punching protocol") from error
    if not message.HasField("type") or message.type != expected:
        raise ParseError("a message out of turn")
    return message


@dataclass(frozen=True, slots=True)
class _Observed:
    """Our port as a relay sees it, and the connection that keeps it so at our router."""

    connection: Any
    address: Address


class HolePuncher:
    """`start`, then `run` until cancelled. `allowed` says which IP addresses may be dialled."""

    def __init__(
        self,
        host: HardenedHost,
        swarm: HardenedSwarm,
        transport: TcpTransport,
        faults: Faults,
        allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._transport = transport
        self._faults = faults
        self._allowed = allowed
        self._observed: dict[ID, _Observed] = {}
        self._observe_not_before: dict[ID, float] = {}
        self._begun: dict[ID, trio.CancelScope] = {}
        """Peers with whom this side began."""
        self._answering: set[ID] = set()
        self._failures: dict[ID, int] = {}
        self._begin_not_before: dict[ID, float] = {}
        self._answer_not_before: dict[ID, float] = {}
        self._both_since: dict[ID, float] = {}

    def start(self) -> None:
        """Answer others from now on. Nothing happens where the port cannot be shared."""
        if AVAILABLE:
            self._host.set_stream_handler(DCUTR_PROTOCOL, self._answer)

    async def run(self) -> None:
        if not AVAILABLE:
            log.debug("no hole punching: this system does not let a listening port be dialled from")
            return
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LOOK_SECONDS)
                self._forget_the_past()
                await self._observe_one()
                for peer in self._to_begin_with():
                    scope = self._begun[peer] = trio.CancelScope()
                    nursery.start_soon(self._begin, peer, scope)
                await self._retire()

    # --- where we are seen ------------------------------------------------------------------------

    def _own(self) -> list[Address]:
        seen = {o.address: None for o in self._observed.values() if not o.connection.is_closed}
        return list(seen)[:MAX_ADDRESSES]

    async def _observe_one(self) -> None:
        """Ask a relay that brings us connections, if there is one that was not asked."""
        now = trio.current_time()
        for connections in list(self._swarm.connections.values()):
            for connection in connections:
                relay = None if connection.is_closed else _relay_under(connection)
                if (
                    relay is not None
                    and relay not in self._observed
                    and now >= self._observe_not_before.get(relay, 0.0)
                ):
                    self._observe_not_before[relay] = now + RETRY_SECONDS[0]
                    await self._observe(relay)
                    return

    async def _observe(self, relay: ID) -> None:
        """Connect with the relay from our port, and have it tell where it sees that connection.

        The connection stays: it keeps the port open at our router. A relay is never dialling us at
        the same time, which on this port would be a simultaneous open with two clients.
        """
        known = self._direct(relay)
        if known is None or known.direction.name != "OUTBOUND":
            return
        if self._swarm.get_total_connections() >= self._swarm.connection_config.max_connections:
            return
        address = usable_addresses(
            [a.to_bytes() for a in known.get_transport_addresses()], self._allowed
        )
        if not address:
            return  # a relay on our LAN does not see us from outside
        try:
            with trio.fail_after(OBSERVE_SECONDS):
                raw = RawConnection(await self._dial(address[0]), True)
                try:
                    connection = await self._swarm.upgrade_outbound_raw_conn(raw, relay)
                except BaseException:
                    with shielded(0.5):
                        await raw.close()
                    raise
                stream = await open_stream_on(connection, self._host, [IDENTIFY_PROTOCOL])
                frame = await StreamReader(stream).read_varint_frame(MAX_IDENTIFY_BYTES)
                told = Identify()
                told.ParseFromString(frame or b"")
                with contextlib.suppress(Exception):
                    await stream.reset()
        except Exception as error:
            log.debug("relay %s did not tell where it sees us: %r", relay, error)
            return
        seen = usable_addresses([told.observed_addr], self._allowed)
        if seen:
            self._observed[relay] = _Observed(connection, seen[0])
            log.debug("relay %s sees our port at %s", relay, seen[0])

    async def _dial(self, address: Address) -> CountingStream:
        """From our port; OSError."""
        version = 6 if ":" in address[0] else 4
        for listeners in self._transport.bound.values():
            for listener in listeners:
                if (":" in listener.socket.getsockname()[0]) == (version == 6):
                    stream = await dial_from_port_of(listener, *address)
                    return CountingStream(stream, self._transport.traffic)
        raise OSError(errno.EADDRNOTAVAIL, f"nothing of ours listens for IPv{version}")

    # --- the dialled side -------------------------------------------------------------------------

    def _to_begin_with(self) -> list[ID]:
        """Peers that came over a relay, when it is their turn."""
        now = trio.current_time()
        free = MAX_AT_ONCE - len(self._begun) - len(self._answering)
        found = [
            peer
            for peer, connections in self._swarm.connections.items()
            if peer not in self._begun
            and peer not in self._answering
            and now >= self._begin_not_before.get(peer, 0.0)
            and self._direct(peer) is None
            and any(
                is_relayed(c) and not c.is_closed and c.direction.name == "INBOUND"
                for c in connections
            )
        ]
        return found[: max(0, free)]

    async def _begin(self, peer: ID, scope: trio.CancelScope) -> None:
        try:
            with scope:
                try:
                    await self._dial_announced(peer)
                    if self._direct(peer) is None:
                        await self._punch_as_server(peer)
                except Exception as error:
                    log.debug("hole punching with %s: %r", peer, error)
        finally:
            del self._begun[peer]
            now = trio.current_time()
            if self._direct(peer) is not None:
                self._failures.pop(peer, None)
                self._begin_not_before[peer] = now + AGAIN_SECONDS
            elif scope.cancelled_caught:
                self._begin_not_before[peer] = now + RETRY_SECONDS[0]
            else:
                failures = self._failures.get(peer, 0)
                self._failures[peer] = failures + 1
                wait = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                self._begin_not_before[peer] = now + wait
                self._faults.count("hole-punch-failed")
                log.debug("%s stays on the relay", peer)

    async def _dial_announced(self, peer: ID) -> None:
        """At public addresses that it announces, if it does: an ordinary dial may be enough."""
        try:
            announced = self._swarm.peerstore.addrs(peer)
        except PeerStoreError:
            return
        addresses = usable_addresses((a.to_bytes() for a in announced), self._allowed)
        if addresses:
            await self._swarm.dial_directly(peer, [str(as_multiaddr(a)) for a in addresses])

    async def _punch_as_server(self, peer: ID) -> None:
        if not await self._know_our_address():
            return
        connection = self._relayed(peer)
        if connection is None:
            return
        stream = await open_stream_on(connection, self._host, [DCUTR_PROTOCOL])
        reader = StreamReader(stream)
        try:
            for _ in range(MAX_TRIES):
                asked_at = trio.current_time()
                await self._say(stream, HolePunch.CONNECT)
                with trio.fail_after(ANSWER_SECONDS):
                    answer = await read_hole_punch(reader, HolePunch.CONNECT)
                wait = min(MAX_WAIT_SECONDS, (trio.current_time() - asked_at) / 2)
                addresses = usable_addresses(answer.ObsAddrs, self._allowed)
                attempt = _Try(self, peer, False, addresses)
                with attempt.expected():
                    await self._say(stream, HolePunch.SYNC)
                    await trio.sleep(wait)
                    await attempt.run()
                if self._direct(peer) is not None:
                    return
        except ParseError:
            self._faults.against(peer, "hole-punch-malformed")
            raise
        finally:
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()

    async def _know_our_address(self) -> bool:
        with trio.move_on_after(OBSERVED_WAIT_SECONDS):
            while not self._own():  # noqa: ASYNC110 (told by another task, within a second or two)
                await trio.sleep(0.1)
        return bool(self._own())

    async def _say(self, stream: Any, kind: Any) -> None:
        message = HolePunch(type=kind)
        if kind == HolePunch.CONNECT:
            message.ObsAddrs.extend(as_multiaddr(address).to_bytes() for address in self._own())
        await stream.write(encode_varint_prefixed(message.SerializeToString()))

    # --- the side that dialled --------------------------------------------------------------------

    async def _answer(self, stream: Any) -> None:
        peer: ID = stream.muxed_conn.peer_id
        if not is_relayed(stream.muxed_conn):
            self._faults.against(peer, "hole-punch-not-relayed")
            await stream.reset()
            return
        if (
            peer in self._answering
            or trio.current_time() < self._answer_not_before.get(peer, 0.0)
            or len(self._begun) + len(self._answering) >= MAX_AT_ONCE
            or self._direct(peer) is not None
            # Both began, each with the relayed connection that the other opened: one gives way.
            or (peer in self._begun and self._swarm.self_id.to_bytes() < peer.to_bytes())
        ):
            self._faults.count("hole-punch-declined")
            await stream.reset()
            return
        if peer in self._begun:
            self._begun[peer].cancel()
        self._answering.add(peer)
        self._answer_not_before[peer] = trio.current_time() + ANSWER_AGAIN_SECONDS
        try:
            await self._punch_as_client(peer, stream)
        except ParseError as error:
            log.debug("hole punching with %s: %r", peer, error)
            self._faults.against(peer, "hole-punch-malformed")
        except Exception as error:  # the other side stops when there is a direct connection
            log.debug("hole punching with %s: %r", peer, error)
        finally:
            self._answering.discard(peer)
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()

    async def _punch_as_client(self, peer: ID, stream: Any) -> None:
        reader = StreamReader(stream)
        for _ in range(MAX_TRIES):
            with trio.fail_after(ANSWER_SECONDS):
                offer = await read_hole_punch(reader, HolePunch.CONNECT)
            await self._know_our_address()
            await self._say(stream, HolePunch.CONNECT)
            attempt = _Try(self, peer, True, usable_addresses(offer.ObsAddrs, self._allowed))
            with attempt.expected():
                with trio.fail_after(ANSWER_SECONDS):
                    await read_hole_punch(reader, HolePunch.SYNC)
                await attempt.run()
            if self._direct(peer) is not None:
                return

    # --- afterwards -------------------------------------------------------------------------------

    async def _retire(self) -> None:
        """Close relayed connections beside direct ones, when what ran over them has moved.

        Streams that are opened prefer direct connections, and gossip moves at once; the answer to a
        request may still be on its way.
        """
        now = trio.current_time()
        since: dict[ID, float] = {}
        for peer in list(self._swarm.connections):
            relayed = self._relayed(peer)
            if relayed is None or self._direct(peer) is None:
                continue
            since[peer] = self._both_since.get(peer, now)
            both = now - since[peer]
            if both > RETIRE_AT_LAST_SECONDS or (
                both > RETIRE_SECONDS and not relayed.get_streams()
            ):
                log.debug("%s is reached directly: closing the relayed connection", peer)
                await self._swarm._close_connection_async(relayed)
        self._both_since = since

    def _forget_the_past(self) -> None:
        now = trio.current_time()
        self._observed = {
            relay: observed
            for relay, observed in self._observed.items()
            if not observed.connection.is_closed
        }
        for times in (self._observe_not_before, self._begin_not_before, self._answer_not_before):
            for peer in [peer for peer, at in times.items() if at <= now]:
                del times[peer]
        for peer in [p for p in self._failures if p not in self._swarm.connections]:
            if peer not in self._begin_not_before:
                del self._failures[peer]

    def _direct(self, peer: ID) -> Any | None:
        return self._live(peer, relayed=False)

    def _relayed(self, peer: ID) -> Any | None:
        return self._live(peer, relayed=True)

    def _live(self, peer: ID, relayed: bool) -> Any | None:
        for connection in self._swarm.connections.get(peer, ()):
            if not connection.is_closed and is_relayed(connection.muxed_conn) == relayed:
                return connection
        return None


class _Try:
    """One try at a direct connection: whichever packets arrive first, the roles are agreed on."""

    def __init__(
        self, puncher: HolePuncher, peer: ID, client: bool, addresses: Sequence[Address]
    ) -> None:
        self._puncher = puncher
        self._swarm = puncher._swarm
        self._peer = peer
        self._client = client
        self._addresses = addresses
        self._done = trio.Event()

    @contextlib.contextmanager
    def expected(self) -> Any:
        """Meanwhile a connection from these very addresses is the peer's half of this try.

        Its packets may arrive before ours have left. The listener would then take the client for a
        stranger and be the server, which on the peer's side is the server already.
        """
        waiting = self._puncher._transport.expected
        mine = [address for address in self._addresses if address not in waiting]
        waiting.update(dict.fromkeys(mine, self._accepted))
        try:
            yield
        finally:
            for address in mine:
                del waiting[address]

    async def run(self) -> None:
        """Until there is a connection, or the time is up."""
        async with trio.open_nursery() as handshakes:
            with trio.move_on_after(TRY_SECONDS):
                async with trio.open_nursery() as dials:
                    for address in self._addresses:
                        dials.start_soon(self._dial, address, handshakes)
                    await self._done.wait()
                    dials.cancel_scope.cancel()
            # Of two connections the client chooses: the server ends no handshake.
            if self._client and self._done.is_set():
                handshakes.cancel_scope.cancel()

    async def _dial(self, address: Address, handshakes: trio.Nursery) -> None:
        for _ in range(MAX_DIALS):
            try:
                stream = await self._puncher._dial(address)
            except OSError as error:
                log.debug("dialling %s at %s: %r", self._peer, address, error)
                if error.errno not in _PASSING:
                    return
            else:
                handshakes.start_soon(self._shake_hands, stream, address)
                return
            await trio.sleep(REDIAL_SECONDS)

    async def _shake_hands(self, stream: CountingStream, address: Address) -> None:
        try:
            await self._upgrade(stream)
        except Exception as error:  # whoever answered there makes the layers below raise all kinds
            self._puncher._faults.count("hole-punch-refused")
            log.debug("no handshake with %s at %s: %r", self._peer, address, error)

    async def _accepted(self, stream: CountingStream) -> None:
        """In place of what the listener does with strangers."""
        muxed = await self._upgrade(stream)
        if stream.visit is not None and not stream.visit.settle():
            await muxed.close()
            return
        await muxed.event_closed.wait()

    async def _upgrade(self, stream: CountingStream) -> Any:
        raw = RawConnection(stream, self._client)
        try:
            with trio.fail_after(UPGRADE_TIMEOUT_SECONDS):
                if self._client:
                    connection = await self._swarm.upgrade_outbound_raw_conn(raw, self._peer)
                    muxed = connection.muxed_conn
                else:
                    maddr = Multiaddr(f"/p2p/{self._peer}")
                    muxed = await self._swarm.upgrade_inbound_raw_conn(raw, maddr)
        except BaseException:
            with shielded(0.5):
                await raw.close()
            raise
        muxed.punched = muxed.peer_id == self._peer
        if muxed.punched and not self._done.is_set():
            self._puncher._faults.count("hole-punched")
            log.info("reached %s directly, no longer over the relay", self._peer)
            self._done.set()
        return muxed


def _relay_under(connection: Any) -> ID | None:
    circuit = connection.muxed_conn.circuit
    if circuit is None:
        return None
    name, _ = relay_of(str(circuit))
    return ID.from_base58(name)
