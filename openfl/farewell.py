"""Saying a signed `Leave` again that a crash may have kept back.

A move is committed on disk before the old group is told. A node that crashed in between finds the
leave it owes there at its next start, and gives it out, so that the old group's model loses what
this node taught it. Nothing else is done in the old group.
"""

from __future__ import annotations

import contextlib
import logging

import trio

from openfl.contribution import GroupId
from openfl.errors import RemoteError
from openfl.network.base import GossipMessage, Network, Verdict
from openfl.network.discovery import Discovery
from openfl.node_parts import OwedLeave
from openfl.wire import messages as wire

log = logging.getLogger(__name__)

SEARCH_SECONDS = 30.0
SEARCH_PAUSE_SECONDS = 1.0
MAX_DIALLED = 3
SETTLE_SECONDS = 1.5
"""From seeing a subscriber to having a mesh with it; and from publishing to leaving the topic."""
TIMES = 2
RETRY_SECONDS = 120.0


async def say_leave(network: Network, discovery: Discovery, owed: OwedLeave) -> bool:
    """Whether there was somebody of the group to tell."""
    topic = wire.deltas_topic(owed.group_id)
    await network.subscribe(topic, _ignore)
    try:
        if not await _meet_members(network, discovery, owed.group_id):
            return False
        for _ in range(TIMES):
            await trio.sleep(SETTLE_SECONDS)
            await network.publish(topic, wire.encode_gossip(wire.LeaveNotice(owed.envelope)))
        await trio.sleep(SETTLE_SECONDS)
        return True
    finally:
        with trio.CancelScope(deadline=trio.current_time() + SETTLE_SECONDS, shield=True):
            await network.unsubscribe(topic)


async def _meet_members(network: Network, discovery: Discovery, group_id: GroupId) -> bool:
    with trio.move_on_after(SEARCH_SECONDS):
        while not discovery.members(group_id):
            for address in (await discovery.find_members(group_id))[:MAX_DIALLED]:
                with contextlib.suppress(RemoteError):
                    await network.connect(address)
            await trio.sleep(SEARCH_PAUSE_SECONDS)
    return bool(discovery.members(group_id))


def _ignore(message: GossipMessage) -> Verdict:
    return Verdict.IGNORE
