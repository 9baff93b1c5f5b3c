"""`Network`: the seam between a node and whatever carries its bytes.

Bytes only: nothing here knows what a message means. Implementations: `libp2p.Libp2pNetwork` (real)
and `simulated.SimulatedNetwork` (seeded latency, loss, partition). One conformance suite runs over
both (`tests/conformance`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from openfl.core.contribution import PeerId


class Verdict(Enum):
    """What a topic's handler says of a message.

    ACCEPT: relay it. IGNORE: do not relay, nobody is to blame (stale, duplicate, unknown group).
    REJECT: do not relay, and hold it against its author (malformed, lying).
    """

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class GossipMessage:
    """One pubsub message. `author` signed it (StrictSign, verified); `relayed_by` gave it to us."""

    topic: str
    author: PeerId
    relayed_by: PeerId
    payload: bytes


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """A peer and where to dial it; `multiaddrs` do not end in `/p2p/...` and may be empty."""

    peer_id: PeerId
    multiaddrs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectedPeer:
    """A peer with an open connection, and the topics it is known to subscribe to."""

    peer_id: PeerId
    multiaddrs: tuple[str, ...]
    topics: frozenset[str]
    mesh_topics: frozenset[str]
    relayed: bool = False
    """Whether all that is said goes over a relay."""


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Totals since start, but for `connections` and `streams`, which are open now, and what is not
    done now: `waiting`, gossip frames that the median peer has not taken, and `unread`, bytes that
    have come over one connection and are not handled, of which three quarters have no more.
    `faults` counts what was refused or survived, by name."""

    bytes_sent: int = 0
    bytes_received: int = 0
    gossip_sent: int = 0
    gossip_received: int = 0
    connections: int = 0
    streams: int = 0
    waiting: int = 0
    unread: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)


GossipHandler = Callable[[GossipMessage], Verdict]
"""Called once for each distinct message of others, in order of arrival; must not block or raise."""

RequestHandler = Callable[[PeerId, bytes], Awaitable[bytes]]
"""Answers one request. A RemoteError it raises resets the stream and is counted against the peer;
any other exception is a bug of ours: it is logged and counted, and the stream is reset."""


class Network(Protocol):
    """A peer's place in the network. Entered with `async with`; leaving it closes everything."""

    @property
    def max_publish_bytes(self) -> int:
        """The largest payload that `publish` takes."""
        ...

    @property
    def peer_id(self) -> PeerId:
        """The id of this peer."""
        ...

    @property
    def multiaddrs(self) -> tuple[str, ...]:
        """Where others can dial this peer; each ends in `/p2p/<peer id>`."""
        ...

    async def subscribe(self, topic: str, handler: GossipHandler) -> None:
        """Join `topic`. Joining twice is a bug (RuntimeError)."""
        ...

    async def unsubscribe(self, topic: str) -> None:
        """Leave `topic`; its handler is not called again. Unknown topics are ignored."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send to the topic's mesh. One's own handler is not called.

        ValueError above `max_publish_bytes`.
        """
        ...

    async def provide(self, key: bytes) -> None:
        """Announce in the DHT that this peer serves `key` (32 bytes, a sha-256)."""
        ...

    async def find_providers(self, key: bytes, limit: int = 20) -> tuple[PeerAddress, ...]:
        """Providers of `key` asked over the network, never this peer itself; may be empty."""
        ...

    async def connect(self, peer: PeerAddress) -> None:
        """Make sure there is a connection. RequestFailed says what was tried."""
        ...

    async def disconnect(self, peer_id: PeerId) -> None:
        """Close any connection to the peer."""
        ...

    async def request(
        self, peer_id: PeerId, protocol: str, payload: bytes, max_response_bytes: int = 1 << 20
    ) -> bytes:
        """One request, one answer. RequestFailed when refused, reset, too large or unreachable.
        The caller sets the timeout with a cancel scope."""
        ...

    def set_handler(
        self, protocol: str, handler: RequestHandler, max_request_bytes: int = 1 << 16
    ) -> None:
        """Answer requests on `protocol`."""
        ...

    def peers(self) -> tuple[ConnectedPeer, ...]:
        """The peers with an open connection, and what is known of them."""
        ...

    def connected(self, topic: str | None = None) -> frozenset[PeerId]:
        """Only the ids of `peers`; with `topic`, of those that subscribe to it. Cheap: asked for
        several times a second."""
        ...

    def penalize(self, peer_id: PeerId, reason: str) -> None:
        """Hold a fault against the peer; after several it is disconnected and refused a while."""
        ...

    def statistics(self) -> NetworkStatistics:
        """What was sent, received, refused and survived."""
        ...


class Sealer(Protocol):
    """Signs this node's deltas and verifies those of others: libp2p signed envelopes (RFC 0002)."""

    @property
    def peer_id(self) -> PeerId:
        """Whose signature it is."""
        ...

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        """A signed envelope over `payload`."""
        ...

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        """(author, payload) of a valid envelope; InvalidSignature for anything else."""
        ...
