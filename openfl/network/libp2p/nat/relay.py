"""`Relay`: lets peers that cannot be dialled be reached through this node (circuit relay v2, hop).

A peer reserves a place; others then ask for a circuit to it, and this node copies bytes between
their two streams. It sees who talks to whom and how much, not what: the two secure their connection
end to end inside the circuit. Everything is bounded: reservations, by address too, circuits, by
peer too, bytes and duration of each.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import (
    HopMessage,
    Limit,
    PeerId,
    Reservation,
    Status,
    StopMessage,
)
from multiaddr import Multiaddr

from openfl.network.libp2p.nat.circuit import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    STREAM_ERRORS,
    is_relayed,
    read_message,
    write_message,
)
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import Faults, shielded

log = logging.getLogger(__name__)

_COPY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What a relay gives away at most. `circuit_bytes` counts both directions; a circuit that has
    used up its bytes or its time is closed, and may be opened anew."""

    reservations: int = 64
    reservations_per_address: int = 8
    reservation_seconds: int = 3600
    circuits: int = 128
    circuits_per_peer: int = 16
    circuit_bytes: int = 256 * 1024 * 1024
    circuit_seconds: int = 2 * 3600
    message_seconds: float = 10.0
    write_seconds: float = 30.0


class Relay:
    """Serves from `start` on. `addresses()` are this node's own, as others can dial them."""

    def __init__(
        self,
        host: HardenedHost,
        swarm: HardenedSwarm,
        faults: Faults,
        addresses: Callable[[], list[str]],
        limits: RelayLimits | None = None,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._faults = faults
        self._addresses = addresses
        self._limits = limits if limits is not None else RelayLimits()
        self._unix_time = unix_time
        self._reservations: dict[ID, tuple[float, str]] = {}
        """peer -> (its end, the IP address it came from)"""
        self._circuits: Counter[ID] = Counter()
        self._circuits_open = 0

    def start(self) -> None:
        """Answer who asks for a place or a circuit from now on."""
        self._host.set_stream_handler(HOP_PROTOCOL, self._handle)

    def reserved(self, peer_id: ID) -> bool:
        """Whether the peer can be reached through this node now."""
        end, _ = self._reservations.get(peer_id, (0.0, ""))
        return end > trio.current_time() and self._direct(peer_id) is not None

    def circuit_addresses(self, peer_id: ID) -> list[str]:
        """Where others can dial a peer that has a reservation here."""
        if not self.reserved(peer_id):
            return []
        me = self._swarm.self_id
        return [f"{address}/p2p/{me}/p2p-circuit" for address in self._addresses()]

    # --- one request ------------------------------------------------------------------------------

    async def _handle(self, stream: Any) -> None:
        reader = StreamReader(stream)
        asker: ID = stream.muxed_conn.peer_id
        try:
            with trio.fail_after(self._limits.message_seconds):
                request = await read_message(reader, HopMessage)
            # A circuit over a circuit would let one peer chain relays without end.
            if is_relayed(stream.muxed_conn):
                await self._refuse(stream, Status.PERMISSION_DENIED)
            elif request.type == HopMessage.RESERVE:
                await self._reserve(stream, asker)
            elif request.type == HopMessage.CONNECT and request.HasField("peer"):
                await self._connect(stream, reader, asker, request.peer.id)
            else:
                self._faults.against(asker, "relay-malformed")
                await self._refuse(stream, Status.MALFORMED_MESSAGE)
        except trio.TooSlowError:
            self._faults.count("relay-too-slow")
            await _reset(stream)
        except STREAM_ERRORS as error:
            log.debug("relay request of %s: %r", asker, error)
            self._faults.count("relay-broken")
            await _reset(stream)

    async def _refuse(self, stream: Any, status: Any) -> None:
        self._faults.count(f"relay-refused-{Status.Name(status).lower().replace('_', '-')}")
        await write_message(stream, HopMessage(type=HopMessage.STATUS, status=status))
        await stream.close()

    async def _reserve(self, stream: Any, asker: ID) -> None:
        now = trio.current_time()
        self._reservations = {
            peer: held
            for peer, held in self._reservations.items()
            if held[0] > now and self._direct(peer) is not None
        }
        remote = stream.muxed_conn.get_remote_address()
        address = "" if remote is None else str(remote[0])
        others = [ip for peer, (_, ip) in self._reservations.items() if peer != asker]
        if (
            len(others) >= self._limits.reservations
            or others.count(address) >= self._limits.reservations_per_address
        ):
            await self._refuse(stream, Status.RESERVATION_REFUSED)
            return
        self._reservations[asker] = (now + self._limits.reservation_seconds, address)
        end = self._unix_time() + self._limits.reservation_seconds
        me = self._swarm.self_id
        addresses = [Multiaddr(f"{a}/p2p/{me}").to_bytes() for a in self._addresses()]
        answer = HopMessage(
            type=HopMessage.STATUS,
            status=Status.OK,
            reservation=Reservation(expire=int(end), addrs=addresses),
            limit=self._limit(),
        )
        await write_message(stream, answer)
        await stream.close()

    def _limit(self) -> Limit:
        return Limit(duration=self._limits.circuit_seconds, data=self._limits.circuit_bytes)

    async def _connect(self, stream: Any, reader: StreamReader, asker: ID, wanted: bytes) -> None:
        target = ID(wanted)
        if target == asker or not self.reserved(target):
            await self._refuse(stream, Status.NO_RESERVATION)
            return
        most = self._limits.circuits_per_peer
        if (
            self._circuits_open >= self._limits.circuits
            or self._circuits[asker] >= most
            or self._circuits[target] >= most
        ):
            await self._refuse(stream, Status.RESOURCE_LIMIT_EXCEEDED)
            return
        self._circuits_open += 1
        self._circuits.update([asker, target])
        far: Any = None
        try:
            try:
                with trio.fail_after(self._limits.message_seconds):
                    far, far_reader = await self._stop(asker, target)
            except (trio.TooSlowError, *STREAM_ERRORS, Exception) as error:
                log.debug("no circuit from %s to %s: %r", asker, target, error)
                await self._refuse(stream, Status.CONNECTION_FAILED)
                return
            answer = HopMessage(type=HopMessage.STATUS, status=Status.OK, limit=self._limit())
            await write_message(stream, answer)
            self._faults.count("relay-circuits")
            await self._copy_both(stream, reader, far, far_reader)
        finally:
            self._circuits_open -= 1
            self._circuits.subtract([asker, target])
            self._circuits += Counter()  # drops zeroes
            if far is not None:
                await _reset(far)
            await _reset(stream)

    async def _stop(self, asker: ID, target: ID) -> tuple[Any, StreamReader]:
        """A stream to the target, which has agreed to be connected with the asker."""
        connection = self._direct(target)
        if connection is None:
            raise ConnectionError("it is gone")
        far = await open_stream_on(connection, self._host, [STOP_PROTOCOL])
        try:
            peer = PeerId(id=asker.to_bytes())
            offer = StopMessage(type=StopMessage.CONNECT, peer=peer, limit=self._limit())
            await write_message(far, offer)
            far_reader = StreamReader(far)
            answer = await read_message(far_reader, StopMessage)
            if answer.type != StopMessage.STATUS or answer.status != Status.OK:
                raise ConnectionError(f"it answered {answer.status}")
        except BaseException:
            await _reset(far)
            raise
        return far, far_reader

    def _direct(self, peer_id: ID) -> Any | None:
        for connection in self._swarm.connections.get(peer_id, ()):
            if not connection.is_closed and not is_relayed(connection.muxed_conn):
                return connection
        return None

    # --- copying ----------------------------------------------------------------------------------

    async def _copy_both(
        self, near: Any, near_reader: StreamReader, far: Any, far_reader: StreamReader
    ) -> None:
        left = [self._limits.circuit_bytes]
        with trio.move_on_after(self._limits.circuit_seconds):
            async with trio.open_nursery() as nursery:
                scope = nursery.cancel_scope
                nursery.start_soon(self._copy, near_reader, far, left, scope)
                nursery.start_soon(self._copy, far_reader, near, left, scope)

    async def _copy(
        self, reader: StreamReader, to: Any, left: list[int], scope: trio.CancelScope
    ) -> None:
        """Until the end of one direction; an error or a used-up limit ends both."""
        try:
            while data := await reader.read_some(_COPY_BYTES):
                left[0] -= len(data)
                if left[0] < 0:
                    self._faults.count("relay-limit-reached")
                    scope.cancel()
                    return
                with trio.fail_after(self._limits.write_seconds):
                    await to.write(data)
            await to.close_write()
        except (trio.TooSlowError, *STREAM_ERRORS):
            scope.cancel()
        except Exception as error:
            log.debug("a circuit broke: %r", error)
            scope.cancel()


async def _reset(stream: Any) -> None:
    with shielded(1), contextlib.suppress(Exception):
        await stream.reset()
