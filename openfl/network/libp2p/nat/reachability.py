"""`Reachability`: finds out whether others can dial this node, and if not, has itself relayed.

Asked again every few minutes, by AutoNAT (libp2p specs, autonat/autonat-v1.md): a few connected
peers dial back the address they see us at. When no fewer of them fail than succeed (peers on the
same LAN always succeed) this node is *private*: it reserves a place at up to two connected relays,
renews it, and announces the circuits' addresses. A node that is not private is left alone.

A dial-back is always a new connection, secured, so that it is known who answered, and closed
(defect autonat-known-connection).
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any, Literal

import trio
from google.protobuf.message import DecodeError as ProtobufError
from libp2p.host.autonat.pb.autonat_pb2 import Message as AutoNat
from libp2p.identity.identify_push.identify_push import push_identify_to_peers
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.relay.circuit_v2.pb.circuit_pb2 import HopMessage, PeerId, Status, StopMessage
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from openfl.core.contribution import PeerId as PeerName
from openfl.core.reach import VoteView
from openfl.network.libp2p.access import protect
from openfl.network.libp2p.addresses import order_addresses, relay_of
from openfl.network.libp2p.nat.circuit import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    circuit_connection,
    is_relayed,
    read_message,
    write_message,
)
from openfl.network.libp2p.negotiation import open_stream_on
from openfl.network.libp2p.streams import StreamReader
from openfl.network.libp2p.swarm import HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import Faults, TcpTransport, shielded
from openfl.network.ticks import next_tick

log = logging.getLogger(__name__)

AUTONAT_PROTOCOL = "/libp2p/autonat/1.0.0"
Mode = Literal["auto", "public", "private"]

MAX_VOTERS = 3
VOTE_SECONDS = 600.0
"""How long what a peer found out counts."""
WANTED_RELAYS = 2
RETRY_SECONDS = 60.0
RENEW_FRACTION = 0.5
SHORTEST_PLACE_SECONDS = 60.0
LONGEST_PLACE_SECONDS = 3600.0
"""What a place at a relay is taken to last at most: longer says only that two clocks differ."""
LOOK_SECONDS = 1.0
ASK_SECONDS = 15.0
DIAL_BACK_SECONDS = 5.0
MAX_ASKED_TO_DIAL_BACK = 64
MAX_DIAL_BACKS = 4
"""At once, for all who ask."""
MAX_AUTONAT_BYTES = 8192


@dataclass(slots=True)
class _Place:
    """A reservation: `circuits` are the addresses it gives us; renewed at `renew_at` (trio)."""

    circuits: list[str]
    renew_at: float


class Reachability:
    """`run` takes part until cancelled; `listening` says whether anybody could dial us at all."""

    def __init__(
        self,
        host: HardenedHost,
        swarm: HardenedSwarm,
        transport: TcpTransport,
        faults: Faults,
        mode: Mode,
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._transport = transport
        self._faults = faults
        self._mode = mode
        self._votes: dict[ID, tuple[bool, float]] = {}
        self._forwarded: tuple[str, ...] = ()
        self._places: dict[ID, _Place] = {}
        self._ask_not_before: dict[ID, float] = {}
        self._reserve_not_before: dict[ID, float] = {}
        self._dial_backs = trio.CapacityLimiter(MAX_DIAL_BACKS)

    @property
    def mode(self) -> Mode:
        """How it was set: auto finds out."""
        return self._mode

    def votes(self) -> tuple[VoteView, ...]:
        """What peers have found out, and when; those that count."""
        now = trio.current_time()
        return tuple(
            VoteView(PeerName(str(peer)), reached, now - at)
            for peer, (reached, at) in self._votes.items()
            if now - at < VOTE_SECONDS
        )

    @property
    def private(self) -> bool | None:
        """Whether this node cannot be dialled; None while that is not known."""
        if self._mode != "auto":
            return self._mode == "private"
        now = trio.current_time()
        votes = [reached for reached, at in self._votes.values() if now - at < VOTE_SECONDS]
        return None if not votes else votes.count(False) >= votes.count(True)

    def circuits(self) -> list[str]:
        """Addresses at relays, to be announced."""
        return [address for place in self._places.values() for address in place.circuits]

    def forward(self, addresses: tuple[str, ...]) -> None:
        """From now on a router forwards these to this node, as it says itself."""
        if addresses == self._forwarded:
            return
        self._forwarded = addresses
        # What others found out before says nothing of now.
        self._votes.clear()
        self._ask_not_before.clear()

    def forwarded(self) -> tuple[str, ...]:
        """Those addresses, to be announced: not when peers found that nothing answers there."""
        return () if self._mode == "auto" and self.private else self._forwarded

    def start(self) -> None:
        """Answer others from now on."""
        self._host.set_stream_handler(AUTONAT_PROTOCOL, self._on_autonat)
        self._host.set_stream_handler(STOP_PROTOCOL, self._on_stop)
        self._swarm.dial_circuit = self.dial_circuit
        self._host.circuits = self.circuits
        self._host.forwarded = self.forwarded

    async def run(self) -> None:
        """Find out, again and again, and keep places at relays while needed; until cancelled."""
        told: list[str] = []
        while True:
            await next_tick(LOOK_SECONDS)
            if self._mode == "auto":
                await self._ask_around()
            before = self.circuits()
            self._drop_lost_places()
            if self.private:
                await self._keep_places()
            if self.circuits() != before:
                log.info("reachable over relays: %s", ", ".join(self.circuits()) or "no longer")
            announced = [*self.forwarded(), *self.circuits()]
            if announced != told:
                if self._forwarded and not self.forwarded():
                    where = ", ".join(self._forwarded)
                    log.info("others reach nobody at %s: not announced for now", where)
                told = announced
                with trio.move_on_after(ASK_SECONDS):
                    try:
                        await push_identify_to_peers(self._host)
                    except Exception as error:  # those peers learn it when they meet us next
                        log.debug("identify push: %r", error)

    # --- can we be dialled? -----------------------------------------------------------------------

    async def _ask_around(self) -> None:
        now = trio.current_time()
        fresh = {p for p, (_, at) in self._votes.items() if now - at < VOTE_SECONDS}
        if len(fresh) >= MAX_VOTERS:
            return
        for peer in self._speaking(AUTONAT_PROTOCOL):
            if peer in fresh or now < self._ask_not_before.get(peer, 0.0):
                continue
            self._ask_not_before = _later_than(self._ask_not_before, now)
            self._ask_not_before[peer] = now + RETRY_SECONDS
            asked_with = self._forwarded
            with trio.move_on_after(ASK_SECONDS):
                try:
                    reached = await self._dialled_back_by(peer)
                except Exception as error:
                    log.debug("autonat of %s: %r", peer, error)
                    continue
                if reached is not None and self._forwarded == asked_with:
                    self._votes.pop(peer, None)
                    self._votes[peer] = (reached, trio.current_time())
            while len(self._votes) > 4 * MAX_VOTERS:
                del self._votes[next(iter(self._votes))]
            return  # one a turn

    async def _dialled_back_by(self, peer: ID) -> bool | None:
        """Whether the peer reached us; None when it did not try."""
        connection = self._direct(peer)
        if connection is None:
            return None
        self._swarm.asked_to_dial_back.add(peer)
        while len(self._swarm.asked_to_dial_back) > MAX_ASKED_TO_DIAL_BACK:
            self._swarm.asked_to_dial_back.pop()
        request = AutoNat(type=AutoNat.DIAL)
        request.dial.peer.id = self._swarm.self_id.to_bytes()
        candidates = dict.fromkeys([*self._forwarded, *self._host.own_addresses()])
        own = (Multiaddr(address).to_bytes() for address in candidates)
        request.dial.peer.addrs.extend(own)
        stream = await open_stream_on(connection, self._host, [AUTONAT_PROTOCOL])
        try:
            await stream.write(encode_varint_prefixed(request.SerializeToString()))
            frame = await StreamReader(stream).read_varint_frame(MAX_AUTONAT_BYTES)
            answer = AutoNat()
            answer.ParseFromString(frame or b"")
        finally:
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()
        match answer.dialResponse.status:
            case AutoNat.OK if answer.HasField("dialResponse"):
                return self._others_know(answer.dialResponse.addr)
            case AutoNat.E_DIAL_ERROR:
                return False
        return None

    def _others_know(self, reached: bytes) -> bool:
        """Whether the address is one that we tell. Some routers let anybody in at a port that is in
        use, as ours is while a relay is connected from there; but nobody knows of it."""
        own = [*self._forwarded, *self._host.own_addresses()]
        try:
            address = str(Multiaddr(reached)) if reached else ""
        except Exception:
            return False  # the library raises all kinds for what is no multiaddr
        return not address or address in own or any(a.startswith("/dns") for a in own)

    async def _on_autonat(self, stream: Any) -> None:
        asker: ID = stream.muxed_conn.peer_id
        answer = AutoNat(type=AutoNat.DIAL_RESPONSE)
        request = AutoNat()
        with trio.fail_after(ASK_SECONDS):
            frame = await StreamReader(stream).read_varint_frame(MAX_AUTONAT_BYTES)
        try:
            request.ParseFromString(frame or b"")
        except ProtobufError:
            self._faults.against(asker, "autonat-malformed")
        remote = stream.muxed_conn.get_remote_address()
        if request.type != AutoNat.DIAL or not request.HasField("dial"):
            answer.dialResponse.status = AutoNat.E_BAD_REQUEST
        elif (
            is_relayed(stream.muxed_conn) or remote is None or self._dial_backs.available_tokens < 1
        ):
            answer.dialResponse.status = AutoNat.E_DIAL_REFUSED
        else:
            async with self._dial_backs:
                reached = await self._dial_back(asker, str(remote[0]), request.dial.peer.addrs)
            answer.dialResponse.status = AutoNat.OK if reached else AutoNat.E_DIAL_ERROR
            if reached:
                answer.dialResponse.addr = reached
        await stream.write(encode_varint_prefixed(answer.SerializeToString()))
        await stream.close()

    async def _dial_back(self, asker: ID, ip: str, said: Any) -> bytes:
        """The address at which the asker answered; empty when at none.

        Only ever at the address it is seen at, with at most two of the ports it names: nobody can
        have this node dial a third party.
        """
        ip = ip.removeprefix("::ffff:")
        ports: dict[str, None] = {}
        for raw in list(said)[:16]:
            with contextlib.suppress(Exception):
                ports[str(Multiaddr(raw).value_for_protocol("tcp"))] = None
        for port in list(ports)[:2]:
            address = Multiaddr(f"/{'ip6' if ':' in ip else 'ip4'}/{ip}/tcp/{port}")
            raw_connection: Any = None
            try:
                with trio.fail_after(DIAL_BACK_SECONDS):
                    raw_connection = await self._transport.dial(address)
                    guarded = protect(raw_connection, self._swarm.network_key)
                    await self._swarm.upgrader.upgrade_security(guarded, True, asker)
            except Exception as error:
                log.debug("%s cannot be dialled at %s: %r", asker, address, error)
            else:
                encoded: bytes = address.to_bytes()
                return encoded
            finally:
                if raw_connection is not None:
                    with shielded(0.5), contextlib.suppress(Exception):
                        await raw_connection.close()
        return b""

    # --- places at relays -------------------------------------------------------------------------

    def _drop_lost_places(self) -> None:
        for relay in list(self._places):
            # While that is not known (the last answers are too old) a place is kept.
            if self._direct(relay) is None or self.private is False:
                del self._places[relay]

    async def _keep_places(self) -> None:
        now = trio.current_time()
        for relay, place in list(self._places.items()):
            if now >= place.renew_at:
                await self._reserve(relay)
        for relay in self._speaking(HOP_PROTOCOL):
            if len(self._places) >= WANTED_RELAYS:
                return
            if relay not in self._places and now >= self._reserve_not_before.get(relay, 0.0):
                await self._reserve(relay)

    async def _reserve(self, relay: ID) -> None:
        self._places.pop(relay, None)
        now = trio.current_time()
        self._reserve_not_before = _later_than(self._reserve_not_before, now)
        self._reserve_not_before[relay] = now + RETRY_SECONDS
        connection = self._direct(relay)
        if connection is None:
            return
        answer: HopMessage | None = None
        with trio.move_on_after(ASK_SECONDS):
            try:
                stream = await open_stream_on(connection, self._host, [HOP_PROTOCOL])
                try:
                    await write_message(stream, HopMessage(type=HopMessage.RESERVE))
                    answer = await read_message(StreamReader(stream), HopMessage)
                finally:
                    with shielded(1), contextlib.suppress(Exception):
                        await stream.reset()
            except Exception as error:
                log.debug("no place at relay %s: %r", relay, error)
        if answer is None or answer.status != Status.OK:
            self._faults.count("relay-gave-no-place")
            return
        renew_at = trio.current_time() + renew_after(answer.reservation.expire, time.time())
        del self._reserve_not_before[relay]
        self._places[relay] = _Place(self._circuits_of(connection, relay, answer), renew_at)

    def _circuits_of(self, connection: Any, relay: ID, answer: HopMessage) -> list[str]:
        """The address we reached the relay at is proven; else those it tells."""
        addresses = []
        if connection.direction.name == "OUTBOUND":
            addresses = [str(a) for a in connection.get_transport_addresses()]
        for raw in list(answer.reservation.addrs)[:8]:
            with contextlib.suppress(Exception):
                addresses.append(str(Multiaddr(raw)))
        direct = [a for a in order_addresses(addresses) if "/p2p-circuit" not in a]
        return [f"{address}/p2p/{relay}/p2p-circuit" for address in direct[:2]]

    # --- being dialled, and dialling, over a relay ------------------------------------------------

    async def _on_stop(self, stream: Any) -> None:
        relay: ID = stream.muxed_conn.peer_id
        reader = StreamReader(stream)
        with trio.fail_after(ASK_SECONDS):
            offer = await read_message(reader, StopMessage)
        if relay not in self._places or is_relayed(stream.muxed_conn):
            # Only relays that we asked may bring us visitors.
            refusal = StopMessage(type=StopMessage.STATUS, status=Status.PERMISSION_DENIED)
            await write_message(stream, refusal)
            await stream.close()
            return
        if offer.type != StopMessage.CONNECT or not offer.HasField("peer"):
            self._faults.against(relay, "relay-malformed")
            await stream.reset()
            return
        await write_message(stream, StopMessage(type=StopMessage.STATUS, status=Status.OK))
        # What the relay says of the visitor is not believed: the handshake tells who it is.
        raw = circuit_connection(stream, reader, False, f"/p2p/{relay}/p2p-circuit")
        try:
            muxed = await self._swarm.upgrade_inbound_raw_conn(raw, Multiaddr(f"/p2p/{relay}"))
            await muxed.event_closed.wait()
        except SwarmException as error:
            self._faults.count("handshake-refused")
            log.debug("inbound circuit refused: %s", error)
        finally:
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()

    async def dial_circuit(self, circuit: str, peer_id: ID) -> RawConnection:
        """A raw connection to the peer over the relay that the address names; SwarmException."""
        name, address = relay_of(circuit)
        relay = ID.from_base58(name)
        if relay in (self._swarm.self_id, peer_id):
            raise SwarmException("a relay is not dialled over itself")
        if self._direct(relay) is None:
            await self._swarm.dial_addresses(relay, [address])
        connection = self._direct(relay)
        if connection is None:
            raise SwarmException("the relay itself can be reached only over a relay")
        stream = await open_stream_on(connection, self._host, [HOP_PROTOCOL])
        try:
            request = HopMessage(type=HopMessage.CONNECT, peer=PeerId(id=peer_id.to_bytes()))
            await write_message(stream, request)
            reader = StreamReader(stream)
            answer = await read_message(reader, HopMessage)
            if answer.type != HopMessage.STATUS or answer.status != Status.OK:
                word = Status.Name(answer.status).lower().replace("_", " ")
                raise SwarmException(f"the relay refuses: {word}")
        except BaseException:
            with shielded(1), contextlib.suppress(Exception):
                await stream.reset()
            raise
        return circuit_connection(stream, reader, True, circuit)

    # --- inside -----------------------------------------------------------------------------------

    def _direct(self, peer_id: ID) -> Any | None:
        for connection in self._swarm.connections.get(peer_id, ()):
            if not connection.is_closed and not is_relayed(connection.muxed_conn):
                return connection
        return None

    def _speaking(self, protocol: str) -> list[ID]:
        """Directly connected peers that said they speak it."""
        found = []
        for peer in list(self._swarm.connections):
            with contextlib.suppress(Exception):  # nothing is known of it yet
                if protocol in self._swarm.peerstore.get_protocols(peer) and self._direct(peer):
                    found.append(peer)
        return found


def renew_after(expires_at: int, unix_now: float) -> float:
    """Seconds after which to renew a place at a relay that says in unix seconds when it ends."""
    seconds = min(LONGEST_PLACE_SECONDS, max(SHORTEST_PLACE_SECONDS, expires_at - unix_now))
    return RENEW_FRACTION * seconds


def _later_than(times: dict[ID, float], now: float) -> dict[ID, float]:
    """Those that are still to come, so that no list of peers grows for ever."""
    return {peer: at for peer, at in times.items() if at > now}
