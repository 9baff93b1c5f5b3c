"""How a node begins: it joins the network, and chooses its first group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from openfl.contribution import Charter, GroupId
from openfl.errors import GroupError
from openfl.group.directory import KnownCard
from openfl.group_finder import GroupFinder
from openfl.membership_state import SavedMembership
from openfl.network.base import Network
from openfl.network.discovery import Discovery
from openfl.node.eligibility import Eligibility
from openfl.node.event_log import EventLog
from openfl.node_parts import NodeSettings
from openfl.scout import Scout
from openfl.workload import Workload

FIND_GROUP_SECONDS = 4.0


async def join_network(discovery: Discovery, log: EventLog) -> None:
    """Dial the peers that are known, and tell what came of each. That nobody answers ends no node:
    services and machines start in any order, and `Discovery` goes on dialling."""
    outcomes = await discovery.join()
    for outcome in outcomes:
        if outcome.ok:
            log.tell("info", "dialled", f"connected to {outcome.address}")
        else:
            log.tell("warning", "unreachable", outcome.reason)


@dataclass(frozen=True, slots=True)
class FirstGroup:
    """Chooses the group to be in when a node starts."""

    network: Network
    workload: Workload
    settings: NodeSettings
    eligibility: Eligibility
    finder: GroupFinder
    scout: Scout

    async def choose(self, resume: SavedMembership | None) -> Charter:
        """The saved group, or one of the wanted name that fits, or a new one. Whoever named none
        gets the largest that fits. GroupError when the wanted one cannot be joined."""
        if resume is not None:
            return self._saved(resume)
        if self.network.connected():
            with trio.move_on_after(FIND_GROUP_SECONDS):
                await self.finder.ask()
        return self._wanted(GroupId(""))

    def instead_of(self, here: GroupId) -> Charter | None:
        """Where the node would have begun, had it not founded the group `here` knowing nobody; None
        when that is nowhere else. Judged by the cards known now. GroupError as from `choose`."""
        charter = self._wanted(here)
        known = {k.card.charter.group_id for k in self.finder.known()}
        return charter if charter.group_id in known - {here} else None

    def _wanted(self, here: GroupId) -> Charter:
        """The group to be in, of all that are known but `here`."""
        name = self.settings.group_name
        own = self.workload.found(name)
        if self.settings.closed or self.settings.invitations:
            # Whoever is invited is not to teach everybody while nobody of that group is there.
            own = replace(own, founder=self.network.peer_id)
        if self.settings.any_group and self.settings.selection.enabled:
            largest = self._largest(name, here)
            if largest is not None:
                return largest
        found = [
            k
            for k in self.finder.find(name)
            if k.card.charter.name == name and k.card.charter.group_id != here
        ]
        if not found or any(k.card.charter.group_id == own.group_id for k in found):
            return own
        return self._fitting(name, found, own)

    def _saved(self, resume: SavedMembership) -> Charter:
        charter = resume.charter
        uninvited = self.eligibility.admission(charter, resume.invitations).problem()
        if uninvited is not None:
            raise GroupError(f"cannot go on in group {charter.name}: {uninvited}")
        return charter

    def _largest(self, name: str, here: GroupId) -> Charter | None:
        fitting = self.scout.candidates(here)
        largest = max(fitting, key=lambda c: (c.members, c.name == name), default=None)
        if largest is None:
            return None
        (known,) = self.finder.find(largest.group_id)
        return known.card.charter

    def _fitting(self, name: str, found: Sequence[KnownCard], own: Charter) -> Charter:
        """The best of the groups of that name; `own`, when a closed one is asked for and none of
        them lets this node in."""
        closed, problems = self.settings.closed, []
        if closed:
            found = [k for k in found if k.card.charter.founder is not None]
        # Whoever has an invitation means that group.
        for known in sorted(found, key=lambda k: (k.card.charter.founder is None, -k.card.members)):
            charter = known.card.charter
            problem = self.eligibility.problem(charter)
            if problem is None:
                return charter
            problems.append(f"{charter.group_id[:8]}: {problem}")
        if closed:
            return own
        raise GroupError(
            f"group {name} exists, but this node cannot join it ({'; '.join(problems)});"
            " give this node another group with --group"
        )
