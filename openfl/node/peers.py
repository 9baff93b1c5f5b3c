"""What a node does about its peers beside learning with them: it tells of them, and remembers them.
Both go on until cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from openfl.contribution import PeerId
from openfl.network.base import Network, PeerAddress
from openfl.node.event_log import EventLog

WATCH_SECONDS = 0.5
REMEMBER_SECONDS = 5.0


async def tell_of_peers(network: Network, log: EventLog) -> None:
    """Tell of every peer that comes or goes."""
    known: frozenset[PeerId] = frozenset()
    while True:
        now = network.connected()
        for peer in sorted(now - known):
            log.tell("info", "peer-connected", f"connected to peer ..{peer[-6:]}")
        for peer in sorted(known - now):
            log.tell("info", "peer-lost", f"lost peer ..{peer[-6:]}")
        known = now
        await trio.sleep(WATCH_SECONDS)


async def keep_remembered(
    remembered: Callable[[], tuple[PeerAddress, ...]],
    remember: Callable[[tuple[PeerAddress, ...]], Awaitable[None]],
) -> None:
    """`remember` whom to try at the next start, whenever that has changed."""
    kept: tuple[PeerAddress, ...] = ()
    while True:
        await trio.sleep(REMEMBER_SECONDS)
        now = remembered()
        if now and now != kept:
            await remember(now)
            kept = now
