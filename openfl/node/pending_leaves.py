"""Saying a signed `Leave` again that a crash may have kept back.

A move is committed on disk before the old group is told. A node that crashed in between finds the
leave it owes there at its next start, and gives it out, so that the old group's model loses what
this node taught it. Nothing else is done in the old group.
"""

from __future__ import annotations

import contextlib
import logging

import trio

from openfl.core.contribution import GroupId
from openfl.core.errors import RemoteError
from openfl.discovery.discovery import Discovery
from openfl.network.base import GossipMessage, Network, Verdict
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.state_saver import StateSaver
from openfl.storage.base import OwedLeave
from openfl.wire import messages as wire

log = logging.getLogger(__name__)

SEARCH_SECONDS = 30.0
SEARCH_PAUSE_SECONDS = 1.0
MAX_DIALLED = 3
SETTLE_SECONDS = 1.5
"""From seeing a subscriber to having a mesh with it; and from publishing to leaving the topic."""
TIMES = 2
RETRY_SECONDS = 120.0


class PendingLeaves:
    """Gives out every leave that is owed, unless the node goes back to that group meanwhile."""

    def __init__(
        self,
        network: Network,
        discovery: Discovery,
        current_group: CurrentGroup,
        saver: StateSaver,
        log: EventLog,
    ) -> None:
        self._network = network
        self._discovery = discovery
        self._current_group = current_group
        self._saver = saver
        self._log = log
        self._saying: dict[GroupId, tuple[trio.CancelScope, trio.Event]] = {}

    async def say_all(self) -> None:
        """Give out the leaves that an earlier run owes; return once all are heard, or not to be
        said any more."""
        async with trio.open_nursery() as nursery:
            for owed in self._saver.owed:
                nursery.start_soon(self.say, owed)

    async def say(self, owed: OwedLeave) -> None:
        """Return once it is heard, or is not to be said any more."""
        saying = self._saying[owed.group_id] = (trio.CancelScope(), trio.Event())
        try:
            with saying[0]:
                await self._say_until_heard(owed)
        finally:
            saying[1].set()

    async def fall_silent(self, group_id: GroupId) -> None:
        """Before the node goes back to this group: nothing is said in it any more."""
        if group_id in self._saying:
            saying, silent = self._saying.pop(group_id)
            saying.cancel()
            await silent.wait()

    async def _say_until_heard(self, owed: OwedLeave) -> None:
        while self._saver.owes(owed):
            if owed.group_id == self._current_group.charter.group_id:
                break  # in it again, in a later epoch
            if await say_leave(self._network, self._discovery, owed):
                text = f"told group {owed.group_id[:8]} that this node left it"
                self._log.tell("info", "left", text)
                break
            await trio.sleep(RETRY_SECONDS)
        if self._saver.owes(owed):
            self._saver.settle(owed.group_id)
            await self._saver.save_standing_if_possible()


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
