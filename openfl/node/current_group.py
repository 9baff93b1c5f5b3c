"""`CurrentGroup`: where a node is: on its way into its first group, in one, or stopping."""

from __future__ import annotations

from typing import Literal

import trio

from openfl.core.contribution import Charter, GroupCard, GroupId, PeerId
from openfl.core.errors import GroupError
from openfl.core.telemetry import Phase
from openfl.network.base import RequestHandler
from openfl.node.membership import Membership
from openfl.switching.cards import session_card
from openfl.wire import messages as wire


class CurrentGroup:
    """A node is in at most one group. `own_phase`: what the node does by itself; None while its
    membership goes its way, whose phase then counts."""

    def __init__(self) -> None:
        self.own_phase: Literal["starting", "joining", "stopping"] | None = "starting"
        self._membership: Membership | None = None
        self._moved = trio.Event()

    @property
    def membership(self) -> Membership | None:
        """None until the first group is entered."""
        return self._membership

    @property
    def current(self) -> Membership:
        """GroupError until the first group is entered."""
        if self._membership is None:
            raise GroupError("this node is not in a group yet: try again in a moment")
        return self._membership

    @property
    def charter(self) -> Charter:
        """Of the present group; GroupError until there is one."""
        return self.current.session.charter

    @property
    def stopping(self) -> bool:
        """Whether the node is being closed."""
        return self.own_phase == "stopping"

    @property
    def phase(self) -> Phase:
        """What the node is doing, as its owner is told."""
        if self.own_phase is not None or self._membership is None:
            return self.own_phase or "joining"
        return self._membership.session.phase

    def is_in(self, group_id: GroupId) -> bool:
        """Whether that is the group the node is in."""
        return self._membership is not None and self.charter.group_id == group_id

    def enter(self, membership: Membership) -> None:
        """From now on this is the node's one membership."""
        self._membership = membership
        self._moved.set()
        self._moved = trio.Event()

    def card(self, unix_now: float) -> GroupCard | None:
        """What this node says of its group; None while it is in none."""
        if self._membership is None:
            return None
        return session_card(self._membership.session, trio.current_time(), unix_now)

    def answerer(self, protocol: str) -> RequestHandler:
        """Answers requests of this protocol for the group the node is in by then."""

        async def answer(peer: PeerId, payload: bytes) -> bytes:
            if self._membership is None:
                refusal = wire.Refusal("busy", "this node is not in a group yet")
                return wire.encode_answer(refusal)
            return await self._membership.answer(peer, protocol, payload)

        return answer

    async def wait_rounds_done(self, stop: trio.Event) -> None:
        """Return once all rounds are done in the group the node is in by then, or `stop` is set."""
        while not stop.is_set():
            moved, membership = self._moved, self._membership
            events = [moved, stop]
            if membership is not None:
                events.append(membership.rounds_done)
            await _wait_for_any(events)
            if membership is not None and membership.rounds_done.is_set() and not moved.is_set():
                return


async def _wait_for_any(events: list[trio.Event]) -> None:
    """Return once one of the events is set."""
    async with trio.open_nursery() as nursery:

        async def until(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(until, event)
