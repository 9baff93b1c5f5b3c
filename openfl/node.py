"""`Node`: one peer, driven by trio: network, discovery, directory, and one membership at a time.

Task tree: a node's nursery holds the group finder, the switcher, the keeper of remembered peers,
and a scope for the current membership.

A move to another group is one transaction (`_change_group`). First the new group's snapshot is
fetched, from outside: whatever fails until then leaves the node where it was, and the new group
never hears of it. Then one file on disk is replaced: before, the node is a member of the old group;
after, of the new one, and it owes the old group a `Leave`. Only then is the new group joined and
the old one left. A node that ends in between goes on from whichever of the two that file names, and
says what it owes.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import trio

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.compute import Compute, ThreadCompute
from openfl.contribution import Charter, GroupCard, GroupId, ModelView, PeerId
from openfl.errors import ConfigError, GroupError, NetworkError, StateError
from openfl.farewell import RETRY_SECONDS, say_leave
from openfl.fault_points import FaultPoints
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.directory import KnownCard
from openfl.group.probe import Probes, ProbeSettings
from openfl.group.selection import Candidate
from openfl.group.session import GroupSession
from openfl.group_finder import GroupFinder
from openfl.learning.central import SoloResult, train_alone
from openfl.learning.recommend import Recommendations
from openfl.learning.task import PrivateLearner
from openfl.membership import Membership
from openfl.membership_state import SavedMembership
from openfl.network.base import Network, PeerAddress, Sealer
from openfl.network.discovery import Discovery
from openfl.node_parts import (
    NodeSettings,
    NodeStorage,
    OwedLeave,
    Standing,
    group_view,
    metric_value,
    no_answer,
)
from openfl.node_views import own_card, peer_views
from openfl.privacy import PrivacyBudget, no_private_step
from openfl.scout import Scout
from openfl.switcher import Switcher, founded_name
from openfl.telemetry import GroupView, NodeEvent, NodeSnapshot, Phase
from openfl.wire import messages as wire
from openfl.wire.charters import charter_problem
from openfl.workload import Workload, charter_difference

REMEMBER_SECONDS = 5.0
FIND_GROUP_SECONDS = 4.0
MAX_EVENTS = 50
FINISH_MOVE_SECONDS = 2.0
"""How long stopping waits for a move under way."""
MAX_OWED = 8
"""Leaves kept to be said; more is a node that crashes at every move."""


class Node:
    """See the module's text. Make one with `openfl.runtime.open_node`, or from its parts."""

    def __init__(
        self,
        network: Network,
        sealer: Sealer,
        discovery: Discovery,
        workload: Workload,
        storage: NodeStorage,
        settings: NodeSettings,
        rng: np.random.Generator,
        on_event: Callable[[NodeEvent], None],
        *,
        compute: Compute | None = None,
        unix_time: Callable[[], float] = time.time,
        resume: SavedMembership | None = None,
        standing: Standing | None = None,
        bootstrap_given: bool = False,
        peers_remembered: bool = False,
        privacy: PrivacyBudget | None = None,
        faults: FaultPoints | None = None,
    ) -> None:
        self.network = network
        self.stop_asked = trio.Event()
        self._sealer = sealer
        self._discovery = discovery
        self._workload = workload
        self._storage = storage
        self._settings = settings
        self._rng = rng
        self._on_event = on_event
        self._compute = compute if compute is not None else ThreadCompute()
        # A thread of its own, so that the comparison holds up no round.
        self._comparison_compute = compute if compute is not None else ThreadCompute()
        self._unix_time = unix_time
        self._resume = resume
        self._bootstrap_given = bootstrap_given
        self._peers_remembered = peers_remembered
        self._privacy = privacy
        self._started_at = unix_time()
        self._events: deque[NodeEvent] = deque(maxlen=MAX_EVENTS)
        self._phase: Literal["starting", "joining", "stopping"] | None = "starting"
        self._membership: Membership | None = None
        self._moved = trio.Event()
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._switching = trio.Lock()
        self._leave_on_stop = False
        self._alone: SoloResult | None = None
        self._save_failed = False
        self._known_peers: frozenset[PeerId] = frozenset()
        self._finder = GroupFinder(network, sealer, rng, unix_time, self._own_card)
        self._faults = faults if faults is not None else FaultPoints()
        # Spawned: what they draw changes nothing of what the rounds draw.
        scout_rng, switcher_rng = rng.spawn(2)
        self._scout = Scout(
            network,
            discovery,
            self._finder.directory,
            workload,
            self._comparison_compute,
            Probes(
                sealer,
                ProbeSettings(
                    max_bytes=settings.scout.bytes_per_group,
                    max_kept=settings.selection.max_candidates,
                    limits=settings.session.limits,
                ),
                admission=self._admission,
            ),
            self._problem,
            scout_rng,
            settings.scout,
        )
        standing = standing if standing is not None else Standing()
        if settings.pin is not None:
            standing = replace(standing, pinned=settings.pin)
        if resume is None:
            standing = replace(standing, rounds_here=0)
        self._owed = {owed.group_id: owed for owed in standing.owed[-MAX_OWED:]}
        self._saying: dict[GroupId, tuple[trio.CancelScope, trio.Event]] = {}
        self._keeping = trio.Lock()
        """Held while what is kept of this node's place changes on disk."""
        self._switcher = Switcher(
            self,
            self._scout,
            settings.selection,
            switcher_rng,
            unix_time,
            self._tell,
            standing,
        )
        for protocol in (wire.SNAPSHOT_PROTOCOL, wire.PULL_PROTOCOL):
            network.set_handler(protocol, self._answerer(protocol), wire.LIMITS.max_request_bytes)

    # --- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Join and take part until cancelled; the network must be open. Started once subscribed to
        a group. NetworkError when none of the given bootstrap addresses answers and no other peer
        is known; GroupError when the group cannot be joined with this node's data."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._tell(
                "info",
                "listening",
                f"listening on {', '.join(self.network.multiaddrs)}",
                {"multiaddrs": list(self.network.multiaddrs), "peer_id": self.network.peer_id},
            )
            nursery.start_soon(self._finder.run)
            self._phase = "joining"
            await self._join_network()
            membership = self._open_membership(await self._choose_charter(), self._resume)
            self._enter(membership)
            await self._keep_place(membership.session.charter)
            await self._storage.tidy()
            self._phase = None
            await nursery.start(self._run_membership, membership, self._scope)
            nursery.start_soon(self._keep_remembered)
            nursery.start_soon(self._watch_peers)
            nursery.start_soon(self._train_alone, membership)
            nursery.start_soon(self._switcher.run)
            for owed in list(self._owed.values()):
                nursery.start_soon(self._say_owed, owed)
            task_status.started()
            await trio.sleep_forever()

    async def wait_done(self) -> None:
        """Return once all rounds are done, or the node was asked to stop."""
        while not self.stop_asked.is_set():
            moved, membership = self._moved, self._membership
            events = [moved, self.stop_asked]
            if membership is not None:
                events.append(membership.rounds_done)
            await _wait_for_any(events)
            if membership is not None and membership.rounds_done.is_set() and not moved.is_set():
                return

    def request_stop(self, leave: bool = False) -> None:
        """Ask the owner of the node to close it; `leave`: withdraw from the group first."""
        self._leave_on_stop = self._leave_on_stop or leave
        self.stop_asked.set()

    async def finish(self) -> None:
        """Before closing: save, and leave the group when that was asked for."""
        self._phase = "stopping"
        with trio.move_on_after(FINISH_MOVE_SECONDS):
            async with self._switching:
                pass  # a move under way is over, or has been given up
        membership = self._membership
        if membership is None:
            return
        if self._leave_on_stop:
            await membership.leave()
            await self._storage.forget(membership.session.charter.group_id)
            self._tell("info", "left", f"left group {membership.session.charter.name} for good")
        else:
            await self._save(membership.saved(), membership.session.model())
        await self._remember(self._discovery.remembered())

    # --- what others ask of it --------------------------------------------------------------------

    def snapshot(self) -> NodeSnapshot:
        """Everything a viewer needs, now."""
        now = trio.current_time()
        membership = self._membership
        statistics = self.network.statistics()
        faults = {**statistics.faults, **self._finder.faults}
        group_id, group_name, task, metric = GroupId(""), self._settings.group_name, "", ""
        session = None if membership is None else membership.session
        if session is not None:
            group_id, group_name = session.charter.group_id, session.charter.name
            task = session.charter.task
            metric = session.validation.metric if session.validation is not None else ""
            for name, count in session.faults.items():
                faults[name] = faults.get(name, 0) + count
        return NodeSnapshot(
            time=self._unix_time(),
            started_at=self._started_at,
            phase=self._current_phase(),
            peer_id=self.network.peer_id,
            multiaddrs=self.network.multiaddrs,
            home=self._settings.home,
            group_id=group_id,
            group_name=group_name,
            task=task,
            metric=metric,
            peers=peer_views(self.network.peers(), self._finder.directory.freshest(now), session),
            members=() if session is None else session.members(now),
            round=0 if session is None else session.round,
            rounds=self._settings.session.rounds if session is None else session.last_round,
            train_examples=0 if membership is None else membership.task.train_examples,
            model_rows=0 if session is None else session.replica.model_rows,
            validation=None if session is None else metric_value(session.validation),
            alone=None if self._alone is None else metric_value(self._alone.validation),
            test=None if membership is None else metric_value(membership.test),
            alone_test=None if self._alone is None else metric_value(self._alone.test),
            history=() if session is None else tuple(session.history),
            bytes_sent=statistics.bytes_sent,
            bytes_received=statistics.bytes_received,
            published_bytes=0 if session is None else session.published_bytes,
            deltas_merged=0 if session is None else session.deltas_merged,
            faults=faults,
            events=tuple(self._events),
            privacy=None if self._privacy is None else self._privacy.view,
            switching=self._switcher.view(),
        )

    async def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        await self._finder.ask()
        return tuple(self._group_view(known) for known in self._finder.known())

    def recommend(self, user: str, top: int) -> Recommendations:
        """The best items for `user` by the group's model as it is now."""
        session = self._current.session
        return self._workload.recommend(session.model(), session.charter, user, top)

    async def switch(self, reference: str, pin: bool = False) -> GroupView:
        """Leave the current group for another, named by name or the beginning of its id; `pin`: and
        stay there. Naming the present group pins the node to it, or frees it.

        GroupError when it is unknown, ambiguous, unfit for this node's data, or gives no snapshot;
        the node then stays where it was.
        """
        async with self._switching:
            known = await self._find_group(reference)
            charter, old = known.card.charter, self._current.session.charter
            if charter.group_id == old.group_id:
                if not pin and not self._switcher.view().pinned:
                    raise GroupError(f"this node is in group {charter.name} already")
                await self._pin(charter, pin)
                return self._group_view(known)
            problem = self._problem(charter)
            if problem is not None:
                raise GroupError(f"group {charter.name} does not fit this node: {problem}")
            text = f"switched from group {old.name} to {charter.name}"
            await self._change_group(charter, "switch", text, pin=pin)
            return self._group_view(known)

    async def found_group(self, name: str, pin: bool = False) -> GroupView:
        """Found a group of this name, with this node as its first member, and leave the current
        one. GroupError when there is such a group already."""
        async with self._switching:
            charter, old = self._workload.found(name), self._current.session.charter
            wrong = charter_problem(charter)
            if wrong is not None:
                raise GroupError(f"no group can be called {name!r}: {wrong}")
            await self._finder.ask()
            ids = {k.card.charter.group_id for k in self._finder.known()}
            if charter.group_id in ids:
                raise GroupError(f"there is a group {name} already (try: openfl-node switch)")
            text = f"founded group {name}, left {old.name}"
            await self._change_group(charter, "found", text, pin=pin)
            (known,) = self._finder.find(charter.group_id)
            return self._group_view(known)

    # --- what its switcher asks of it -------------------------------------------------------------

    def place(self) -> Membership | None:
        """Where the node is."""
        return self._membership

    def alone_model(self) -> ModelView | None:
        """What it learned without any group."""
        return None if self._alone is None else self._alone.model

    async def move(self, target: Candidate, why: str) -> None:
        """By the switcher's decision; GroupError or StateError: it stays where it was."""
        async with self._switching:
            (known,) = self._finder.find(target.group_id) or (None,)
            if known is None:
                raise GroupError(f"group {target.name} is not known any more")
            old = self._current.session.charter.name
            text = f"moved from {old} to {target.name}: {why}"
            await self._change_group(known.card.charter, "move", text, by_itself=True)

    async def found(self, why: str) -> None:
        """By the switcher's decision; StateError: it stays where it was."""
        async with self._switching:
            old = self._current.session.charter.name
            charter = self._workload.found(founded_name(old))
            text = f"founded {charter.name}, left {old}: {why}"
            await self._change_group(charter, "found", text, by_itself=True)

    # --- joining ----------------------------------------------------------------------------------

    async def _join_network(self) -> None:
        outcomes = await self._discovery.join()
        for outcome in outcomes:
            if outcome.ok:
                self._tell("info", "dialled", f"connected to {outcome.address}")
            else:
                self._tell("warning", "unreachable", outcome.reason)
        if any(outcome.ok for outcome in outcomes) or not outcomes:
            return
        if self._bootstrap_given and not self._peers_remembered:
            raise NetworkError(no_answer(outcomes))

    async def _choose_charter(self) -> Charter:
        """The group to be in: the saved one, one of the wanted name that fits, or a new one."""
        if self._resume is not None:
            charter = self._resume.charter
            uninvited = self._admission(charter, self._resume.invitations).problem()
            if uninvited is not None:
                raise GroupError(f"cannot go on in group {charter.name}: {uninvited}")
            return charter
        name = self._settings.group_name
        own = self._workload.found(name)
        if self._settings.closed:
            own = replace(own, founder=self._sealer.peer_id)
        if self.network.peers():
            with trio.move_on_after(FIND_GROUP_SECONDS):
                await self._finder.ask()
        if self._settings.any_group and self._settings.selection.enabled:
            fitting = self._scout.candidates(GroupId(""))
            largest = max(fitting, key=lambda c: (c.members, c.name == name), default=None)
            if largest is not None:
                (known,) = self._finder.find(largest.group_id)
                return known.card.charter
        found = [k for k in self._finder.find(name) if k.card.charter.name == name]
        if not found or any(k.card.charter.group_id == own.group_id for k in found):
            return own
        problems = []
        if self._settings.closed:
            found = [k for k in found if k.card.charter.founder is not None]
        # Whoever has an invitation means that group.
        found.sort(key=lambda k: (k.card.charter.founder is None, -k.card.members))
        for known in found:
            problem = self._problem(known.card.charter)
            if problem is None:
                return known.card.charter
            problems.append(f"{known.card.charter.group_id[:8]}: {problem}")
        if self._settings.closed:
            return own
        raise GroupError(
            f"group {name} exists, but this node cannot join it ({'; '.join(problems)});"
            " give this node another group with --group"
        )

    def _open_membership(
        self,
        charter: Charter,
        resume: SavedMembership | None,
        after: GroupSession | None = None,
        seeded: tuple[Replica, ev.SnapshotGiven, tuple[bytes, ...]] | None = None,
    ) -> Membership:
        """`after`: the session in the group that this one takes the place of; `seeded`: a replica
        that holds what members of the new group serve."""
        limits: ReplicaLimits = self._settings.session.limits
        epoch = max(1, int(self._unix_time() * 1000))
        replica, round_number, history = Replica(charter, limits), 0, tuple[float, ...]()
        last_round: int | None = None
        if after is not None:
            round_number, history = after.round, tuple(after.history)
            # Whoever is done and is moved by its owner is to learn again.
            last_round = None if after.phase == "done" else after.last_round
        if seeded is not None:
            replica = seeded[0]
            epoch = max(epoch, replica.version_of(self.network.peer_id).epoch + 1)
        if resume is not None and resume.charter.group_id == charter.group_id:
            replica, refused = resume.rebuild(self._sealer, limits, trio.current_time())
            round_number, history = resume.round, resume.history
            epoch = max(epoch, resume.epoch + 1)
            self._tell(
                "info",
                "resumed",
                f"resumed group {charter.name} at round {round_number}"
                f" with {replica.member_count} members' contributions",
            )
            if refused:
                self._tell("warning", "state-refused", f"{refused} saved contributions are invalid")
        task = self._workload.task(charter)
        if self._privacy is not None and not isinstance(task, PrivateLearner):
            raise ConfigError(no_private_step(charter.task))
        remembered = resume.invitations if resume is not None else ()
        if seeded is not None:
            remembered = seeded[2]
        session = GroupSession(
            replica,
            self._sealer,
            self._settings.session,
            self._rng,
            epoch,
            train_examples=task.train_examples,
            round_number=round_number,
            last_round=last_round,
            history=history,
            admission=self._admission(charter, remembered),
        )
        group_id = charter.group_id
        membership = Membership(
            session,
            task,
            self.network,
            self._compute,
            np.random.default_rng(int(self._rng.integers(1 << 63))),
            reachable=lambda: self._discovery.members(group_id),
            tell=self._on_tell,
            save=self._save,
            privacy=self._privacy,
            snapshot=None if seeded is None else seeded[1],
        )
        if resume is not None and resume.private and not membership.restore_private(resume.private):
            self._tell("info", "data-changed", "the data has changed since the last run")
        return membership

    def _admission(self, charter: Charter, remembered: tuple[bytes, ...] = ()) -> Admission:
        known = (*remembered, *self._settings.invitations)
        return Admission(charter, self._sealer, self._unix_time, known)

    def _problem(self, charter: Charter) -> str | None:
        """Why this node cannot join a group of that charter; None when it can."""
        return self._workload.problem(charter) or self._admission(charter).problem()

    async def _run_membership(
        self,
        membership: Membership,
        scope: trio.CancelScope,
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            with scope:
                await membership.run(self._discovery.run, task_status=task_status)
        finally:
            membership.ended.set()

    # --- moving -----------------------------------------------------------------------------------

    async def _find_group(self, reference: str) -> KnownCard:
        found = self._finder.find(reference)
        if not found:
            await self._finder.ask()
            found = self._finder.find(reference)
        if not found:
            raise GroupError(
                f"no group {reference!r} is known; openfl-node groups lists those that are"
            )
        if len(found) > 1:
            ids = ", ".join(k.card.charter.group_id for k in found)
            raise GroupError(f"{reference!r} may be any of these groups, name one by id: {ids}")
        return found[0]

    async def _change_group(
        self,
        charter: Charter,
        action: Literal["switch", "move", "found"],
        text: str,
        *,
        by_itself: bool = False,
        pin: bool = False,
    ) -> None:
        """The transaction of the module's text; the lock for switching is held. `text` tells the
        owner once it is done. GroupError or StateError: nothing has changed."""
        assert self._nursery is not None
        old, group_id = self._current, charter.group_id
        old_id = old.session.charter.group_id
        self._faults.reach("move-decided")
        seeded = await self._seed(charter, action == "found")
        self._faults.reach("move-fetched")
        if self._stopping:
            raise GroupError("this node is stopping: it stays in its group")
        if group_id in self._saying:
            saying, silent = self._saying.pop(group_id)
            saying.cancel()
            await silent.wait()
        new = self._open_membership(charter, None, old.session, seeded)
        self._owed[old_id] = OwedLeave(old_id, old.session.farewell())
        moves = self._switcher.standing().moves + by_itself
        try:
            await self._storage.save(new.saved(), new.session.model())
            self._faults.reach("move-saved")
            await self._keep_place(charter, moves=moves, rounds_here=0, pinned=pin)
        except StateError:
            del self._owed[old_id]
            with contextlib.suppress(StateError):
                await self._storage.forget(group_id)
            raise
        # From here on the new group is the one membership, whatever happens.
        self._faults.reach("move-committed")
        self._owed.pop(group_id, None)  # this membership's epoch is above that of any earlier one
        self._enter(new)
        self._switcher.arrived(action, text, pin, by_itself)
        old_scope, self._scope = self._scope, trio.CancelScope()
        await self._nursery.start(self._run_membership, new, self._scope)
        self._faults.reach("move-subscribed")
        await old.leave()
        self._faults.reach("move-left")
        old_scope.cancel()
        await old.ended.wait()
        self._faults.reach("move-unsubscribed")
        self._finder.forget_group(old_id)
        await self._storage.forget(old_id)
        self._faults.reach("move-forgotten")
        del self._owed[old_id]
        await self._keep_place_if_possible()
        self._faults.reach("move-finished")
        data = {"from": old_id, "to": group_id, "group": charter.name, "by_itself": by_itself}
        self._tell("info", "switched", text, data)
        self._finder.changed()
        if not self._stopping:
            self._nursery.start_soon(self._train_alone, new)

    async def _seed(
        self, charter: Charter, found: bool
    ) -> tuple[Replica, ev.SnapshotGiven, tuple[bytes, ...]]:
        """What the new membership begins with: a replica, whose it is, invitations."""
        if found:
            replica = Replica(charter, self._settings.session.limits)
            return replica, ev.SnapshotGiven(None), ()
        fetched = await self._scout.fetch(charter)
        if fetched.probe is None:
            raise GroupError(
                f"no member of group {charter.name} answers ({fetched.reason}):"
                " staying in the old group"
            )
        self._scout.joined(charter.group_id)
        given = ev.SnapshotGiven(fetched.peer)
        return fetched.probe.replica, given, fetched.probe.admission.all()

    async def _pin(self, charter: Charter, pin: bool) -> None:
        await self._keep_place(charter, pinned=pin)
        self._switcher.pin(pin)
        done = "pinned to" if pin else "free to leave"
        self._switcher.note("switch", f"{done} {charter.name}, by hand")
        self._tell("info", "pinned", f"this node is {done} group {charter.name}", {"pinned": pin})

    async def _keep_place(self, charter: Charter, **changes: Any) -> None:
        """Keep on disk where this node is, and how it stands; StateError."""
        async with self._keeping:
            standing = replace(self._switcher.standing(), owed=tuple(self._owed.values()))
            await self._storage.set_current(charter, replace(standing, **changes))

    async def _keep_place_if_possible(self) -> None:
        try:
            async with self._keeping:
                standing = replace(self._switcher.standing(), owed=tuple(self._owed.values()))
                await self._storage.set_current(self._current.session.charter, standing)
        except StateError as error:
            self._not_saved(error)

    async def _say_owed(self, owed: OwedLeave) -> None:
        """Give out a leave that a crash kept back, unless the node goes back there meanwhile."""
        saying = self._saying[owed.group_id] = (trio.CancelScope(), trio.Event())
        try:
            with saying[0]:
                await self._say_until_heard(owed)
        finally:
            saying[1].set()

    async def _say_until_heard(self, owed: OwedLeave) -> None:
        while self._owed.get(owed.group_id) == owed:
            if owed.group_id == self._current.session.charter.group_id:
                break  # in it again, in a later epoch
            if await say_leave(self.network, self._discovery, owed):
                self._tell("info", "left", f"told group {owed.group_id[:8]} that this node left it")
                break
            await trio.sleep(RETRY_SECONDS)
        if self._owed.get(owed.group_id) == owed:
            del self._owed[owed.group_id]
            await self._keep_place_if_possible()

    def _enter(self, membership: Membership) -> None:
        self._membership = membership
        self._moved.set()
        self._moved = trio.Event()

    # --- background -------------------------------------------------------------------------------

    async def _train_alone(self, membership: Membership) -> None:
        """The comparison: the same task, the same data, nobody else."""
        if not self._settings.alone_rounds:
            return
        charter = membership.session.charter
        known = None if self._alone is None else self._alone.model.charter
        if known is not None and charter_difference(known, charter) is None:
            return  # the group's name makes no difference
        self._alone = None
        task = self._workload.task(charter)
        rng = np.random.default_rng(int(self._rng.integers(1 << 63)))
        rounds = self._settings.alone_rounds
        result = await self._comparison_compute.run(
            lambda: train_alone(task, rng, max_rounds=rounds)
        )
        if membership is self._membership:
            self._alone = result

    async def _save(self, saved: SavedMembership, model: ModelView) -> None:
        try:
            await self._storage.save(saved, model)
            async with self._keeping:
                place = self._membership
                if place is not None and place.session.charter.group_id == saved.charter.group_id:
                    standing = replace(self._switcher.standing(), owed=tuple(self._owed.values()))
                    await self._storage.set_current(saved.charter, standing)
        except StateError as error:
            self._not_saved(error)
        else:
            if self._save_failed:
                self._tell("info", "saved-again", "state is being saved again")
            self._save_failed = False

    async def _remember(self, peers: tuple[PeerAddress, ...]) -> None:
        try:
            await self._storage.remember(peers)
        except StateError as error:
            self._not_saved(error)

    def _not_saved(self, error: StateError) -> None:
        """Said once, however often it happens."""
        if not self._save_failed:
            self._tell("error", "not-saved", f"{error}; trying again every round")
        self._save_failed = True

    async def _keep_remembered(self) -> None:
        remembered: tuple[PeerAddress, ...] = ()
        while True:
            await trio.sleep(REMEMBER_SECONDS)
            now = self._discovery.remembered()
            if now and now != remembered:
                await self._remember(now)
                remembered = now

    async def _watch_peers(self) -> None:
        while True:
            now = frozenset(peer.peer_id for peer in self.network.peers())
            for peer in sorted(now - self._known_peers):
                self._tell("info", "peer-connected", f"connected to peer ..{peer[-6:]}")
            for peer in sorted(self._known_peers - now):
                self._tell("info", "peer-lost", f"lost peer ..{peer[-6:]}")
            self._known_peers = now
            await trio.sleep(0.5)

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _current(self) -> Membership:
        if self._membership is None:
            raise GroupError("this node is not in a group yet: try again in a moment")
        return self._membership

    @property
    def _stopping(self) -> bool:
        return self._phase == "stopping"

    def _current_phase(self) -> Phase:
        if self._phase is not None or self._membership is None:
            return self._phase or "joining"
        return self._membership.session.phase

    def _answerer(self, protocol: str) -> Any:
        async def answer(peer: PeerId, payload: bytes) -> bytes:
            if self._membership is None:
                refusal = wire.Refusal("busy", "this node is not in a group yet")
                return wire.encode_answer(refusal)
            return await self._membership.answer(peer, protocol, payload)

        return answer

    def _own_card(self, unix_now: float) -> GroupCard | None:
        if self._membership is None or self._membership.session.phase == "joining":
            return None
        session = self._membership.session
        return own_card(session, self.network.peer_id, trio.current_time(), unix_now)

    def _group_view(self, known: KnownCard) -> GroupView:
        card = known.card
        mine = (
            self._membership is not None
            and self._membership.session.charter.group_id == card.charter.group_id
        )
        problem = None if mine else self._problem(card.charter)
        return group_view(
            known,
            trio.current_time(),
            mine=mine,
            problem=problem,
            finding=self._switcher.finding(card.charter.group_id),
            round_now=self._switcher.selector.rounds,
        )

    def _on_tell(self, tell: ev.Tell) -> None:
        self._tell(tell.level, tell.kind, tell.message, dict(tell.data))
        if tell.kind == "round":
            self._switcher.round_done()
        if tell.kind in ("member-joined", "member-left", "member-away", "joined"):
            self._finder.changed()

    def _tell(
        self,
        level: Literal["debug", "info", "warning", "error"],
        kind: str,
        message: str,
        data: dict[str, Any] | None = None,
    ) -> None:
        event = NodeEvent(self._unix_time(), level, kind, message, data or {})
        self._events.append(event)
        self._on_event(event)


async def _wait_for_any(events: list[trio.Event]) -> None:
    """Return once one of the events is set."""
    async with trio.open_nursery() as nursery:

        async def until(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(until, event)
