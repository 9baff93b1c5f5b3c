"""`Libp2pNetwork`: the `Network` seam over py-libp2p.

TCP with Noise (and TLS), Yamux, Kademlia on our own protocol id, GossipSub 1.1 with StrictSign.
This module only joins the parts: sockets are in `transport` and `listening`, connections in
`swarm`, gossip in `gossip`, requests in `request_response`, provider records in `dht`. libp2p's own
exceptions stay here: `NetworkError` when the owner can mend it, `RequestFailed` when a peer is at
fault or away.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

import trio
from libp2p.kad_dht.kad_dht import KadDHT
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.tools.anyio_service import TrioManager

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed
from openfl.network.base import (
    ConnectedPeer,
    GossipHandler,
    GossipMessage,
    NetworkStatistics,
    PeerAddress,
    RequestHandler,
    Verdict,
)
from openfl.network.libp2p.addresses import (
    order_addresses,
    parse_announce_multiaddr,
    parse_listen_multiaddr,
    parse_peer_multiaddr,
    text_of,
)
from openfl.network.libp2p.clock import use_steady_time
from openfl.network.libp2p.connection_gate import ConnectionGate
from openfl.network.libp2p.dht import PlainPeerStore, make_dht, multihash
from openfl.network.libp2p.diagnosis import Diagnosis
from openfl.network.libp2p.envelope import key_pair_of
from openfl.network.libp2p.gossip.pubsub import HardenedPubsub
from openfl.network.libp2p.gossip.router import HardenedGossipSub
from openfl.network.libp2p.listening import Bound, bind
from openfl.network.libp2p.logs import quieten_logging
from openfl.network.libp2p.nat.circuit import is_relayed
from openfl.network.libp2p.nat.hole_punching import HolePuncher
from openfl.network.libp2p.nat.reachability import Reachability
from openfl.network.libp2p.nat.relay import Relay
from openfl.network.libp2p.nat.roaming import close_what_is_stranded
from openfl.network.libp2p.request_response import RequestResponse
from openfl.network.libp2p.settings import Libp2pSettings
from openfl.network.libp2p.swarm import DialFailed, HardenedHost, HardenedSwarm
from openfl.network.libp2p.transport import Faults, TcpTransport, Traffic, shielded
from openfl.network.libp2p.unread import upper
from openfl.network.libp2p.upgrading import YamuxUpgrader
from openfl.network.offenders import Offenders

log = logging.getLogger(__name__)

__all__ = ["Libp2pNetwork", "Libp2pSettings", "parse_peer_multiaddr"]

MAX_PUBLISH_BYTES = 900_000
"""Above it frames exceed 1 MiB, which other implementations answer by dropping the connection."""
CLOSE_SECONDS, REMEMBERED_NAMES = 1.2, 4096


class Libp2pNetwork:
    """Implements `openfl.network.base.Network`. Enter it once, with `async with`."""

    max_publish_bytes = MAX_PUBLISH_BYTES

    def __init__(self, settings: Libp2pSettings) -> None:
        """NetworkError for a malformed address, StateError for a malformed identity."""
        self._settings = settings
        self._listen = [parse_listen_multiaddr(text) for text in settings.listen]
        self._announce = [parse_announce_multiaddr(text) for text in settings.announce]
        self._key_pair = key_pair_of(settings.identity)
        self._id = ID.from_pubkey(self._key_pair.public_key)
        self._faults = Faults(blame=self._blame)
        self._traffic = Traffic()
        self._offenders = Offenders()
        self._handlers: dict[str, GossipHandler] = {}
        self._requests = RequestResponse(self._faults)
        self._relay: Relay | None = None
        self._entered = False
        self._bound: tuple[tuple[str, int], ...] = ()
        self._managers: list[Any] = []
        self._swarm: HardenedSwarm
        self._host: HardenedHost
        self._dht: KadDHT
        self._pubsub: HardenedPubsub
        self._gossip: HardenedGossipSub
        self._nursery: trio.Nursery
        self.diagnosis: Diagnosis

    # Life

    async def __aenter__(self) -> Libp2pNetwork:
        if self._entered:
            raise RuntimeError("a Libp2pNetwork can be entered once")
        self._entered = True
        quieten_logging()
        use_steady_time()
        bound = await bind(self._listen)
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        try:
            await self._start(bound)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with shielded(CLOSE_SECONDS):
            await self._close()
        self._nursery.cancel_scope.cancel()
        # The body's own error does not pass through the nursery, which would wrap it in a group; a
        # Cancelled does, for it may be the nursery's own, of a service that failed.
        try:
            if isinstance(error, trio.Cancelled):
                await self._nursery_manager.__aexit__(kind, error, traceback)
            else:
                await self._nursery_manager.__aexit__(None, None, None)
        finally:
            self._traffic.close_sockets()

    async def _start(self, bound: Sequence[Bound]) -> None:
        self._bound = tuple(
            listener.socket.getsockname()[:2] for _, listeners in bound for listener in listeners
        )
        gate = ConnectionGate(self._settings.max_peers, self._faults)
        transport = TcpTransport(self._nursery, self._traffic, gate.knock)
        transport.bound = {str(address): listeners for address, listeners in bound}
        peerstore = PlainPeerStore(lambda: {self._id, *self._swarm.connections})
        peerstore.add_key_pair(self._id, self._key_pair)
        self._swarm = HardenedSwarm(
            self._id,
            peerstore,
            YamuxUpgrader(self._key_pair, self._settings.tls, self._faults),
            transport,
            self._settings.max_peers,
            self._faults,
        )
        self._swarm.is_refused = self._is_refused
        self._swarm.access = self._settings.access
        self._swarm.network_key = self._settings.network_key
        self._host = HardenedHost(self._swarm, self._announce)
        self._reachability = Reachability(
            self._host, self._swarm, transport, self._faults, self._settings.reachability
        )
        self._reachability.start()
        self.diagnosis = Diagnosis(self._host, self._swarm, self._reachability)
        self._puncher = HolePuncher(self._host, self._swarm, transport, self._faults)
        if self._settings.hole_punching and bound:
            self._puncher.start()
        if self._settings.relay:
            self._relay = Relay(self._host, self._swarm, self._faults, self._host.own_addresses)
            self._relay.start()
        self._gossip = HardenedGossipSub(self._faults)
        self._pubsub = HardenedPubsub(
            self._host, self._gossip, self._judge, self._settings.start_seqno, self._faults
        )
        self._dht = make_dht(self._host, self._faults)
        self._host.on_identified = self._identified
        self._requests.attach(self._host)
        for service in (self._swarm, self._gossip, self._pubsub):
            manager = TrioManager(service)
            self._managers.append(manager)
            self._nursery.start_soon(manager.run)
            await manager.wait_started()
        await self._pubsub.wait_until_ready()
        if bound and not await self._swarm.listen(*(address for address, _ in bound)):
            raise NetworkError(f"cannot listen on {', '.join(str(a) for a, _ in bound)}")
        manager = TrioManager(self._dht)
        self._managers.append(manager)
        self._nursery.start_soon(manager.run)
        await manager.wait_started()
        self._nursery.start_soon(
            close_what_is_stranded, self._traffic, self._faults, self._host.forget_addresses
        )
        if bound:
            self._nursery.start_soon(self._reachability.run)
            if self._settings.hole_punching:
                self._nursery.start_soon(self._puncher.run)

    async def _close(self) -> None:
        if hasattr(self, "_swarm"):
            for scope in list(self._host._identify_tasks):
                scope.cancel()
            await self._swarm.close_all()
        for manager in reversed(self._managers):
            manager.cancel()
        for manager in reversed(self._managers):
            await manager.wait_finished()

    # Who and where we are

    @property
    def peer_id(self) -> PeerId:
        """The libp2p peer id of this node."""
        return PeerId(str(self._id))

    @property
    def multiaddrs(self) -> tuple[str, ...]:
        """Where others can dial this node; each ends in `/p2p/<peer id>`."""
        return tuple(str(address) for address in self._host.get_addrs())

    @property
    def listening(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of each socket that is listened on."""
        return self._bound

    def forwarded_from(self, multiaddrs: tuple[str, ...]) -> None:
        """A router forwards these to this node: they are announced besides its own addresses,
        unless peers find that nothing answers there."""
        self._reachability.forward(multiaddrs)

    # Gossip

    async def subscribe(self, topic: str, handler: GossipHandler) -> None:
        """Join `topic`. RuntimeError when it was joined before."""
        if topic in self._handlers:
            raise RuntimeError(f"already subscribed to {topic}")
        self._handlers[topic] = handler
        await self._pubsub.subscribe(topic)

    async def unsubscribe(self, topic: str) -> None:
        """Leave `topic`; unknown ones are ignored."""
        if self._handlers.pop(topic, None) is not None:
            await self._pubsub.unsubscribe(topic)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send to the topic's mesh; ValueError above `MAX_PUBLISH_BYTES`."""
        if len(payload) > MAX_PUBLISH_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_PUBLISH_BYTES} bytes")
        await self._pubsub.publish(topic, payload)

    def _judge(self, topic: str, author: ID, forwarder: ID, payload: bytes) -> Verdict:
        handler = self._handlers.get(topic)
        if handler is None:
            return Verdict.IGNORE
        if self._is_refused(author):
            self._faults.count("gossip-refused-author")
            return Verdict.IGNORE
        message = GossipMessage(topic, _name(author), PeerId(str(forwarder)), payload)
        try:
            verdict = handler(message)
        except Exception:
            # A bug of ours: say so.
            log.exception("the handler of %s failed", topic)
            self._faults.count("gossip-handler-bug")
            return Verdict.IGNORE
        if verdict is Verdict.REJECT:
            # The author signed it. A forwarder that is not the author ran the same checks and
            # should not have relayed it.
            self._faults.against(author, "gossip-rejected")
            if forwarder != author:
                self._faults.against(forwarder, "gossip-relayed-rejected")
        return verdict

    # The DHT

    async def provide(self, key: bytes) -> None:
        """Announce `key` (32 bytes) in the DHT once; ValueError for another length."""
        if len(key) != 32:
            raise ValueError("a key is a sha-256, 32 bytes")
        await self._dht.provider_store.provide(multihash(key))
        # Republished by whoever still wants it, under the key of the hour; not by the DHT.
        self._dht.provider_store.providing_keys.discard(multihash(key))

    async def find_providers(self, key: bytes, limit: int = 20) -> tuple[PeerAddress, ...]:
        """Providers of `key` (32 bytes), asked over the network, never this node itself."""
        if len(key) != 32:
            raise ValueError("a key is a sha-256, 32 bytes")
        found = await self._dht.provider_store.find_providers(multihash(key), limit)
        return tuple(
            PeerAddress(
                PeerId(str(info.peer_id)),
                tuple(order_addresses(str(a) for a in info.addrs))
                or tuple(self._known_addresses(info.peer_id)),
            )
            for info in found
        )

    async def _identified(self, peer_id: ID) -> None:
        # Defect dht-empty-table.
        await self._dht.add_peer(peer_id)

    # Peers

    async def connect(self, peer: PeerAddress) -> None:
        """Make sure there is a connection; RequestFailed says what was tried."""
        peer_id = _peer_id(peer.peer_id)
        if self._swarm.newest_connection(peer_id) is not None:
            return
        addresses = list(peer.multiaddrs) or self._known_addresses(peer_id)
        if peer.multiaddrs and not order_addresses(addresses):
            raise RequestFailed(
                f"none of the addresses of {peer.peer_id} is a TCP address: "
                + ", ".join(peer.multiaddrs),
                "no TCP address",
            )
        try:
            await self._swarm.dial_addresses(peer_id, addresses)
        except DialFailed as error:
            causes = ", ".join(dict.fromkeys(why for _, why in error.reasons))
            raise RequestFailed(f"cannot reach {peer.peer_id}: {error}", causes) from error
        except SwarmException as error:
            raise RequestFailed(f"cannot reach {peer.peer_id}: {error}") from error

    async def disconnect(self, peer_id: PeerId) -> None:
        """Close all connections to the peer."""
        connections = list(self._swarm.get_connections(_peer_id(peer_id)))
        async with trio.open_nursery() as nursery:
            for connection in connections:
                nursery.start_soon(self._swarm._close_connection_async, connection)

    def peers(self) -> tuple[ConnectedPeer, ...]:
        """The peers with an open connection, with what is known of them."""
        connected = []
        for peer_id in self._connected():
            topics = {t for t, peers in self._pubsub.peer_topics.items() if peer_id in peers}
            mesh = {t for t, peers in self._gossip.mesh.items() if peer_id in peers}
            connected.append(
                ConnectedPeer(
                    PeerId(str(peer_id)),
                    tuple(self._known_addresses(peer_id)),
                    frozenset(topics),
                    frozenset(mesh),
                    self._is_relayed(peer_id),
                )
            )
        return tuple(connected)

    def connected(self, topic: str | None = None) -> frozenset[PeerId]:
        """Their ids; with `topic`, of those that subscribe to it."""
        peer_ids = self._connected()
        if topic is not None:
            subscribed = self._pubsub.peer_topics.get(topic, set())
            peer_ids = [peer_id for peer_id in peer_ids if peer_id in subscribed]
        return frozenset(PeerId(str(peer_id)) for peer_id in peer_ids)

    def _connected(self) -> list[ID]:
        return [
            peer_id
            for peer_id, connections in self._swarm.connections.items()
            if any(not c.is_closed for c in connections)
        ]

    def _is_relayed(self, peer_id: ID) -> bool:
        used = self._swarm.newest_connection(peer_id)
        return used is not None and is_relayed(used.muxed_conn)

    def _known_addresses(self, peer_id: ID) -> list[str]:
        """Addresses at which the peer listens, as it told or as we dialled it."""
        try:
            known = [text_of(a) for a in self._swarm.peerstore.addrs(peer_id)]
        except PeerStoreError:
            known = []
        for connection in self._swarm.connections.get(peer_id, ()):
            if connection.direction.name == "OUTBOUND" and not connection.muxed_conn.punched:
                known.extend(text_of(a) for a in connection.get_transport_addresses())
        if self._relay is not None:
            # The peer told its addresses when it came, before it reserved its place here.
            known.extend(self._relay.circuit_addresses(peer_id))
        return order_addresses(known)

    def penalize(self, peer_id: PeerId, reason: str) -> None:
        """Hold a fault against the peer, counted as `penalized-<reason>`."""
        with contextlib.suppress(ValueError):
            self._faults.against(ID.from_base58(peer_id), f"penalized-{reason}")

    def _is_refused(self, peer_id: ID) -> bool:
        return self._offenders.is_refused(PeerId(str(peer_id)), trio.current_time())

    def _blame(self, peer_id: ID, reason: str) -> None:
        name = PeerId(str(peer_id))
        log.debug("fault of %s: %s", name, reason)
        if self._offenders.add(name, trio.current_time()) and self._swarm.get_connections(peer_id):
            log.info("disconnected %s for repeated faults, the last one: %s", name, reason)
            self._faults.count("peer-refused")
            self._nursery.start_soon(self.disconnect, name)

    def statistics(self) -> NetworkStatistics:
        """Totals since start; connections and streams are those of now."""
        return NetworkStatistics(
            bytes_sent=self._traffic.sent,
            bytes_received=self._traffic.received,
            gossip_sent=self._pubsub.sent,
            gossip_received=self._pubsub.received,
            connections=self._swarm.get_total_connections(),
            streams=self._swarm.count_streams(),
            waiting=self._pubsub.waiting,
            unread=self._unread(),
            faults=dict(self._faults.counts),
        )

    def _unread(self) -> int:
        buffered = (
            sum(map(len, connection.muxed_conn.stream_buffers.values()))
            for connection in self._swarm.get_connections()
        )
        return upper(stream.unread for stream in self._traffic.streams) + upper(buffered)

    # Requests

    async def request(
        self, peer_id: PeerId, protocol: str, payload: bytes, max_response_bytes: int = 1 << 20
    ) -> bytes:
        """One answer of at most `max_response_bytes`; RequestFailed when there is none."""
        return await self._requests.ask(_peer_id(peer_id), protocol, payload, max_response_bytes)

    def set_handler(
        self, protocol: str, handler: RequestHandler, max_request_bytes: int = 1 << 16
    ) -> None:
        """Answer requests on `protocol`, of at most `max_request_bytes` each."""
        self._requests.serve(protocol, handler, max_request_bytes)


def _name(peer_id: ID) -> PeerId:
    """Its text, from memory: base 58 takes long."""
    return _text_of_id(peer_id.to_bytes())


@lru_cache(REMEMBERED_NAMES)
def _text_of_id(raw: bytes) -> PeerId:
    return PeerId(str(ID(raw)))


def _peer_id(text: PeerId) -> ID:
    try:
        return ID.from_base58(text)
    except Exception as error:
        raise RequestFailed(f"{text!r} is not a peer id") from error
