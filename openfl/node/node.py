"""`Node`: one peer, driven by trio. It runs its parts, and answers for them.

Task tree: a node's nursery holds the group finder, the switcher, the current membership, the
comparison with training alone, the watch over its peers, and the saying of leaves it owes.
"""

from __future__ import annotations

from typing import Any, Literal

import trio

from openfl.core.contribution import PeerId
from openfl.core.course import Course
from openfl.core.event_backlog import KEPT_EVENTS
from openfl.core.telemetry import GroupView, NodeSnapshot
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.factorization.similar import SimilarSongs
from openfl.learning.factorization.wishes import NO_WISHES, Wishes
from openfl.network.base import Network
from openfl.node.beginning import Beginning
from openfl.node.course_recorder import CourseRecorder
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.learning_views import SongsNow
from openfl.node.listeners import EventListeners, EventStream, Listener
from openfl.node.moves import Moves
from openfl.node.node_tasks import NodeTasks
from openfl.node.parts import Links
from openfl.node.state_saver import StateSaver
from openfl.node.views import NodeViews

FINISH_MOVE_SECONDS = 2.0
"""How long stopping waits for a move under way."""


class Node:
    """See the module's text. `openfl.open_node` opens one; `openfl.node.assemble` makes one from
    its parts."""

    def __init__(
        self,
        links: Links,
        current_group: CurrentGroup,
        beginning: Beginning,
        tasks: NodeTasks,
        moves: Moves,
        views: NodeViews,
        saver: StateSaver,
        log: EventLog,
        course: CourseRecorder,
        listeners: EventListeners,
    ) -> None:
        self.stop_asked = trio.Event()
        """Set once the owner of the node is asked to close it."""
        self._leave_on_stop = False
        self._links = links
        self._current_group = current_group
        self._beginning = beginning
        self._tasks = tasks
        self._moves = moves
        self._views = views
        self._saver = saver
        self._log = log
        self._course = course
        self._listeners = listeners

    @property
    def network(self) -> Network:
        """What the node reaches others through."""
        return self._links.network

    # --- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Join and take part until cancelled; the network must be open. Started once subscribed to
        a group, its own when nobody is there. NetworkError when nobody has answered within the
        time given for that; GroupError when the group cannot be joined with this node's data."""
        async with trio.open_nursery() as nursery:
            self._tasks.open(nursery)
            self._log.tell(
                "info",
                "listening",
                f"listening on {', '.join(self.network.multiaddrs)}",
                {"multiaddrs": list(self.network.multiaddrs), "peer_id": self.network.peer_id},
            )
            self._beginning.tell_remarks()
            self._tasks.start(self._tasks.from_start)
            await self._beginning.join_network()
            self._tasks.start(self._tasks.once_dialled)
            membership = await self._beginning.enter_first_group()
            await self._tasks.take_part(membership)
            self._tasks.compare(membership)
            self._tasks.start(self._tasks.as_member)
            task_status.started()
            await trio.sleep_forever()

    async def wait_done(self) -> None:
        """Return once all rounds are done, or the node was asked to stop."""
        await self._current_group.wait_rounds_done(self.stop_asked)

    def request_stop(self, leave: bool = False) -> None:
        """Ask the owner of the node to close it; `leave`: withdraw from the group first."""
        self._leave_on_stop = self._leave_on_stop or leave
        self.stop_asked.set()
        self._listeners.end()

    async def finish(self) -> None:
        """Before closing: save, and leave the group when that was asked for."""
        self._listeners.end()
        self._current_group.own_phase = "stopping"
        with trio.move_on_after(FINISH_MOVE_SECONDS):
            await self._moves.wait_over()  # or it has been given up
        membership = self._current_group.membership
        if membership is None:
            return
        if self._leave_on_stop:
            charter = membership.session.charter
            await membership.leave()
            await self._saver.forget(charter.group_id)
            text = f"left group {charter.name} for good"
            self._log.tell("info", "left", text, {"for_good": True})
        else:
            await self._saver.save(membership.saved(), membership.session.model())
        await self._course.save()
        await self._saver.remember(self._links.discovery.remembered())

    # --- what others ask of it --------------------------------------------------------------------

    def snapshot(self) -> NodeSnapshot:
        """Everything a viewer needs, now."""
        return self._views.node()

    def clocks(self) -> dict[PeerId, float]:
        """Peer -> seconds by which its clock is ahead of this node's, as far as what it signed
        tells. A claim: it is for people, and decides nothing."""
        return self._views.clocks()

    def events(self, kept: int = KEPT_EVENTS) -> EventStream:
        """What the node tells from now on, for `async for event in node.events()`.

        Any number of listeners, each with a stream of its own. The node waits for none of them: of
        what one has not taken, the newest `kept` events stay, and one event `events-missed` says
        how many do not (`data["missed"]`). The stream ends when the node is closed or asked to
        stop; what comes of closing is told to `on_event` only. ValueError: `kept` < 1.
        """
        return EventStream(self._listeners, kept)

    def listen(self, listener: Listener) -> None:
        """Tell `listener` of everything from now on, for as long as it is held by somebody."""
        self._listeners.add(listener)

    async def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        return await self._views.groups()

    def tell(
        self,
        level: Literal["debug", "info", "warning", "error"],
        kind: str,
        message: str,
        data: dict[str, Any],
    ) -> None:
        """Tell the owner what has happened around the node, as it tells of itself."""
        self._log.tell(level, kind, message, data)

    def known_groups(self) -> tuple[GroupView, ...]:
        """The groups that this node knows of by now; nobody is asked."""
        return self._views.known_groups()

    @property
    def course(self) -> Course:
        """How the node has fared over its whole life."""
        return self._course.course

    async def try_group(self, reference: str) -> GroupView:
        """Measure now what another group's model is worth to this node's own data, as it does by
        itself now and then; nothing else changes. `gain` of the answer has it.

        GroupError when the group is unknown, ambiguous, unfit for this node's data, or gives
        nothing to judge.
        """
        return await self._moves.try_group(reference)

    def recommend(self, user: str, top: int, wishes: Wishes = NO_WISHES) -> Recommendations:
        """The `top` best items for `user` by the group's model as it is now; GroupError while the
        node is in no group or when its group has no songs, DataError when nothing can be
        recommended."""
        return self.songs().recommend(user, top, wishes)

    def similar(self, song: str, top: int) -> SimilarSongs:
        """The `top` songs most like `song` (an id, a title, or artist and title) by the group's
        model as it is now. UsageError: no song, or several, are called so. GroupError: the group
        has learned nothing of it, or has no songs."""
        return self.songs().similar(song, top)

    def songs(self) -> SongsNow:
        """Answers about songs by the group's model as it is now, which may then be asked for in
        another thread; GroupError while the node is in no group."""
        return self._views.songs()

    async def switch(self, reference: str, pin: bool = False) -> GroupView:
        """Leave the current group for another, named by name or the beginning of its id; `pin`: and
        stay there. Naming the present group pins the node to it, or frees it.

        GroupError when it is unknown, ambiguous, unfit for this node's data, or gives no snapshot;
        the node then stays where it was.
        """
        return await self._moves.switch(reference, pin)

    async def found_group(self, name: str, pin: bool = False) -> GroupView:
        """Found a group of this name, with this node as its first member, and leave the current
        one. GroupError when there is such a group already."""
        return await self._moves.found(name, pin)
