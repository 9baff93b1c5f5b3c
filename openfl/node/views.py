"""`NodeViews`: what others are shown of a node: itself, its peers, and groups as it sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from openfl.core.contribution import GroupId
from openfl.core.telemetry import GroupView, NodeSnapshot, PeerView
from openfl.group.session import GroupSession
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.workload import Remarking
from openfl.network.base import ConnectedPeer, Network
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.group_finder import GroupFinder
from openfl.node.group_view import group_view, metric_value
from openfl.node.items_watch import ItemsWatch
from openfl.node.notices import Notices
from openfl.node.parts import Learning
from openfl.node.resources import resources_now
from openfl.node.settings import NodeSettings
from openfl.node.solo import SoloTraining
from openfl.node.switcher import Switcher
from openfl.switching.directory import KnownCard
from openfl.wire import messages as wire


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeViews:
    """Looks at the parts of a node and changes nothing. started_at: unix seconds."""

    network: Network
    current_group: CurrentGroup
    finder: GroupFinder
    switcher: Switcher
    learning: Learning
    solo: SoloTraining
    items: ItemsWatch
    settings: NodeSettings
    notices: Notices
    log: EventLog
    unix_time: Callable[[], float]
    started_at: float

    def node(self) -> NodeSnapshot:
        """Everything a viewer needs, now."""
        now = trio.current_time()
        membership, alone = self.current_group.membership, self.solo.result
        workload, privacy = self.learning.workload, self.learning.privacy
        statistics = self.network.statistics()
        faults = {**statistics.faults, **self.finder.faults}
        group_id, group_name, task, metric = GroupId(""), self.settings.group_name, "", ""
        session = None if membership is None else membership.session
        if session is not None:
            group_id, group_name = session.charter.group_id, session.charter.name
            task = session.charter.task
            metric = session.validation.metric if session.validation is not None else ""
            for name, count in session.faults.items():
                faults[name] = faults.get(name, 0) + count
        return NodeSnapshot(
            time=self.unix_time(),
            started_at=self.started_at,
            phase=self.current_group.phase,
            peer_id=self.network.peer_id,
            multiaddrs=self.network.multiaddrs,
            home=self.settings.home,
            group_id=group_id,
            group_name=group_name,
            task=task,
            metric=metric,
            peers=peer_views(self.network.peers(), self.finder.directory.listed(now), session),
            members=() if session is None else session.members(now),
            round=0 if session is None else session.round,
            rounds=self.settings.session.rounds if session is None else session.last_round,
            train_examples=0 if membership is None else membership.task.train_examples,
            model_rows=0 if session is None else session.replica.model_rows,
            validation=None if session is None else metric_value(session.validation),
            alone=None if alone is None else metric_value(alone.validation),
            test=None if membership is None else metric_value(membership.test),
            alone_test=None if alone is None else metric_value(alone.test),
            history=() if session is None else tuple(session.history),
            bytes_sent=statistics.bytes_sent,
            bytes_received=statistics.bytes_received,
            published_bytes=0 if session is None else session.published_bytes,
            deltas_merged=0 if session is None else session.deltas_merged,
            faults=faults,
            events=self.log.last,
            privacy=None if privacy is None else privacy.view,
            switching=self.switcher.view(),
            resources=resources_now(statistics),
            notices=self.notices.now(now),
            directory=self.finder.asked,
            items=self.items.view(membership),
            skipped_rows=workload.skipped_rows if isinstance(workload, Remarking) else 0,
        )

    async def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        await self.finder.ask()
        return tuple(self.group(known) for known in self.finder.known())

    def recommend(self, user: str, top: int) -> Recommendations:
        """See `Node.recommend`."""
        session = self.current_group.current.session
        return self.learning.workload.recommend(session.model(), session.charter, user, top)

    def group(self, known: KnownCard) -> GroupView:
        """A group as this node sees it: whether it fits, what came of the last look at it."""
        charter = known.card.charter
        mine = self.current_group.is_in(charter.group_id)
        return group_view(
            known,
            trio.current_time(),
            mine=mine,
            problem=None if mine else self.learning.eligibility.problem(charter),
            finding=self.switcher.finding(charter.group_id),
            round_now=self.switcher.rounds,
        )


def peer_views(
    peers: Iterable[ConnectedPeer], known: Iterable[KnownCard], session: GroupSession | None
) -> tuple[PeerView, ...]:
    """Connected peers by id, with the names of their groups where they are known."""
    names = {wire.deltas_topic(k.card.charter.group_id): k.card.charter.name for k in known}
    mine = None
    if session is not None:
        mine = wire.deltas_topic(session.charter.group_id)
        names[mine] = session.charter.name
    views = []
    for peer in peers:
        groups = sorted(
            names.get(topic, topic.split("/")[3][:8])
            for topic in peer.topics
            if topic.startswith("/openfl/1/") and topic.endswith("/deltas")
        )
        in_mesh = mine in peer.mesh_topics
        views.append(PeerView(peer.peer_id, peer.multiaddrs, tuple(groups), in_mesh, peer.relayed))
    return tuple(sorted(views, key=lambda view: view.peer_id))
