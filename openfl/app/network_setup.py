"""The network of a node, as its configuration says: libp2p, the LAN, the router at home."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from openfl.config import Config
from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError
from openfl.core.telemetry import NodeEvent
from openfl.discovery.discovery import Discovery
from openfl.network.access_list import AccessList
from openfl.network.base import Network
from openfl.storage.home_storage import HomeStorage

if TYPE_CHECKING:
    from openfl.network.lan.upnp import PortMapping
    from openfl.network.libp2p.network import Libp2pNetwork

LAN_SECONDS = 1.5
"""How long a node that knows nobody listens to the LAN before it joins."""

OnEvent = Callable[[NodeEvent], None]


@contextlib.asynccontextmanager
async def open_network(
    config: Config, identity: bytes, storage: HomeStorage, on_event: OnEvent
) -> AsyncIterator[Libp2pNetwork]:
    """The network on the configured addresses; a port picked at an earlier start is kept."""
    from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings

    network_key = load_key_of(config)
    access = AccessList(
        frozenset(map(PeerId, config.network.allow_peers)),
        frozenset(map(PeerId, config.network.deny_peers)),
    )

    def network(port: int) -> Libp2pNetwork:
        return Libp2pNetwork(
            Libp2pSettings(
                identity=identity,
                start_seqno=time.time_ns(),
                listen=config.network.listen or (_listen_address(config.network.host, port),),
                announce=config.network.announce,
                tls=config.network.tls,
                max_peers=config.network.max_peers,
                network_key=network_key,
                access=access,
                reachability=config.network.reachability,
                relay=config.network.relay,
                hole_punching=config.network.hole_punching,
            )
        )

    kept = storage.port if not (config.network.port or config.network.listen) else 0
    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(network(kept or config.network.port))
        except NetworkError:
            if not kept:
                raise
            text = f"port {kept} of the last start is taken: using another"
            on_event(NodeEvent(time.time(), "warning", "port-changed", text))
            opened = await stack.enter_async_context(network(0))
        storage.port = _port_of(opened.multiaddrs)
        yield opened


@contextlib.asynccontextmanager
async def on_lan(
    network: Network, discovery: Discovery, known: bool, on_event: OnEvent
) -> AsyncIterator[None]:
    """Finds peers of the LAN; entered once one is found, or after a moment, unless others are
    `known` to join through. A machine without multicast is told so, and goes on without."""
    # Here, not above: nodes without it need not load zeroconf.
    from openfl.network.lan.mdns import LanDiscovery

    lan = LanDiscovery(network.peer_id, lambda: network.multiaddrs, discovery.met_nearby)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lan.running())
        except NetworkError as error:
            on_event(NodeEvent(time.time(), "warning", "mdns-failed", str(error)))
        else:
            if not known:
                with trio.move_on_after(LAN_SECONDS):
                    await lan.somebody.wait()
        yield


@contextlib.asynccontextmanager
async def behind_router(network: Libp2pNetwork, on_event: OnEvent) -> AsyncIterator[PortMapping]:
    """Asks the router to forward a port to the node; when there is none that does, the node goes on
    without."""
    # Here, not above: nodes without it need not load this.
    from openfl.network.lan.upnp import PortMapping
    from openfl.network.lan.upnp_router import LanRouter
    from openfl.network.libp2p.addresses import interface_addresses

    mapping = PortMapping(
        LanRouter(),
        network.listening,
        network.forwarded_from,
        lambda level, kind, text: on_event(NodeEvent(time.time(), level, kind, text)),
        lambda: frozenset(a for a in interface_addresses() if ":" not in a),
        random.Random(),
    )
    async with mapping.running():
        yield mapping


def load_key_of(config: Config) -> bytes | None:
    """The key of the configured private network; None when there is none. StateError."""
    if not config.network.psk_file:
        return None
    from openfl.network.libp2p.private_network import load_network_key

    return load_network_key(Path(config.network.psk_file))


def _listen_address(host: str, port: int) -> str:
    return f"/{'ip6' if ':' in host else 'ip4'}/{host}/tcp/{port}"


def _port_of(multiaddrs: Sequence[str]) -> int:
    for address in multiaddrs:
        parts = address.split("/")
        if "tcp" in parts:
            return int(parts[parts.index("tcp") + 1])
    return 0
