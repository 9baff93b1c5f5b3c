"""`Node`: one peer, driven by trio: network, discovery, directory, and one membership at a time.

Task tree: a node's nursery holds the group finder, the keeper of remembered peers, and a scope for
the current membership. A switch opens the new membership beside the old one, waits for its
snapshot, and only then leaves the old group, so that a failed switch leaves the node where it was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import trio

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.compute import Compute, ThreadCompute
from openfl.contribution import Charter, Evaluation, GroupCard, GroupId, ModelView, PeerId
from openfl.errors import ConfigError, GroupError, NetworkError, StateError
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.directory import KnownCard
from openfl.group.session import GroupSession
from openfl.group_finder import GroupFinder
from openfl.learning.central import train_alone
from openfl.learning.recommend import Recommendations
from openfl.learning.task import PrivateLearner
from openfl.membership import Membership
from openfl.membership_state import SavedMembership
from openfl.network.base import Network, PeerAddress, Sealer
from openfl.network.discovery import Discovery
from openfl.node_parts import NodeSettings, NodeStorage, group_view, metric_value, no_answer
from openfl.privacy import PrivacyBudget, no_private_step
from openfl.telemetry import GroupView, NodeEvent, NodeSnapshot, PeerView, Phase
from openfl.wire import messages as wire
from openfl.workload import Workload

SWITCH_SECONDS = 20.0
REMEMBER_SECONDS = 5.0
FIND_GROUP_SECONDS = 4.0
MAX_EVENTS = 50


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
        bootstrap_given: bool = False,
        peers_remembered: bool = False,
        privacy: PrivacyBudget | None = None,
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
        self._alone: Evaluation | None = None
        self._alone_test: Evaluation | None = None
        self._save_failed = False
        self._known_peers: frozenset[PeerId] = frozenset()
        self._finder = GroupFinder(network, sealer, rng, unix_time, self._own_card)
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
            await self._storage.set_current(membership.session.charter)
            self._enter(membership)
            self._phase = None
            await nursery.start(self._run_membership, membership, self._scope)
            nursery.start_soon(self._keep_remembered)
            nursery.start_soon(self._watch_peers)
            nursery.start_soon(self._train_alone, membership)
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
            peers=self._peer_views(),
            members=() if session is None else session.members(now),
            round=0 if session is None else session.round,
            rounds=self._settings.session.rounds if session is None else session.last_round,
            train_examples=0 if membership is None else membership.task.train_examples,
            model_rows=0 if session is None else session.replica.model_rows,
            validation=None if session is None else metric_value(session.validation),
            alone=metric_value(self._alone),
            test=None if membership is None else metric_value(membership.test),
            alone_test=metric_value(self._alone_test),
            history=() if session is None else tuple(session.history),
            bytes_sent=statistics.bytes_sent,
            bytes_received=statistics.bytes_received,
            published_bytes=0 if session is None else session.published_bytes,
            deltas_merged=0 if session is None else session.deltas_merged,
            faults=faults,
            events=tuple(self._events),
            privacy=None if self._privacy is None else self._privacy.view,
        )

    async def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        await self._finder.ask()
        return tuple(self._group_view(known) for known in self._finder.known())

    def recommend(self, user: str, top: int) -> Recommendations:
        """The best items for `user` by the group's model as it is now."""
        session = self._current.session
        return self._workload.recommend(session.model(), session.charter, user, top)

    async def switch(self, reference: str) -> GroupView:
        """Leave the current group for another, named by name or the beginning of its id.

        GroupError when it is unknown, ambiguous, unfit for this node's data, or gives no snapshot;
        the node then stays where it was.
        """
        async with self._switching:
            known = await self._find_group(reference)
            old = self._current
            charter = known.card.charter
            if charter.group_id == old.session.charter.group_id:
                raise GroupError(f"this node is in group {charter.name} already")
            problem = self._problem(charter)
            if problem is not None:
                raise GroupError(f"group {charter.name} does not fit this node: {problem}")
            await self._move(old, self._open_membership(charter, None))
            return self._group_view(known)

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

    def _open_membership(self, charter: Charter, resume: SavedMembership | None) -> Membership:
        limits: ReplicaLimits = self._settings.session.limits
        epoch = max(1, int(self._unix_time() * 1000))
        replica, round_number, history = Replica(charter, limits), 0, tuple[float, ...]()
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
        session = GroupSession(
            replica,
            self._sealer,
            self._settings.session,
            self._rng,
            epoch,
            train_examples=task.train_examples,
            round_number=round_number,
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
        with scope:
            await membership.run(self._discovery.run, task_status=task_status)

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

    async def _move(self, old: Membership, new: Membership) -> None:
        """Probe has been done; fetch, subscribe, then leave the old group for good."""
        assert self._nursery is not None
        name = new.session.charter.name
        scope = trio.CancelScope()
        await self._nursery.start(self._run_membership, new, scope)
        with trio.move_on_after(SWITCH_SECONDS):
            await new.joined.wait()
        if new.session.snapshot_from is None:
            scope.cancel()
            raise GroupError(f"no member of group {name} answers: staying in the old group")
        try:
            await self._storage.save(new.saved(), new.session.model())
            await self._storage.set_current(new.session.charter)
        except StateError:
            await new.leave()
            scope.cancel()
            raise
        # From here on the new group is the one membership, whatever happens.
        old_scope, self._scope = self._scope, scope
        self._enter(new)
        await old.leave()
        old_scope.cancel()
        self._finder.forget_group(old.session.charter.group_id)
        await self._storage.forget(old.session.charter.group_id)
        self._tell(
            "info",
            "switched",
            f"switched from group {old.session.charter.name} to {name}",
            {"from": old.session.charter.group_id, "to": new.session.charter.group_id},
        )
        self._finder.changed()
        self._nursery.start_soon(self._train_alone, new)

    def _enter(self, membership: Membership) -> None:
        self._membership = membership
        self._moved.set()
        self._moved = trio.Event()

    # --- background -------------------------------------------------------------------------------

    async def _train_alone(self, membership: Membership) -> None:
        """The comparison: the same task, the same data, nobody else."""
        if not self._settings.alone_rounds:
            return
        self._alone = self._alone_test = None
        task = self._workload.task(membership.session.charter)
        rng = np.random.default_rng(int(self._rng.integers(1 << 63)))
        rounds = self._settings.alone_rounds
        result = await self._comparison_compute.run(
            lambda: train_alone(task, rng, max_rounds=rounds)
        )
        if membership is self._membership:
            self._alone, self._alone_test = result.validation, result.test

    async def _save(self, saved: SavedMembership, model: ModelView) -> None:
        try:
            await self._storage.save(saved, model)
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
        members = len(session.members(trio.current_time()))
        best, median = session.fits(trio.current_time())
        metric = session.validation.metric if session.validation is not None else None
        return GroupCard(
            charter=session.charter,
            members=members,
            rows=session.replica.model_rows,
            fit_metric=None if best is None else metric,
            fit_best=best,
            fit_median=median,
            issuer=self.network.peer_id,
            issued_at=unix_now,
        )

    def _group_view(self, known: KnownCard) -> GroupView:
        card = known.card
        mine = (
            self._membership is not None
            and self._membership.session.charter.group_id == card.charter.group_id
        )
        problem = None if mine else self._problem(card.charter)
        return group_view(known, trio.current_time(), mine=mine, problem=problem)

    def _peer_views(self) -> tuple[PeerView, ...]:
        names = {
            wire.deltas_topic(k.card.charter.group_id): k.card.charter.name
            for k in self._finder.directory.freshest(trio.current_time())
        }
        mine = None
        if self._membership is not None:
            mine = self._membership.topic
            names[mine] = self._membership.session.charter.name
        views = []
        for peer in self.network.peers():
            groups = sorted(
                names.get(topic, topic.split("/")[3][:8])
                for topic in peer.topics
                if topic.startswith("/openfl/1/") and topic.endswith("/deltas")
            )
            views.append(
                PeerView(peer.peer_id, peer.multiaddrs, tuple(groups), mine in peer.mesh_topics)
            )
        return tuple(sorted(views, key=lambda view: view.peer_id))

    def _on_tell(self, tell: ev.Tell) -> None:
        self._tell(tell.level, tell.kind, tell.message, dict(tell.data))
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
