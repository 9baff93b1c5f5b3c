"""`SimulatedNetwork`: the `Network` seam without sockets, for tests of whole groups of nodes.

One peer's place in a `SimulatedInternet`. What is modelled: connections that break, gossip relayed
over a mesh of degree 6 with verdicts, requests with bounds, provider records that outlive their
provider, refusal of offenders. What is not: encryption, framing, the cost of a Kademlia lookup, the
time a mesh needs to form.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RemoteError, RequestFailed
from openfl.network.base import (
    ConnectedPeer,
    GossipHandler,
    GossipMessage,
    NetworkStatistics,
    PeerAddress,
    RequestHandler,
    Verdict,
)
from openfl.network.offenders import Offenders
from openfl.network.simulated.answer import Answer, leave_nursery

if TYPE_CHECKING:
    from openfl.network.simulated.internet import SimulatedInternet

log = logging.getLogger(__name__)

MAX_PUBLISH_BYTES = 900_000
MESH_DEGREE = 6
OVERHEAD_BYTES = 160
"""Added to every message: signature, author, topic, encryption."""
MAX_SEEN = 65_536
PROVIDER_TTL_SECONDS = 24 * 3600.0


@dataclass(slots=True)
class Provider:
    """A provider record; `expires_at` on trio's clock."""

    address: PeerAddress
    expires_at: float


