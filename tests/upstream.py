"""py-libp2p's own functions in the form of ours: `make defects` puts them in the place of these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from libp2p.identity.identify_push.identify_push import identify_push_handler_for
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.security.pnet.protector import new_protected_conn
from multiaddr import Multiaddr


async def dial_addresses(self: Any, peer_id: ID, addresses: Iterable[str]) -> Any:
    """As `HardenedSwarm.dial_addresses`: the addresses given are the ones that are known."""
    if peer_id in self.peerstore.peer_data_map:
        self.peerstore.clear_addrs(peer_id)
    self.peerstore.add_addrs(peer_id, [Multiaddr(address) for address in addresses], 3600)
    return (await Swarm.dial_peer(self, peer_id))[0]


def push_handler(host: Any, faults: Any) -> Any:
    """As `identify.push_handler`."""
    return identify_push_handler_for(host)


def protect(raw: RawConnection, key: bytes | None) -> Any:
    """As `access.protect`."""
    return raw if key is None else new_protected_conn(raw, key.hex())


async def pop_one(self: Any) -> list[Any]:
    """As `BoundedRpcQueue.pop_several`."""
    one = await self.pop()
    return [] if one is None else [one]
