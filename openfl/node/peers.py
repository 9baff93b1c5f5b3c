"""What a node does about its peers beside learning with them: it tells of them, and remembers them.
Both go on until cancelled."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping

import trio

from openfl.core.contribution import PeerId
from openfl.discovery.discovery import Discovery
from openfl.network.base import Network, PeerAddress
from openfl.network.ticks import next_tick
from openfl.node.event_log import EventLog
from openfl.node.notices import waiting_text

WATCH_SECONDS = 0.5
REMEMBER_SECONDS = 5.0
VERSION_SECONDS = 5.0
ABSENCE_SECONDS = 60.0
"""Least time from one reason why nobody is there to the next that is told."""


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
        await next_tick(WATCH_SECONDS)


async def tell_of_absence(discovery: Discovery, log: EventLog) -> None:
    """Tell that nobody is there, once for each reason: tries that end alike are no news."""
    told = ""
    told_at = -math.inf
    while True:
        absence = discovery.absence()
        now = trio.current_time()
        if absence is None:
            told = ""
        elif waiting_text(absence) != told and (not told or now - told_at >= ABSENCE_SECONDS):
            told, told_at = waiting_text(absence), now
            log.tell(
                "warning",
                "waiting",
                f"{told}; learning alone until somebody answers",
                {"addresses": absence.addresses, "causes": list(absence.causes)},
            )
        await next_tick(WATCH_SECONDS)


async def tell_of_other_versions(faults: Callable[[], Mapping[str, int]], log: EventLog) -> None:
    """Return once a group of another protocol version was heard of, and told. `faults`: what the
    directory has refused."""
    while not faults().get("card-version"):  # noqa: ASYNC110 (a count)
        await trio.sleep(VERSION_SECONDS)
    log.tell(
        "warning",
        "other-version",
        "a group of another protocol version is announced here: its members and this node do not"
        " hear each other until both run the same version of OpenFL",
    )


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
