"""`NodeViews`: what others are shown of a node."""

from __future__ import annotations

from collections.abc import Callable

import trio

from openfl.core.contribution import GroupId, PeerId
from openfl.core.telemetry import GroupView, NodeEvent, NodeSnapshot
from openfl.network.base import Network
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.group_view import metric_value
from openfl.node.group_views import GroupViews
from openfl.node.learning_views import LearningViews, SongsNow
from openfl.node.notices import Notices
from openfl.node.resources import resources_now
from openfl.node.settings import NodeSettings


class NodeViews:
    """Looks at the parts of a node and changes nothing."""

    def __init__(
        self,
        network: Network,
        current_group: CurrentGroup,
        groups: GroupViews,
        learning: LearningViews,
        notices: Notices,
        log: EventLog,
        settings: NodeSettings,
        unix_time: Callable[[], float],
    ) -> None:
        self._network = network
        self._current_group = current_group
        self._groups = groups
        self._learning = learning
        self._notices = notices
        self._log = log
        self._settings = settings
        self._unix_time = unix_time
        self._started_at = unix_time()
        self._useful_at: float | None = None
        log.observers.append(self._heard)

    def _heard(self, event: NodeEvent) -> None:
        if event.kind == "useful" and self._useful_at is None:
            self._useful_at = event.time

    def node(self) -> NodeSnapshot:
        """Everything a viewer needs, now."""
        now = trio.current_time()
        membership, alone = self._current_group.membership, self._learning.alone
        statistics = self._network.statistics()
        faults = {**statistics.faults, **self._groups.faults, **self._learning.faults}
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
            phase=self._current_group.phase,
            peer_id=self._network.peer_id,
            multiaddrs=self._network.multiaddrs,
            home=self._settings.home,
            group_id=group_id,
            group_name=group_name,
            task=task,
            metric=metric,
            peers=self._groups.peers(self._network.peers()),
            members=() if session is None else session.members(now),
            round=0 if session is None else session.round,
            rounds=self._settings.session.rounds if session is None else session.last_round,
            train_examples=0 if membership is None else membership.trainer.task.train_examples,
            model_rows=0 if session is None else session.replica.model_rows,
            validation=None if session is None else metric_value(session.validation),
            alone=None if alone is None else metric_value(alone.validation),
            test=None if membership is None else metric_value(membership.trainer.test),
            alone_test=None if alone is None else metric_value(alone.test),
            history=() if session is None else tuple(session.history),
            bytes_sent=statistics.bytes_sent,
            bytes_received=statistics.bytes_received,
            published_bytes=0 if session is None else session.published_bytes,
            deltas_merged=0 if session is None else session.deltas_merged,
            faults=faults,
            events=self._log.last,
            privacy=self._learning.privacy,
            switching=self._groups.switching,
            resources=resources_now(statistics),
            notices=self._notices.now(now),
            directory=self._groups.directory,
            items=self._learning.items,
            skipped_rows=self._learning.skipped_rows,
            useful_after=None if self._useful_at is None else self._useful_at - self._started_at,
            interval_seconds=0.0 if session is None else session.interval_seconds,
        )

    def clocks(self) -> dict[PeerId, float]:
        """See `Node.clocks`."""
        clocks = dict(self._groups.clocks(self._unix_time()))
        clocks.pop(self._network.peer_id, None)
        return clocks

    async def groups(self) -> tuple[GroupView, ...]:
        """See `Node.groups`."""
        return await self._groups.ask()

    def known_groups(self) -> tuple[GroupView, ...]:
        """See `Node.known_groups`."""
        return self._groups.known()

    def songs(self) -> SongsNow:
        """See `Node.songs`."""
        return self._learning.songs()
