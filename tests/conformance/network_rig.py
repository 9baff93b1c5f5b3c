"""One rig for each implementation of `Network`; the suite sees only the seam."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from openfl.network.base import Network, PeerAddress
from tests.situation import until_seen


@dataclass(frozen=True)
class Rig:
    """`networks(n)` gives n entered networks on loopback that are not connected to each other.
    `standing_streams`: open between two peers once they have introduced themselves."""

    name: str
    networks: Callable[[int], AbstractAsyncContextManager[tuple[Any, ...]]]
    unused_address: Callable[[], str]
    standing_streams: int


@asynccontextmanager
async def libp2p_networks(count: int) -> AsyncIterator[tuple[Any, ...]]:
    async with AsyncExitStack() as stack:
        yield tuple([await stack.enter_async_context(libp2p_network()) for _ in range(count)])


def libp2p_network() -> Any:
    from openfl.network.libp2p.envelope import generate_identity
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings

    return Libp2pNetwork(
        Libp2pSettings(
            identity=generate_identity(),
            start_seqno=time.time_ns(),
            listen=("/ip4/127.0.0.1/tcp/0",),
        )
    )


@asynccontextmanager
async def simulated_networks(count: int) -> AsyncIterator[tuple[Any, ...]]:
    from openfl.network.simulated.internet import SimulatedInternet, simulated_peer_id
    from openfl.network.simulated.link import LinkSettings

    world = SimulatedInternet(seed=7, settings=LinkSettings(latency_seconds=(0.001, 0.004)))
    async with world, AsyncExitStack() as stack:
        yield tuple(
            [
                await stack.enter_async_context(world.network(simulated_peer_id(f"peer {n}")))
                for n in range(count)
            ]
        )


@pytest.fixture(params=["libp2p", "simulated"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "libp2p":
        # Port 1 (tcpmux) is served nowhere.
        # Of gossip there is one stream in each direction.
        return Rig("libp2p", libp2p_networks, lambda: "/ip4/127.0.0.1/tcp/1", 2)
    return Rig("simulated", simulated_networks, lambda: "/memory/9999", 0)


def address_of(network: Network) -> PeerAddress:
    """Where the network can be dialled, as a peer would be told."""
    return PeerAddress(
        network.peer_id,
        tuple(address.partition("/p2p/")[0] for address in network.multiaddrs),
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens soon; the networks have no events to wait for."""
    await until_seen(condition, every=0.01)


async def join(*networks: Network, topic: str) -> None:
    """Connect each network to the next one; wait until neighbours know that all subscribe."""
    for one, other in pairwise(networks):
        await one.connect(address_of(other))

    def neighbours_know() -> bool:
        for one, other in pairwise(networks):
            for near, far in ((one, other), (other, one)):
                known = {p.peer_id: p.mesh_topics for p in near.peers()}
                if topic not in known.get(far.peer_id, frozenset()):
                    return False
        return True

    await until(neighbours_know)
