"""Puts a node together: the one place that knows all parts, and which part uses which."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from openfl.learning.workload import Workload
from openfl.node.beginning import Beginning
from openfl.node.compute import ThreadCompute
from openfl.node.course_recorder import CourseRecorder
from openfl.node.current_group import CurrentGroup
from openfl.node.eligibility import Eligibility
from openfl.node.event_log import EventLog
from openfl.node.first_group import FirstGroup
from openfl.node.group_finder import GroupFinder
from openfl.node.group_views import GroupViews
from openfl.node.items_watch import ItemsWatch
from openfl.node.label_driver import LabelDriver
from openfl.node.late_join import LateJoin, give_up_without_bootstrap
from openfl.node.learning_views import LearningViews
from openfl.node.listeners import EventListeners
from openfl.node.membership import Membership
from openfl.node.membership_factory import MembershipFactory
from openfl.node.moves import Moves
from openfl.node.node import Node
from openfl.node.node_tasks import NodeTasks, Task
from openfl.node.notices import Notices
from openfl.node.parts import Environment, Learning, Links, SavedNode
from openfl.node.peers import (
    keep_remembered,
    tell_of_absence,
    tell_of_other_versions,
    tell_of_peers,
)
from openfl.node.pending_leaves import PendingLeaves
from openfl.node.privacy_budget import PrivacyBudget
from openfl.node.session_news import SessionNews
from openfl.node.settings import NodeSettings
from openfl.node.solo import SoloTraining
from openfl.node.state_saver import StateSaver
from openfl.node.switch_driver import LookDriver, MoveDriver
from openfl.node.switcher import Switcher
from openfl.node.views import NodeViews
from openfl.storage.base import Standing
from openfl.switching.look import LookMemory
from openfl.switching.policy import Decision
from openfl.switching.probe import Probes, ProbeSettings
from openfl.wire import messages as wire


def assemble_node(
    links: Links,
    workload: Workload,
    saved: SavedNode,
    settings: NodeSettings,
    listeners: EventListeners,
    environment: Environment,
    privacy: PrivacyBudget | None = None,
) -> Node:
    """A node that waits to be run; its network must be open. `listeners`: who is told of everything
    that its owner should know; `privacy`: the budget that it teaches under, None without one."""
    network, discovery = links.network, links.discovery
    rng, unix_time = environment.rng, environment.unix_time
    log = EventLog(unix_time, listeners.tell)
    notices = Notices(discovery, log)
    current_group = CurrentGroup()
    eligibility = Eligibility(workload, links.sealer, unix_time, settings.invitations)
    learning = Learning(workload, eligibility, privacy)
    finder = GroupFinder(network, links.sealer, rng, unix_time, current_group.card)
    # Threads apart, so that looking around and the comparison hold up no round.
    training_compute = environment.compute or ThreadCompute()
    comparison_compute = environment.compute or ThreadCompute()
    # Spawned: what they draw changes nothing of what the rounds draw.
    look_rng, switcher_rng, alone_rng, label_rng = rng.spawn(4)
    solo = SoloTraining(workload, comparison_compute, rng, current_group, settings.alone_rounds)
    tasks = NodeTasks(discovery, solo)
    standing = saved.standing if saved.standing is not None else Standing()
    standing = standing.at_start(resumed=saved.resume is not None, pin=settings.pin)

    looks = LookDriver(
        network,
        discovery,
        finder.directory,
        _look_memory(links, finder, learning, look_rng, settings),
        workload,
        comparison_compute,
        alone_rng,
    )
    host = _SwitcherHost(current_group)
    switcher = Switcher(
        host, looks, settings.selection, switcher_rng, unix_time, log.tell, standing
    )
    saver = StateSaver(saved.storage, current_group, switcher.standing, standing.owed, log)
    saver.apart = bool(discovery.bootstrap) and (saved.resume is None or standing.apart)
    pending_leaves = PendingLeaves(network, discovery, current_group, saver, log)
    items = ItemsWatch(network.peer_id, log)
    labels = LabelDriver(
        network,
        current_group,
        workload,
        label_rng,
        settings.tell_labels,
        saved.labels,
        saver,
        log,
    )
    course = CourseRecorder(
        network, current_group, solo, saved.kept_course, saved.course, saver, log, unix_time
    )
    factory = MembershipFactory(
        links=links,
        learning=learning,
        settings=settings.session,
        compute=training_compute,
        environment=environment,
        save=saver.save,
        on_tell=SessionNews(current_group, items, switcher, finder, log).tell,
        log=log,
    )
    group_views = GroupViews(current_group, finder, switcher, eligibility)
    views = NodeViews(
        network,
        current_group,
        group_views,
        LearningViews(current_group, learning, solo, items, labels),
        notices,
        log,
        settings,
        unix_time,
    )
    driver = MoveDriver(
        current_group=current_group,
        factory=factory,
        looks=looks,
        finder=finder,
        saver=saver,
        pending_leaves=pending_leaves,
        tasks=tasks,
        standing=switcher,
        faults=environment.faults,
        log=log,
    )
    moves = host.moves = Moves(
        current_group,
        learning,
        finder,
        switcher,
        saver,
        driver,
        group_views.group,
        log,
    )
    first_group = FirstGroup(network, workload, settings, eligibility, finder, looks, log)
    late_join = LateJoin(network, current_group, finder, first_group, moves, saver, notices, log)

    tasks.from_start = (finder.run, *_patience(links, settings))
    tasks.once_dialled = (partial(tell_of_absence, discovery, log),)
    tasks.as_member = (
        partial(keep_remembered, discovery.remembered, saver.remember),
        partial(tell_of_peers, network, log),
        partial(tell_of_other_versions, lambda: finder.faults, log),
        switcher.run,
        late_join.run,
        pending_leaves.say_all,
        labels.run,
        course.run,
    )
    for protocol in (wire.SNAPSHOT_PROTOCOL, wire.SUMMARY_PROTOCOL, wire.PULL_PROTOCOL):
        answer = current_group.answerer(protocol)
        network.set_handler(protocol, answer, wire.LIMITS.max_request_bytes)
    beginning = Beginning(
        discovery, workload, first_group, factory, current_group, saver, log, saved.resume
    )
    return Node(links, current_group, beginning, tasks, moves, views, saver, log, course, listeners)


def _patience(links: Links, settings: NodeSettings) -> tuple[Task, ...]:
    """What ends a node that nobody answers, if anything does."""
    seconds = settings.bootstrap_seconds
    if not (links.discovery.bootstrap and seconds):
        return ()
    return (partial(give_up_without_bootstrap, links.network, links.discovery, seconds),)


def _look_memory(
    links: Links,
    finder: GroupFinder,
    learning: Learning,
    rng: np.random.Generator,
    settings: NodeSettings,
) -> LookMemory:
    probes = Probes(
        links.sealer,
        ProbeSettings(
            max_bytes=settings.look.bytes_per_group,
            max_kept=settings.selection.max_candidates,
            limits=settings.session.limits,
        ),
        admission=learning.eligibility.admission,
    )
    return LookMemory(
        links.network.peer_id,
        finder.directory,
        probes,
        learning.eligibility.problem,
        rng,
        settings.look,
    )


@dataclass(slots=True)
class _SwitcherHost:
    """The node, as its switcher sees it. `moves` is filled in later: moving needs the switcher."""

    current_group: CurrentGroup
    moves: Moves = field(init=False)

    def place(self) -> Membership | None:
        """Where the node is."""
        return self.current_group.membership

    async def move(self, decision: Decision) -> None:
        """By the switcher's decision; GroupError or StateError: it stays where it was."""
        await self.moves.by_itself(decision)
