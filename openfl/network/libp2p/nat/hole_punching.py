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
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.exceptions import ParseError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.network.libp2p.addresses import is_circuit, relay_of, strip_peer_id
from openfl.network.libp2p.identify import PROTOCOL as IDENTIFY_PROTOCOL
from openfl.network.libp2p.identify import read_identify
from openfl.network.libp2p.nat.circuit import is_relayed
from openfl.network.libp2p.nat.dcutr import (
    DCUTR_PROTOCOL,
    MAX_ADDRESSES,
    Address,
    as_multiaddr,
    is_outside,
    read_hole_punch,
    usable_addresses,
)
from openfl.network.libp2p.nat.port_sharing import AVAILABLE, dial_from_port_of
from openfl.network.libp2p.nat.punch import Punch
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import DialFailed, HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import CountingStream, Faults, TcpTransport, shielded
from openfl.network.ticks import next_tick

log = logging.getLogger(__name__)

MAX_TRIES = 3
MAX_AT_ONCE = 8
"""Peers with whom it is tried at the same time."""
ANSWER_SECONDS = 15.0
SESSION_SECONDS = 60.0
"""For all tries together: whoever holds out longer keeps others waiting."""
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
        allowed: Callable[[str], bool] = is_outside,
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
        self._surplus_since: dict[Any, float] = {}

    def start(self) -> None:
        """Answer others from now on. Nothing happens where the port cannot be shared."""
        if AVAILABLE:
            self._host.set_stream_handler(DCUTR_PROTOCOL, self._answer)

    async def run(self) -> None:
        """Try, again and again, with peers that are reached over a relay; until cancelled."""
        if not AVAILABLE:
            log.debug("no hole punching: this system does not let a listening port be dialled from")
            return
        async with trio.open_nursery() as nursery:
            while True:
                await next_tick(LOOK_SECONDS)
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

        The connection stays when it does: it keeps the port open at our router. A relay is never
        dialling us at the same time, which on this port would be a simultaneous open with two
        clients.
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
        connection = None
        seen: list[Address] = []
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
                told = await read_identify(stream)
                with contextlib.suppress(Exception):
                    await stream.reset()
            seen = usable_addresses([told.observed_addr], self._allowed)
        except Exception as error:
            log.debug("relay %s did not tell where it sees us: %r", relay, error)
        if seen:
            self._observed[relay] = _Observed(connection, seen[0])
            log.debug("relay %s sees our port at %s", relay, seen[0])
        elif connection is not None:
            # Else each next one would push out the oldest, over which circuits run.
            await self._swarm._close_connection_async(connection)

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
                    with trio.fail_after(SESSION_SECONDS):
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
            known = [strip_peer_id(str(address)) for address in self._swarm.peerstore.addrs(peer)]
        except PeerStoreError:
            return
        announced = [Multiaddr(a).to_bytes() for a in known if not is_circuit(a)]
        addresses = usable_addresses(announced, self._allowed)
        if addresses:
            try:
                await self._swarm.dial_directly(peer, [str(as_multiaddr(a)) for a in addresses])
            except DialFailed as error:
                log.debug("%s cannot be dialled directly: %s", peer, error)

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
                attempt = self._punch(peer, False, addresses)
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

    def _punch(self, peer: ID, client: bool, addresses: Sequence[Address]) -> Punch:
        expected = self._transport.expected
        return Punch(peer, client, addresses, self._swarm, expected, self._dial, self._faults)

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
            with trio.fail_after(SESSION_SECONDS):
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
            addresses = usable_addresses(offer.ObsAddrs, self._allowed)
            attempt = self._punch(peer, True, addresses)
            with attempt.expected():
                with trio.fail_after(ANSWER_SECONDS):
                    await read_hole_punch(reader, HolePunch.SYNC)
                await attempt.run()
            if self._direct(peer) is not None:
                return

    # --- afterwards -------------------------------------------------------------------------------

    async def _retire(self) -> None:
        """Close what a better connection has taken the place of, when what ran over it has moved.

        Streams that are opened prefer direct connections, and gossip moves at once; the answer to a
        request may still be on its way.
        """
        now = trio.current_time()
        since: dict[Any, float] = {}
        for surplus, at_last in self._surplus():
            since[surplus] = self._surplus_since.get(surplus, now)
            seconds = now - since[surplus]
            idle = seconds > RETIRE_SECONDS and not surplus.get_streams()
            if idle or seconds > at_last:
                log.debug("closing the former connection with %s", surplus.muxed_conn.peer_id)
                await self._swarm._close_connection_async(surplus)
        self._surplus_since = since

    def _surplus(self) -> list[tuple[Any, float]]:
        """Connections that a better one stands beside, and after how many seconds to close them
        whatever runs over them."""
        found = []
        for peer in list(self._swarm.connections):
            relayed = self._relayed(peer)
            if relayed is not None and self._direct(peer) is not None:
                found.append((relayed, RETIRE_AT_LAST_SECONDS))
        for relay, observed in self._observed.items():
            # The one before may carry circuits, which go when their peers are reached directly.
            found += [
                (connection, math.inf)
                for connection in self._swarm.connections.get(relay, ())
                if connection is not observed.connection and not connection.is_closed
            ]
        return found

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


def _relay_under(connection: Any) -> ID | None:
    circuit = connection.muxed_conn.circuit
    if circuit is None:
        return None
    name, _ = relay_of(str(circuit))
    return ID.from_base58(name)
