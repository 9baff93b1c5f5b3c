"""`Node`: one peer, driven by trio. It puts its parts together, runs them, and answers for them.

Task tree: a node's nursery holds the group finder, the switcher, the current membership, the
comparison with training alone, the watch over its peers, and the saying of leaves it owes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import trio

from openfl.core.contribution import GroupCard, PeerId
from openfl.core.telemetry import GroupView, NodeEvent, NodeSnapshot
from openfl.discovery.discovery import Discovery
from openfl.group import events as ev
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.workload import Remarking, Workload
from openfl.network.base import Network, Sealer
from openfl.node.compute import Compute, ThreadCompute
from openfl.node.current_group import CurrentGroup
from openfl.node.eligibility import Eligibility
from openfl.node.event_log import EventLog
from openfl.node.fault_points import FaultPoints
from openfl.node.first_group import FirstGroup, join_network
from openfl.node.group_finder import GroupFinder
from openfl.node.items_watch import ItemsWatch
from openfl.node.late_join import LateJoin, give_up_without_bootstrap
from openfl.node.membership import Membership
from openfl.node.membership_factory import MembershipFactory
from openfl.node.moves import Moves
from openfl.node.notices import Notices
from openfl.node.peers import (
    keep_remembered,
    tell_of_absence,
    tell_of_other_versions,
    tell_of_peers,
)
from openfl.node.pending_leaves import PendingLeaves
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.settings import NodeSettings
from openfl.node.solo import SoloTraining
from openfl.node.state_saver import StateSaver
from openfl.node.switch_driver import LookDriver, MoveDriver
from openfl.node.switcher import Switcher
from openfl.node.views import NodeViews
from openfl.storage.base import NodeStorage, Standing
from openfl.storage.membership import SavedMembership
from openfl.switching.cards import session_card
from openfl.switching.look import LookMemory
from openfl.switching.policy import Candidate
from openfl.switching.probe import Probes, ProbeSettings
from openfl.wire import messages as wire

FINISH_MOVE_SECONDS = 2.0
"""How long stopping waits for a move under way."""


class Node:
    """See the module's text. Make one with `openfl.app.open_node.open_node`, or from its parts."""

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
        privacy: PrivacyBudget | None = None,
        faults: FaultPoints | None = None,
    ) -> None:
        self.network = network
        self.stop_asked = trio.Event()
        self._leave_on_stop = False
        self._discovery = discovery
        self._workload = workload
        self._storage = storage
        self._resume = resume
        self._bootstrap_seconds = settings.bootstrap_seconds
        self._nursery: trio.Nursery | None = None
        self._log = EventLog(unix_time, on_event)
        self._notices = Notices(discovery, self._log)
        self._current_group = CurrentGroup()
        eligibility = Eligibility(workload, sealer, unix_time, settings.invitations)
        self._finder = GroupFinder(network, sealer, rng, unix_time, self._own_card)
        # Threads apart, so that looking around and the comparison hold up no round.
        training_compute = compute if compute is not None else ThreadCompute()
        comparison_compute = compute if compute is not None else ThreadCompute()
        # Spawned: what they draw changes nothing of what the rounds draw.
        look_rng, switcher_rng = rng.spawn(2)
        memory = LookMemory(
            network.peer_id,
            self._finder.directory,
            Probes(
                sealer,
                ProbeSettings(
                    max_bytes=settings.look.bytes_per_group,
                    max_kept=settings.selection.max_candidates,
                    limits=settings.session.limits,
                ),
                admission=eligibility.admission,
            ),
            eligibility.problem,
            look_rng,
            settings.look,
        )
        looks = LookDriver(
            network,
            discovery,
            self._finder.directory,
            memory,
            workload,
            comparison_compute,
            lambda: self._solo.model,
        )
        standing = standing if standing is not None else Standing()
        standing = standing.at_start(resumed=resume is not None, pin=settings.pin)
        self._switcher = Switcher(
            self,
            looks,
            settings.selection,
            switcher_rng,
            unix_time,
            self._log.tell,
            standing,
        )
        self._saver = StateSaver(
            storage, self._current_group, self._switcher.standing, standing.owed, self._log
        )
        self._saver.apart = bool(discovery.bootstrap) and (resume is None or standing.apart)
        self._pending_leaves = PendingLeaves(
            network, discovery, self._current_group, self._saver, self._log
        )
        self._solo = SoloTraining(
            workload, comparison_compute, rng, self._current_group, settings.alone_rounds
        )
        self._items = ItemsWatch(network.peer_id, self._log)
        self._views = NodeViews(
            network=network,
            current_group=self._current_group,
            finder=self._finder,
            switcher=self._switcher,
            eligibility=eligibility,
            solo=self._solo,
            privacy=privacy,
            items=self._items,
            skipped_rows=workload.skipped_rows if isinstance(workload, Remarking) else 0,
            settings=settings,
            notices=self._notices,
            log=self._log,
            unix_time=unix_time,
            started_at=unix_time(),
        )
        self._first_group = FirstGroup(
            network, workload, settings, eligibility, self._finder, looks, self._log
        )
        self._factory = MembershipFactory(
            network=network,
            sealer=sealer,
            discovery=discovery,
            workload=workload,
            eligibility=eligibility,
            settings=settings.session,
            compute=training_compute,
            rng=rng,
            unix_time=unix_time,
            privacy=privacy,
            save=self._saver.save,
            on_tell=self._on_tell,
            log=self._log,
        )
        driver = MoveDriver(
            current_group=self._current_group,
            factory=self._factory,
            looks=looks,
            finder=self._finder,
            storage=storage,
            saver=self._saver,
            pending_leaves=self._pending_leaves,
            standing=self._switcher.standing,
            arrived=self._switcher.arrived,
            take_part=self._take_part,
            train_alone=self._train_alone,
            faults=faults if faults is not None else FaultPoints(),
            log=self._log,
        )
        self._moves = Moves(
            self._current_group,
            workload,
            eligibility,
            self._finder,
            self._switcher,
            self._saver,
            driver,
            self._views.group,
            self._log,
        )
        self._late_join = LateJoin(
            network,
            self._current_group,
            self._finder,
            self._first_group,
            self._moves,
            self._saver,
            self._notices,
            self._log,
        )
        for protocol in (wire.SNAPSHOT_PROTOCOL, wire.PULL_PROTOCOL):
            network.set_handler(protocol, self._answerer(protocol), wire.LIMITS.max_request_bytes)

    # --- life -------------------------------------------------------------------------------------

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Join and take part until cancelled; the network must be open. Started once subscribed to
        a group, its own when nobody is there. NetworkError when nobody has answered within the
        time given for that; GroupError when the group cannot be joined with this node's data."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._log.tell(
                "info",
                "listening",
                f"listening on {', '.join(self.network.multiaddrs)}",
                {"multiaddrs": list(self.network.multiaddrs), "peer_id": self.network.peer_id},
            )
            if isinstance(self._workload, Remarking):
                for remark in self._workload.remarks():
                    self._log.tell(remark.level, remark.kind, remark.text, dict(remark.data))
            nursery.start_soon(self._finder.run)
            self._current_group.own_phase = "joining"
            if self._discovery.bootstrap and self._bootstrap_seconds:
                nursery.start_soon(
                    give_up_without_bootstrap,
                    self.network,
                    self._discovery,
                    self._bootstrap_seconds,
                )
            await join_network(self._discovery, self._log)
            nursery.start_soon(tell_of_absence, self._discovery, self._log)
            charter = await self._first_group.choose(self._resume)
            membership = self._factory.first(charter, self._resume)
            self._current_group.enter(membership)
            await self._saver.save_standing(charter)
            await self._storage.tidy()
            self._current_group.own_phase = None
            await self._take_part(membership)
            nursery.start_soon(keep_remembered, self._discovery.remembered, self._saver.remember)
            nursery.start_soon(tell_of_peers, self.network, self._log)
            nursery.start_soon(tell_of_other_versions, lambda: self._finder.faults, self._log)
            self._train_alone(membership)
            nursery.start_soon(self._switcher.run)
            nursery.start_soon(self._late_join.run)
            for owed in self._saver.owed:
                nursery.start_soon(self._pending_leaves.say, owed)
            task_status.started()
            await trio.sleep_forever()

    async def wait_done(self) -> None:
        """Return once all rounds are done, or the node was asked to stop."""
        await self._current_group.wait_rounds_done(self.stop_asked)

    def request_stop(self, leave: bool = False) -> None:
        """Ask the owner of the node to close it; `leave`: withdraw from the group first."""
        self._leave_on_stop = self._leave_on_stop or leave
        self.stop_asked.set()

    async def finish(self) -> None:
        """Before closing: save, and leave the group when that was asked for."""
        self._current_group.own_phase = "stopping"
        with trio.move_on_after(FINISH_MOVE_SECONDS):
            await self._moves.wait_over()  # or it has been given up
        membership = self._current_group.membership
        if membership is None:
            return
        if self._leave_on_stop:
            charter = membership.session.charter
            await membership.leave()
            await self._storage.forget(charter.group_id)
            text = f"left group {charter.name} for good"
            self._log.tell("info", "left", text, {"for_good": True})
        else:
            await self._saver.save(membership.saved(), membership.session.model())
        await self._saver.remember(self._discovery.remembered())

    # --- what others ask of it --------------------------------------------------------------------

    def snapshot(self) -> NodeSnapshot:
        """Everything a viewer needs, now."""
        return self._views.node()

    async def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        await self._finder.ask()
        return tuple(self._views.group(known) for known in self._finder.known())

    def recommend(self, user: str, top: int) -> Recommendations:
        """The best items for `user` by the group's model as it is now."""
        session = self._current_group.current.session
        return self._workload.recommend(session.model(), session.charter, user, top)

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

    # --- what its switcher asks of it -------------------------------------------------------------

    def place(self) -> Membership | None:
        """Where the node is."""
        return self._current_group.membership

    async def move(self, target: Candidate, why: str) -> None:
        """By the switcher's decision; GroupError or StateError: it stays where it was."""
        await self._moves.move_by_itself(target, why)

    async def found(self, why: str) -> None:
        """By the switcher's decision; StateError: it stays where it was."""
        await self._moves.found_by_itself(why)

    # --- inside -----------------------------------------------------------------------------------

    async def _take_part(self, membership: Membership) -> None:
        """Run a membership; return once it is subscribed."""
        assert self._nursery is not None
        await self._nursery.start(membership.run, self._discovery.run)

    def _train_alone(self, membership: Membership) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._solo.train, membership)

    def _answerer(self, protocol: str) -> Any:
        async def answer(peer: PeerId, payload: bytes) -> bytes:
            membership = self._current_group.membership
            if membership is None:
                refusal = wire.Refusal("busy", "this node is not in a group yet")
                return wire.encode_answer(refusal)
            return await membership.answer(peer, protocol, payload)

        return answer

    def _own_card(self, unix_now: float) -> GroupCard | None:
        membership = self._current_group.membership
        if membership is None:
            return None
        return session_card(membership.session, trio.current_time(), unix_now)

    def _on_tell(self, tell: ev.Tell) -> None:
        self._log.tell(tell.level, tell.kind, tell.message, dict(tell.data))
        membership = self._current_group.membership
        if membership is not None and tell.kind in ("joined", "round"):
            self._items.look(membership)
        if tell.kind == "round":
            self._switcher.round_done()
        if tell.kind in ("member-joined", "member-left", "member-away", "joined"):
            self._finder.changed()
