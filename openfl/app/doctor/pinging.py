"""Round trips to a peer: as a running node answers for them, or over a brief network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import trio

from openfl.app.doctor.brief_network import brief_network
from openfl.app.doctor.subject import Subject
from openfl.app.doctor.whom import merged, whom
from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed, UsageError
from openfl.network.base import PeerAddress
from openfl.storage.remembered_peers import RememberedPeers

if TYPE_CHECKING:
    from openfl.network.libp2p.network import Libp2pNetwork

PING_SECONDS = 10.0
CONNECT_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """`address`: where the connection leads; `connect_seconds`: until there was one, 0 when there
    was one before."""

    peer_id: PeerId
    address: str
    relayed: bool
    seconds: float
    connect_seconds: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


async def round_trip(network: Libp2pNetwork, peer: PeerAddress) -> RoundTrip:
    """One ping; connects first. NetworkError: no connection, or no answer in time."""
    if peer.peer_id == network.peer_id:
        raise UsageError("that is this node itself")
    began = trio.current_time()
    there = peer.peer_id in network.connected()
    try:
        with trio.move_on_after(CONNECT_SECONDS):
            await network.connect(peer)
            connected = 0.0 if there else trio.current_time() - began
            with trio.move_on_after(PING_SECONDS):
                pong = await network.diagnosis.ping(peer.peer_id)
                return RoundTrip(peer.peer_id, pong.address, pong.relayed, pong.seconds, connected)
            raise NetworkError(f"no answer from {peer.peer_id} within {PING_SECONDS:g} s")
    except RequestFailed as error:
        raise NetworkError(str(error)) from error
    raise NetworkError(f"no connection with {peer.peer_id} within {CONNECT_SECONDS:g} s")


def known_on_disk(subject: Subject) -> dict[PeerId, tuple[str, ...]]:
    """Peers that a node which does not run has met or is told of, with their addresses."""
    from openfl.network.libp2p.addresses import parse_peer_multiaddr

    configured = []
    for text in subject.config.network.bootstrap:
        with contextlib.suppress(NetworkError):
            peer = parse_peer_multiaddr(text)
            configured.append((peer.peer_id, peer.multiaddrs))
    remembered: RememberedPeers | None = None
    with contextlib.suppress(OSError):
        remembered = RememberedPeers.peek(subject.home.peers_file)
    met = [] if remembered is None else remembered.peers
    last = () if subject.snapshot is None else subject.snapshot.peers
    return merged(
        configured,
        ((PeerId(peer.peer_id), peer.multiaddrs) for peer in met),
        ((peer.peer_id, peer.multiaddrs) for peer in last),
    )


@contextlib.asynccontextmanager
async def pinging_from_here(
    subject: Subject, reference: str
) -> AsyncIterator[Callable[[], Awaitable[RoundTrip]]]:
    """What makes one round trip after another, while the block is open, over a network of its own
    under a temporary identity. UsageError: nobody is known by that name; NetworkError as
    `round_trip`."""
    peer = whom(reference, known_on_disk(subject))
    async with brief_network(subject.config) as network:

        async def once() -> RoundTrip:
            return await round_trip(network, peer)

        yield once


async def ping_from_here(
    subject: Subject,
    reference: str,
    count: int,
    pause_seconds: float,
    told: Callable[[RoundTrip | NetworkError], None],
) -> None:
    """`count` round trips, each told as it comes."""
    async with pinging_from_here(subject, reference) as once:
        for number in range(count):
            if number:
                await trio.sleep(pause_seconds)
            try:
                told(await once())
            except NetworkError as error:
                told(error)
