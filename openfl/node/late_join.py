"""`LateJoin`: a node that began by itself joins the network it was told of once somebody is there.

Nodes start in any order, so that nobody answers is no reason to end: the node founds the group that
it was to join and learns alone, as a first node does, while `Discovery` goes on dialling. Whoever
then answers may be in that very group: equal settings make one group, wherever it was founded, and
there is nothing to do. Or it is in another one, of other settings or another name. Then this node
moves to the group it would have begun in, had it known of it, in the same transaction as any
move - as long as it is alone in its own: what others have joined is left only by choice.

Two nodes that began so may each see the other's group. The one whose group has the lower id waits
longer, so that they do not change places.
"""

from __future__ import annotations

import trio

from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import GroupError, NetworkError, StateError
from openfl.discovery.discovery import Discovery
from openfl.network.base import Network
from openfl.network.ticks import next_tick
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.first_group import FirstGroup
from openfl.node.group_finder import GroupFinder
from openfl.node.moves import Moves
from openfl.node.notices import Notices
from openfl.node.state_saver import StateSaver

WATCH_SECONDS = 0.5
SETTLE_SECONDS = 3.0
"""From the first connection to looking around: by then whoever is of our own group has shown it."""
YIELD_SECONDS = 10.0
RETRY_SECONDS = 2.0
MAX_RETRY_SECONDS = 60.0
KIND = "not-joined"
OVER = "joined-late"


async def give_up_without_bootstrap(network: Network, discovery: Discovery, seconds: float) -> None:
    """Return once anybody is connected; NetworkError when nobody is within `seconds`."""
    with trio.move_on_after(seconds):
        while not network.connected():
            await next_tick(WATCH_SECONDS)
        return
    raise NetworkError(
        f"no bootstrap node answered within {seconds:g} s: {'; '.join(discovery.unanswered())}"
    )


class LateJoin:
    """See the module's text."""

    def __init__(
        self,
        network: Network,
        current_group: CurrentGroup,
        finder: GroupFinder,
        first_group: FirstGroup,
        moves: Moves,
        saver: StateSaver,
        notices: Notices,
        log: EventLog,
    ) -> None:
        self._network = network
        self._current_group = current_group
        self._finder = finder
        self._first_group = first_group
        self._moves = moves
        self._saver = saver
        self._notices = notices
        self._log = log

    async def run(self) -> None:
        """Return once the node is with others, or is somewhere else by another decision."""
        while self._saver.apart:
            here = self._current_group.charter.group_id
            await self._until_connected()
            await trio.sleep(SETTLE_SECONDS)
            await self._look_for_company(here)
            if not self._is_alone_in(self._current_group.charter.group_id):
                await self._met()
        if self._notices.get(KIND) is not None:
            self._log.tell("info", OVER, "no longer alone in its group")

    async def _look_for_company(self, here: GroupId) -> None:
        """Return once the node is not alone in this group any more, has moved, or has lost its
        peers."""
        pause, patient = RETRY_SECONDS, False
        while self._network.connected() and self._is_alone_in(here):
            await self._finder.ask()
            charter = await self._elsewhere(here)
            if charter is not None and (patient or here > charter.group_id):
                if await self._move(charter):
                    return
            elif charter is not None:
                patient = True
                await self._wait_alone(here, YIELD_SECONDS)
                continue
            await self._wait_alone(here, pause)
            pause = min(MAX_RETRY_SECONDS, 2 * pause)

    async def _wait_alone(self, here: GroupId, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while self._network.connected() and self._is_alone_in(here):
                await next_tick(WATCH_SECONDS)

    async def _elsewhere(self, here: GroupId) -> Charter | None:
        """The group to be in instead; None: there is none, or it cannot be joined."""
        try:
            charter = await self._first_group.instead_of(here)
        except GroupError as error:
            self._say(f"learning alone: {error}")
            return None
        return charter

    async def _move(self, charter: Charter) -> bool:
        try:
            await self._moves.join_late(charter)
        except (GroupError, StateError) as error:
            self._say(f"not in group {charter.name} of the network yet: {error}")
            return False
        return True

    def _say(self, text: str) -> None:
        """Once, however often it is tried."""
        told = self._notices.get(KIND)
        if told is None or told.text != text:
            self._log.tell("warning", KIND, text)

    async def _until_connected(self) -> None:
        while not self._network.connected():
            await next_tick(WATCH_SECONDS)

    def _is_alone_in(self, group_id: GroupId) -> bool:
        """Whether the node is in this group, and never saw anybody else of it."""
        session = self._current_group.current.session
        me = self._network.peer_id
        others = {state.peer_id for state in session.replica.members()}
        others |= {member.peer_id for member in session.members(trio.current_time())}
        return session.charter.group_id == group_id and others <= {me}

    async def _met(self) -> None:
        self._saver.apart = False
        await self._saver.save_standing_if_possible()
