"""How a node begins: it joins the network, and chooses its first group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import GroupError
from openfl.core.names import name_problem
from openfl.discovery.discovery import Discovery
from openfl.learning.workload import Workload
from openfl.network.base import Network
from openfl.node.eligibility import Eligibility
from openfl.node.event_log import EventLog
from openfl.node.group_finder import GroupFinder
from openfl.node.settings import NodeSettings
from openfl.node.switch_driver import LookDriver
from openfl.storage.membership import SavedMembership
from openfl.switching.directory import KnownCard
from openfl.switching.events import Served

FIND_GROUP_SECONDS = 4.0
_ADVICE = "; give this node another group with --group"


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
    looks: LookDriver
    log: EventLog

    async def choose(self, resume: SavedMembership | None) -> Charter:
        """The saved group, or one of the wanted name that fits, or a new one. Whoever named none
        gets the largest that fits. GroupError when the wanted one cannot be joined.

        Cards only tell whom to ask. A group is begun in when one of its members has served a
        snapshot, and the largest is the one of which most members' signed contributions came.
        """
        if resume is not None:
            return self._saved(resume)
        if self.network.connected():
            with trio.move_on_after(FIND_GROUP_SECONDS):
                await self.finder.ask()
        return await self._wanted(GroupId(""))

    async def instead_of(self, here: GroupId) -> Charter | None:
        """Where the node would have begun, had it not founded the group `here` knowing nobody; None
        when that is nowhere else. Judged by the cards known now. GroupError as from `choose`."""
        charter = await self._wanted(here)
        known = {k.card.charter.group_id for k in self.finder.known()}
        return charter if charter.group_id in known - {here} else None

    async def _wanted(self, here: GroupId) -> Charter:
        """The group to be in, of all that are known but `here`."""
        name = self.settings.group_name
        if self.settings.any_group and self.settings.selection.enabled:
            largest = await self._largest(self._own(name), here)
            if largest is not None:
                return largest
        try:
            return await self._of_name(name, here)
        except GroupError as error:
            closed = any(k.card.charter.founder is not None for k in self._called(name, here))
            if not self.settings.any_group or self.settings.invitations or closed:
                raise
            # Nobody asked for this very name, which others have given to what does not fit here.
            other = f"{name}-{self._own(name).task}"
            charter = await self._of_name(other, here)
            if not here:
                text = f"{str(error).removesuffix(_ADVICE)}: it takes {other} instead"
                self.log.tell("info", "name-taken", text, {"name": name, "group": other})
            return charter

    def _own(self, name: str) -> Charter:
        """Of the group of that name that this node would found."""
        own = self.workload.found(name)
        if self.settings.closed or self.settings.invitations:
            # Whoever is invited is not to teach everybody while nobody of that group is there.
            own = replace(own, founder=self.network.peer_id)
        return own

    def _called(self, name: str, here: GroupId) -> list[KnownCard]:
        return [
            k
            for k in self.finder.find(name)
            if k.card.charter.name == name and k.card.charter.group_id != here
        ]

    async def _of_name(self, name: str, here: GroupId) -> Charter:
        """The group to be in, of all of that name that are known but `here`. GroupError as
        `choose`."""
        own = self._own(name)
        found = self._called(name, here)
        if not found or any(k.card.charter.group_id == own.group_id for k in found):
            return own
        return await self._fitting(name, found, own, here)

    def _saved(self, resume: SavedMembership) -> Charter:
        charter = resume.charter
        uninvited = self.eligibility.admission(charter, resume.invitations).problem()
        if uninvited is not None:
            raise GroupError(f"cannot go on in group {charter.name}: {uninvited}")
        unclear = name_problem(charter.name)
        if unclear is not None:
            text = f"this group's name {unclear}; nodes of this version on do not list the group,"
            text += " so nobody new finds it: found one of another name (openfl-node found NAME)"
            self.log.tell("warning", "unclear-name", text, {"group": charter.group_id})
        return charter

    async def _largest(self, own: Charter, here: GroupId) -> Charter | None:
        """None when nobody serves a group that fits. Of equals the one this node would found, then
        one of its name."""
        served = await self.looks.first_look(self.looks.candidates(here))

        def size(one: Served) -> tuple[int, bool, bool]:
            same = one.charter.group_id == own.group_id
            return one.members, same, one.charter.name == own.name

        largest = max(served, key=size, default=None)
        return None if largest is None else largest.charter

    async def _fitting(
        self, name: str, found: Sequence[KnownCard], own: Charter, here: GroupId
    ) -> Charter:
        """The best of the groups of that name; `own`, when a closed one is asked for and none of
        them lets this node in, or when nobody serves any that does."""
        closed, problems, fitting = self.settings.closed, [], []
        if closed:
            found = [k for k in found if k.card.charter.founder is not None]
        for known in found:
            charter = known.card.charter
            problem = self.eligibility.problem(charter)
            if problem is None:
                fitting.append(charter)
            else:
                problems.append(f"{charter.group_id[:8]}: {problem}")
        invited = [charter for charter in fitting if charter.founder is not None]
        if len(invited) == 1:
            return invited[0]  # the founder's signed word says that this one is meant
        if fitting:
            ids = {charter.group_id for charter in invited or fitting}
            candidates = self.looks.candidates(here)
            served = await self.looks.first_look([c for c in candidates if c.group_id in ids])
            if served or invited:
                return served[0].charter if served else invited[0]
            if not here:
                text = f"cards tell of a group {name}, but no member of it answers: founding one"
                self.log.tell("warning", "nobody-serves", text, {"groups": sorted(ids)})
            return own
        if closed:
            return own
        raise GroupError(
            f"group {name} exists, but this node cannot join it ({'; '.join(problems)}){_ADVICE}"
        )