class SimulatedNetwork:
    """Implements `openfl.network.base.Network` in a `SimulatedInternet`."""

    max_publish_bytes = MAX_PUBLISH_BYTES

    def __init__(
        self, internet: SimulatedInternet, peer_id: PeerId, address: str, max_peers: int
    ) -> None:
        self._internet = internet
        self._peer_id = peer_id
        self.address = address
        self._max_peers = max_peers
        self._alive = False
        self._topics: dict[str, GossipHandler] = {}
        self._handlers: dict[str, tuple[RequestHandler, int]] = {}
        self._connected: dict[PeerId, set[str]] = {}
        """Connected peers and the topics that we know they subscribe to."""
        self._known: dict[PeerId, PeerAddress] = {}
        self._seen: OrderedDict[tuple[PeerId, int], None] = OrderedDict()
        self._numbers = count()
        self._waiting: dict[PeerId, set[Answer]] = {}
        self._offenders = Offenders()
        self._faults: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()

    async def __aenter__(self) -> SimulatedNetwork:
        if self._peer_id in self._internet._networks:
            raise NetworkError(f"{self._peer_id} is in this simulation already")
        self._internet._networks[self._peer_id] = self
        self._alive = True
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for peer_id in list(self._connected):
            self._internet._disconnect(self._peer_id, peer_id)
        if self._internet._networks.get(self._peer_id) is self:
            del self._internet._networks[self._peer_id]
        self._alive = False
        self._nursery.cancel_scope.cancel()
        await leave_nursery(self._nursery_manager, kind, error, traceback)

    @property
    def peer_id(self) -> PeerId:
        """The id of this peer."""
        return self._peer_id

    @property
    def multiaddrs(self) -> tuple[str, ...]:
        """Its one address, which ends in `/p2p/<peer id>`."""
        return (f"{self.address}/p2p/{self._peer_id}",)

    # Gossip

    async def subscribe(self, topic: str, handler: GossipHandler) -> None:
        """Join `topic`. RuntimeError when it was joined before."""
        await trio.lowlevel.checkpoint()
        if topic in self._topics:
            raise RuntimeError(f"already subscribed to {topic}")
        self._topics[topic] = handler
        for peer_id in self._connected:
            self._announce(peer_id, topic, True)

    async def unsubscribe(self, topic: str) -> None:
        """Leave `topic`; unknown ones are ignored."""
        await trio.lowlevel.checkpoint()
        if self._topics.pop(topic, None) is not None:
            for peer_id in self._connected:
                self._announce(peer_id, topic, False)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send to the topic's mesh; ValueError above `MAX_PUBLISH_BYTES`."""
        if len(payload) > MAX_PUBLISH_BYTES:
            raise ValueError(f"a gossip message has at most {MAX_PUBLISH_BYTES} bytes")
        await trio.lowlevel.checkpoint()
        number = next(self._numbers)
        self._note((self._peer_id, number))
        message = GossipMessage(topic, self._peer_id, self._peer_id, payload)
        self._forward(message, number, except_for=self._peer_id)

    def _announce(self, peer_id: PeerId, topic: str, joined: bool) -> None:
        def arrive() -> None:
            other = self._internet._networks.get(peer_id)
            if other is not None and self._peer_id in other._connected:
                topics = other._connected[self._peer_id]
                (topics.add if joined else topics.discard)(topic)

        self._internet.schedule(self._send(peer_id, len(topic)), arrive)

    def _mesh(self, topic: str) -> list[PeerId]:
        """Connected subscribers that we relay to: an edge ranks alike for both its ends."""

        def rank(one: PeerId, other: PeerId) -> bytes:
            edge = f"{self._internet.seed}/{topic}/{min(one, other)}/{max(one, other)}"
            return hashlib.sha256(edge.encode()).digest()

        def best(network: SimulatedNetwork) -> set[PeerId]:
            subscribers = [p for p, topics in network._connected.items() if topic in topics]
            subscribers.sort(key=lambda peer: rank(network.peer_id, peer))
            return set(subscribers[:MESH_DEGREE])

        mine = best(self)
        networks = self._internet._networks
        for peer_id, topics in self._connected.items():
            other = networks.get(peer_id)
            if topic in topics and other is not None and self._peer_id in best(other):
                mine.add(peer_id)
        return sorted(mine)

    def _forward(self, message: GossipMessage, number: int, except_for: PeerId) -> None:
        size = len(message.payload) + OVERHEAD_BYTES
        now = trio.current_time()
        for peer_id in self._mesh(message.topic):
            if peer_id in (except_for, message.author):
                continue
            self._totals["gossip_sent"] += 1
            self._totals["bytes_sent"] += size
            for arrival in self._internet.link(self._peer_id, peer_id).gossip(now, size):
                self._internet.schedule(arrival, self._delivery(peer_id, message, number))

    def _delivery(self, peer_id: PeerId, message: GossipMessage, number: int) -> Callable[[], None]:
        relayed = GossipMessage(message.topic, message.author, self._peer_id, message.payload)

        def arrive() -> None:
            other = self._internet._networks.get(peer_id)
            if other is not None and self._peer_id in other._connected:
                other._receive(relayed, number)

        return arrive

    def _receive(self, message: GossipMessage, number: int) -> None:
        self._totals["bytes_received"] += len(message.payload) + OVERHEAD_BYTES
        handler = self._topics.get(message.topic)
        if handler is None or (message.author, number) in self._seen:
            return
        if self._is_refused(message.author):
            self._faults["gossip-refused-author"] += 1
            return
        self._note((message.author, number))
        self._totals["gossip_received"] += 1
        try:
            verdict = handler(message)
        except Exception:
            log.exception("the handler of %s failed", message.topic)
            self._faults["gossip-handler-bug"] += 1
            return
        if verdict is Verdict.ACCEPT:
            self._forward(message, number, except_for=message.relayed_by)
        elif verdict is Verdict.REJECT:
            self._blame(message.author, "gossip-rejected")
            if message.relayed_by != message.author:
                self._blame(message.relayed_by, "gossip-relayed-rejected")

    def _note(self, message_id: tuple[PeerId, int]) -> None:
        self._seen[message_id] = None
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    # Provider records

    async def provide(self, key: bytes) -> None:
        """Keep a provider record of `key` (32 bytes) for a day; ValueError for another length."""
        if len(key) != 32:
            raise ValueError("a key is a sha-256, 32 bytes")
        await self._lookup()
        if self._alive:
            self._internet._providers.setdefault(key, {})[self._peer_id] = Provider(
                PeerAddress(self._peer_id, (self.address,)),
                trio.current_time() + PROVIDER_TTL_SECONDS,
            )

    async def find_providers(self, key: bytes, limit: int = 20) -> tuple[PeerAddress, ...]:
        """Who provides `key` (32 bytes) on this side of a partition, never this peer itself."""
        if len(key) != 32:
            raise ValueError("a key is a sha-256, 32 bytes")
        await self._lookup()
        if not self._connected:
            return ()
        now = trio.current_time()
        found = [
            provider.address
            for peer_id, provider in self._internet._providers.get(key, {}).items()
            if peer_id != self._peer_id
            and provider.expires_at > now
            and self._internet._reachable(self._peer_id, peer_id)
        ]
        return tuple(found[:limit])

    async def _lookup(self) -> None:
        """The time of a lookup: a few round trips to the peers we are connected to."""
        links = [self._internet.link(self._peer_id, peer) for peer in self._connected]
        await trio.sleep(4 * max((link.latency_seconds for link in links), default=0.0))

    # Peers

    async def connect(self, peer: PeerAddress) -> None:
        """Make sure there is a connection; RequestFailed says what was tried."""
        await trio.lowlevel.checkpoint()
        if peer.peer_id in self._connected:
            return
        known = self._known.get(peer.peer_id, PeerAddress(peer.peer_id))
        addresses = peer.multiaddrs or known.multiaddrs
        why = await self._dial(peer.peer_id, addresses)
        if why:
            tried = ", ".join(addresses) or "no address known"
            raise RequestFailed(f"cannot reach {peer.peer_id}: {tried}: {why}", why)

    async def _dial(self, peer_id: PeerId, addresses: tuple[str, ...]) -> str:
        """Why it failed; empty when there is a connection."""
        if peer_id == self._peer_id:
            return "this is our own peer id"
        link = self._internet.link(self._peer_id, peer_id)
        await trio.sleep(3 * link.latency_seconds)
        other = self._internet._networks.get(peer_id)
        if (
            not self._alive
            or other is None
            or not self._internet._reachable(self._peer_id, peer_id)
        ):
            return "no answer"
        if other.address not in addresses:
            return "connection refused"
        if self._is_refused(peer_id) or other._is_refused(self._peer_id):
            return "refused for repeated faults"
        if peer_id not in self._connected:
            if (
                max(
                    len(self._connected) - self._max_peers, len(other._connected) - other._max_peers
                )
                >= 0
            ):
                return "all connections are in use"
            self._internet._connect(self, other)
        return ""

    async def disconnect(self, peer_id: PeerId) -> None:
        """Break the connection to the peer, if there is one."""
        await trio.lowlevel.checkpoint()
        self._internet._disconnect(self._peer_id, peer_id)

    def _lost(self, peer_id: PeerId) -> None:
        if self._connected.pop(peer_id, None) is not None:
            for answer in self._waiting.pop(peer_id, set()):
                answer.fail("the connection broke")

    def peers(self) -> tuple[ConnectedPeer, ...]:
        """The connected peers, with what is known of them."""
        return tuple(
            ConnectedPeer(
                peer_id,
                self._known[peer_id].multiaddrs,
                frozenset(topics),
                frozenset(t for t in topics & self._topics.keys() if peer_id in self._mesh(t)),
            )
            for peer_id, topics in self._connected.items()
        )

    def connected(self, topic: str | None = None) -> frozenset[PeerId]:
        """Their ids; with `topic`, of those that subscribe to it."""
        return frozenset(
            peer_id
            for peer_id, topics in self._connected.items()
            if topic is None or topic in topics
        )

    def penalize(self, peer_id: PeerId, reason: str) -> None:
        """Hold a fault against the peer, counted as `penalized-<reason>`."""
        self._blame(peer_id, f"penalized-{reason}")

    def _blame(self, peer_id: PeerId, reason: str) -> None:
        self._faults[reason] += 1
        if self._offenders.add(peer_id, trio.current_time()) and peer_id in self._connected:
            self._faults["peer-refused"] += 1
            self._internet._disconnect(self._peer_id, peer_id)

    def _is_refused(self, peer_id: PeerId) -> bool:
        return self._offenders.is_refused(peer_id, trio.current_time())

    def statistics(self) -> NetworkStatistics:
        """Totals since start; connections and streams are those of now."""
        return NetworkStatistics(
            **self._totals,
            connections=len(self._connected),
            streams=sum(map(len, self._waiting.values())),
            faults=dict(self._faults),
        )

    # Requests

    def set_handler(
        self, protocol: str, handler: RequestHandler, max_request_bytes: int = 1 << 16
    ) -> None:
        """Answer requests on `protocol`, of at most `max_request_bytes` each."""
        self._handlers[protocol] = (handler, max_request_bytes)

    async def request(
        self, peer_id: PeerId, protocol: str, payload: bytes, max_response_bytes: int = 1 << 20
    ) -> bytes:
        """One answer of at most `max_response_bytes`; RequestFailed when there is none."""
        await trio.lowlevel.checkpoint()
        if peer_id not in self._connected:
            await self.connect(PeerAddress(peer_id))
        answer = Answer(protocol, peer_id)
        self._waiting.setdefault(peer_id, set()).add(answer)
        try:
            if self._internet.link(self._peer_id, peer_id).request_fails():
                self._internet.schedule(
                    self._send(peer_id, len(payload)), lambda: answer.fail("the stream was reset")
                )
            else:
                self._internet.schedule(
                    self._send(peer_id, len(payload)),
                    lambda: self._hand_over(peer_id, protocol, payload, answer),
                )
            result = await answer.wait()
        finally:
            self._waiting.get(peer_id, set()).discard(answer)
        self._totals["bytes_received"] += len(result) + OVERHEAD_BYTES
        if len(result) > max_response_bytes:
            answer.fail(f"the answer is too large: {len(result)} bytes")
            await answer.wait()
        return result

    def _hand_over(self, peer_id: PeerId, protocol: str, payload: bytes, answer: Answer) -> None:
        other = self._internet._networks.get(peer_id)
        if other is not None and self._peer_id in other._connected:
            other._nursery.start_soon(other._answer, self._peer_id, protocol, payload, answer)

    async def _answer(self, asker: PeerId, protocol: str, payload: bytes, answer: Answer) -> None:
        self._totals["bytes_received"] += len(payload) + OVERHEAD_BYTES
        result, why = b"", "the stream was reset"
        if protocol not in self._handlers:
            why = "it does not speak this protocol"
        elif len(payload) > self._handlers[protocol][1]:
            self._blame(asker, "request-too-large")
        else:
            try:
                result, why = await self._handlers[protocol][0](asker, payload), ""
            except RemoteError as error:
                log.debug("%s of %s refused: %s", protocol, asker, error)
                self._blame(asker, "request-refused")
            except Exception:
                log.exception("the handler of %s failed", protocol)
                self._faults["request-handler-bug"] += 1
        arrival = self._send(asker, len(result))
        self._internet.schedule(
            arrival, lambda: answer.fail(why) if why else answer.succeed(result)
        )

    def _send(self, peer_id: PeerId, size: int) -> float:
        """Count the bytes of something that is never lost, and say when it arrives."""
        self._totals["bytes_sent"] += size + OVERHEAD_BYTES
        link = self._internet.link(self._peer_id, peer_id)
        return link.transfer(trio.current_time(), size + OVERHEAD_BYTES)
