"""Looking at other groups and moving to one, driven by trio.

What is asked of whom, how long it is waited for and which step of a move follows which is decided
by the state machines in `openfl.switching` (`Look`, `FirstLook`, `SnapshotFetch`, `Move`). Here is
what they order: dialling, requests, comparisons where they hold up no round of training, files.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import trio

from openfl.core.contribution import Charter, GroupId, PeerId
from openfl.core.errors import GroupError, RemoteError, RequestFailed, StateError, UserError
from openfl.discovery.discovery import Discovery
from openfl.learning.alone import AloneByFolds
from openfl.learning.comparison import Comparison, compare_held_out
from openfl.learning.group_comparison import compare_groups
from openfl.learning.task import LearningTask
from openfl.learning.workload import Workload, charter_difference
from openfl.network.base import Network, PeerAddress
from openfl.node.compute import Compute
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.fault_points import FaultPoints
from openfl.node.group_finder import GroupFinder
from openfl.node.membership import Membership
from openfl.node.membership_factory import MembershipFactory
from openfl.node.node_tasks import NodeTasks
from openfl.node.pending_leaves import PendingLeaves
from openfl.node.state_saver import StateSaver
from openfl.storage.base import OwedLeave, Standing
from openfl.switching import events as ev
from openfl.switching.directory import Directory
from openfl.switching.look import FirstLook, Look, LookMemory
from openfl.switching.move import Move
from openfl.switching.policy import Candidate, LookOrder
from openfl.switching.seed import MoveOrder
from openfl.switching.standpoint import Standpoint
from openfl.wire import messages as wire

log = logging.getLogger(__name__)

R = TypeVar("R")
FetchEnd = ev.Fetched | ev.NotFetched


class _Machine(Protocol):
    """`Look`, `FirstLook`, or a `SnapshotFetch` by itself."""

    next_wake: float

    def start(self, now: float) -> Sequence[ev.LookEffect]: ...

    def handle(self, event: ev.LookEvent, now: float) -> Sequence[ev.LookEffect]: ...


class HasStanding(Protocol):
    """Whoever knows how the node stands with other groups: its `Switcher`."""

    def standing(self) -> Standing:
        """As of now."""
        ...

    def arrived(self, order: MoveOrder) -> None:
        """The node is in another group now."""
        ...


class LookDriver:
    """Runs looks and fetches. rng: what training alone draws from."""

    def __init__(
        self,
        network: Network,
        discovery: Discovery,
        directory: Directory,
        memory: LookMemory,
        workload: Workload,
        compute: Compute,
        rng: np.random.Generator,
    ) -> None:
        self._network = network
        self._discovery = discovery
        self._directory = directory
        self._memory = memory
        self._workload = workload
        self._compute = compute
        self._rng = rng
        self._task: LearningTask | None = None
        self._alone: AloneByFolds | None = None

    def candidates(self, here: GroupId) -> tuple[Candidate, ...]:
        """Groups that this node could join, as their cards tell."""
        return self._memory.candidates(here, trio.current_time())

    def judged(self, opinions: Mapping[PeerId, float]) -> None:
        """What members of the own group are found to do to this node's data, as z."""
        self._memory.acquaintances.judged(opinions)

    async def look(self, here: Standpoint, order: LookOrder) -> ev.LookResult:
        """What the groups of `order` are worth to this node, against the group it is in."""
        result = await self._run(Look(self._memory, here, order), ev.LookResult)
        for group in order.groups:
            if group.group_id in result.gave_nothing:
                log.debug(
                    "no look at group %s: %s", group.name, result.gave_nothing[group.group_id]
                )
        return result

    async def first_look(self, groups: Sequence[Candidate]) -> tuple[ev.Served, ...]:
        """What those of `groups` that answer serve, the one of most contributions first: for a node
        that is in no group yet."""
        result = await self._run(FirstLook(self._memory, groups), ev.FirstLookResult)
        return result.served

    async def fetch(self, charter: Charter) -> FetchEnd:
        """The group's snapshot from one of its members, with what earlier looks have brought."""
        return await self._run(self._memory.fetch(charter), ev.Fetched, ev.NotFetched)

    # --- inside -----------------------------------------------------------------------------------

    async def _run(self, machine: _Machine, *ends: type[R]) -> R:
        """Carry out what the machine orders until it ends, with an effect of these types."""
        report, reported = trio.open_memory_channel[ev.LookEvent](float("inf"))

        async def carry_out(effect: ev.LookEffect) -> None:
            await report.send(await self._carried_out(effect))

        async with trio.open_nursery() as nursery:
            effects = machine.start(trio.current_time())
            while True:
                for effect in effects:
                    if isinstance(effect, ends):
                        nursery.cancel_scope.cancel()
                        return effect
                    if isinstance(effect, ev.Penalize):
                        self._network.penalize(effect.peer, effect.reason)
                    else:
                        nursery.start_soon(carry_out, effect)
                event: ev.LookEvent = ev.TimerFired()
                with trio.move_on_at(machine.next_wake):
                    event = await reported.receive()
                effects = machine.handle(event, trio.current_time())

    async def _carried_out(self, effect: ev.LookEffect) -> ev.LookEvent:
        """The event that reports it."""
        match effect:
            case ev.FindMembers():
                members: tuple[PeerAddress, ...] = ()
                with trio.move_on_at(effect.deadline):
                    members = await self._members(effect.group_id, effect.source)
                return ev.MembersFound(effect.group_id, members)
            case ev.Connect():
                return ev.ConnectEnded(effect.group_id, await self._connected(effect))
            case ev.RequestSnapshot():
                return await self._answer(effect)
            case ev.Compare():
                comparison = await self._compute.run(lambda: self._compared(effect))
                return ev.Compared(effect.there.group_id, comparison)
            case ev.CompareAlone():
                return ev.AloneCompared(await self._compute.run(lambda: self._alone_found(effect)))
            case ev.CompareCircle():
                return ev.CircleCompared(
                    await self._compute.run(
                        lambda: compare_held_out(
                            self._task_of(effect.here), effect.others, effect.circle
                        )
                    )
                )
        raise ValueError(f"{type(effect).__name__} is not reported")

    async def _members(self, group_id: GroupId, source: ev.Source) -> tuple[PeerAddress, ...]:
        if source == "looked up":
            return await self._discovery.find_members(group_id)
        await trio.lowlevel.checkpoint()
        connected_issuers = self._discovery.members(None) & set(self._directory.issuers(group_id))
        return tuple(map(PeerAddress, self._discovery.members(group_id) | connected_issuers))

    async def _connected(self, effect: ev.Connect) -> bool:
        with trio.move_on_at(effect.deadline):
            try:
                await self._network.connect(effect.member)
            except RequestFailed:
                return False
            return True
        return False

    async def _answer(self, effect: ev.RequestSnapshot) -> ev.LookEvent:
        with trio.move_on_at(effect.deadline):
            try:
                payload = await self._network.request(
                    effect.peer,
                    effect.protocol,
                    effect.payload,
                    wire.LIMITS.max_answer_bytes,
                )
            except RemoteError as error:
                return ev.NotAnswered(effect.group_id, str(error))
            return ev.Answered(effect.group_id, payload)
        return ev.NotAnswered(effect.group_id, "no answer in time")

    def _compared(self, effect: ev.Compare) -> Comparison | None:
        task, other = self._task_of(effect.here), None
        if charter_difference(effect.here, effect.there) is not None:
            other = self._workload.task(effect.there)
        alone = partial(self._alone_of, effect.here)
        return compare_groups(task, effect.others, effect.model, other, alone)

    def _alone_found(self, effect: ev.CompareAlone) -> Comparison | None:
        found = self._alone_of(effect.here).gain_of(effect.others)
        return None if found is None else found.turned

    def _alone_of(self, here: Charter) -> AloneByFolds:
        task = self._task_of(here)
        if self._alone is None or self._alone.task is not task:
            self._alone = AloneByFolds(task, self._rng)
        return self._alone

    def _task_of(self, here: Charter) -> LearningTask:
        """One of its own: that of the membership is busy with training."""
        if self._task is None or charter_difference(self._task.charter, here) is not None:
            self._task = self._workload.task(here)
        return self._task


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveDriver:
    """Carries out moves."""

    current_group: CurrentGroup
    factory: MembershipFactory
    looks: LookDriver
    finder: GroupFinder
    saver: StateSaver
    pending_leaves: PendingLeaves
    tasks: NodeTasks
    standing: HasStanding
    faults: FaultPoints
    log: EventLog

    async def carry_out(self, order: MoveOrder) -> None:
        """One at a time. A UserError (GroupError, StateError, ConfigError): nothing has changed."""
        old = self.current_group.current
        old_id = old.session.charter.group_id
        move = Move(order, old_id, old, self.factory.settings.limits)
        effects = move.start()
        while effects:
            *before, last = effects
            for effect in before:
                await self._perform(effect)
            event = await self._reported(last)
            effects = [] if event is None else move.handle(event)

    async def _reported(self, effect: ev.MoveEffect[Membership]) -> ev.MoveEvent[Membership] | None:
        """The event that reports the effect; None: it was the last of all."""
        match effect:
            case ev.FetchSeed():
                return await self.looks.fetch(effect.charter)
            case ev.Open():
                return await self._open(effect)
            case ev.SaveMembership():
                return await self._written(self._save(effect.membership))
            case ev.Commit():
                return await self._written(self._commit(effect.order))
            case ev.NotMoved():
                raise effect.error
            case ev.Moved():
                self._tell(effect)
                return None
        raise TypeError(f"{type(effect).__name__} is not the last of its list")

    async def _perform(self, effect: ev.MoveEffect[Membership]) -> None:
        match effect:
            case ev.Reached():
                self.faults.reach(effect.point)
            case ev.OweLeave():
                session = effect.membership.session
                self.saver.owe(OwedLeave(session.charter.group_id, session.farewell()))
            case ev.SettleLeave():
                self.saver.settle(effect.group_id)
            case ev.Enter():
                self.current_group.enter(effect.membership)
                self.standing.arrived(effect.order)
            case ev.TakePart():
                await self.tasks.take_part(effect.membership)
            case ev.Leave():
                await effect.membership.leave()
            case ev.End():
                await effect.membership.end()
            case ev.Forget():
                self.finder.forget_group(effect.group_id)
                with contextlib.suppress(StateError):
                    await self.saver.forget(effect.group_id)
            case ev.SaveStanding():
                await self.saver.save_standing_if_possible()
            case _:
                raise TypeError(f"{type(effect).__name__} must be the last of its list")

    async def _open(self, effect: ev.Open) -> ev.Opened[Membership] | ev.NotOpened:
        if self.current_group.stopping:
            return ev.NotOpened(GroupError("this node is stopping: it stays in its group"))
        await self.pending_leaves.fall_silent(effect.charter.group_id)
        old = self.current_group.current.session
        try:
            return ev.Opened(self.factory.next(effect.charter, old, effect.seed))
        except UserError as error:
            return ev.NotOpened(error)

    async def _written(self, writing: Awaitable[None]) -> ev.Written | ev.NotWritten:
        try:
            await writing
        except StateError as error:
            return ev.NotWritten(error)
        return ev.Written()

    async def _save(self, new: Membership) -> None:
        await self.saver.write(new.saved(), new.session.model())

    async def _commit(self, order: MoveOrder) -> None:
        moves = self.standing.standing().moves + order.by_itself
        await self.saver.save_standing(order.charter, moves=moves, rounds_here=0, pinned=order.pin)

    def _tell(self, moved: ev.Moved[Membership]) -> None:
        order = moved.order
        data = {
            "from": moved.left,
            "to": order.charter.group_id,
            "group": order.charter.name,
            "by_itself": order.by_itself,
            "action": order.action,
        }
        self.log.tell("info", "switched", order.text, data)
        self.finder.changed()
        if not self.current_group.stopping:
            self.tasks.compare(moved.membership)
