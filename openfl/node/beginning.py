"""`Beginning`: from an open network to the first membership."""

from __future__ import annotations

from openfl.core.event_kinds import EVENT_KINDS
from openfl.discovery.discovery import Discovery
from openfl.learning.workload import Remarking, Workload
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.first_group import FirstGroup, join_network
from openfl.node.membership import Membership
from openfl.node.membership_factory import MembershipFactory
from openfl.node.state_saver import StateSaver
from openfl.storage.membership import SavedMembership


class Beginning:
    """How a run of the node begins. `resume`: the membership to go on with, if there is one."""

    def __init__(
        self,
        discovery: Discovery,
        workload: Workload,
        first_group: FirstGroup,
        factory: MembershipFactory,
        current_group: CurrentGroup,
        saver: StateSaver,
        log: EventLog,
        resume: SavedMembership | None,
    ) -> None:
        self._discovery = discovery
        self._workload = workload
        self._first_group = first_group
        self._factory = factory
        self._current_group = current_group
        self._saver = saver
        self._log = log
        self._resume = resume

    def tell_remarks(self) -> None:
        """Tell the owner what is remarkable about the data."""
        if isinstance(self._workload, Remarking):
            for remark in self._workload.remarks():
                kind, data = remark.kind, dict(remark.data)
                if kind not in EVENT_KINDS:  # of a workload of the owner's own
                    kind, data = "remark", {**data, "kind": remark.kind}
                self._log.tell(remark.level, kind, remark.text, data)

    async def join_network(self) -> None:
        """Dial the peers that are known; that nobody answers ends no node."""
        self._current_group.own_phase = "joining"
        await join_network(self._discovery, self._log)

    async def enter_first_group(self) -> Membership:
        """Choose the group, and keep on disk that the node is in it. The membership does not run
        yet. GroupError, ConfigError or StateError when that is impossible."""
        charter = await self._first_group.choose(self._resume)
        membership = self._factory.first(charter, self._resume)
        self._current_group.enter(membership)
        await self._saver.save_standing(charter)
        await self._saver.tidy()
        self._current_group.own_phase = None
        return membership
