"""Real libp2p networks on loopback, and raw access to what an attacker would send."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from libp2p.peer.id import ID
from libp2p.utils.varint import encode_varint_prefixed

from openfl.network.base import GossipMessage, PeerAddress, Verdict
from openfl.network.libp2p.envelope import generate_identity
from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings
from tests.situation import until_seen, within

TOPIC = "/openfl/1/test/deltas"
GOSSIP = "/meshsub/1.1.0"


def make_network(identity: bytes | None = None, **settings: Any) -> Libp2pNetwork:
    values: dict[str, Any] = {
        "identity": identity or generate_identity(),
        "start_seqno": time.time_ns(),
        "listen": ("/ip4/127.0.0.1/tcp/0",),
        **settings,
    }
    return Libp2pNetwork(Libp2pSettings(**values))


def address_of(network: Libp2pNetwork) -> PeerAddress:
    return PeerAddress(network.peer_id, tuple(a.partition("/p2p/")[0] for a in network.multiaddrs))


def id_of(network: Libp2pNetwork) -> ID:
    return ID.from_base58(network.peer_id)


class Heard:
    """A gossip handler that accepts and keeps everything."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def __call__(self, message: GossipMessage) -> Verdict:
        self.payloads.append(message.payload)
        return Verdict.ACCEPT


async def until(condition: Callable[[], bool]) -> None:
    await until_seen(condition, every=0.01)


async def meshed(one: Libp2pNetwork, other: Libp2pNetwork, topic: str = TOPIC) -> None:
    """Connect the two and wait until each has the other in its mesh."""
    await one.connect(address_of(other))

    def both() -> bool:
        return all(
            any(p.peer_id == far.peer_id and topic in p.mesh_topics for p in near.peers())
            for near, far in ((one, other), (other, one))
        )

    await until(both)


async def send_raw_gossip(attacker: Libp2pNetwork, victim: Libp2pNetwork, frame: bytes) -> None:
    """Open a gossip stream to the victim and send one frame with these bytes in it."""
    stream = await attacker._host.open_stream(id_of(victim), [GOSSIP])
    await stream.write(encode_varint_prefixed(frame))


async def answers(victim: Libp2pNetwork, asker: Libp2pNetwork) -> bool:
    """Whether the victim still serves requests."""

    async def echo(peer: str, payload: bytes) -> bytes:
        return payload

    victim.set_handler("/test-alive/1", echo)
    with within(what="an answer"):
        return await asker.request(victim.peer_id, "/test-alive/1", b"?") == b"?"
