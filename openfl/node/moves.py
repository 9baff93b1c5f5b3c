"""`Moves`: orders to be in another group, from the owner or by the node's own decision. Each is
checked, and carried out by `MoveDriver`, one at a time. So is the owner's order to try one first,
which moves nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import trio

from openfl.core.contribution import Charter
from openfl.core.errors import GroupError
from openfl.core.names import name_problem, normal
from openfl.core.telemetry import GroupView
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.group_finder import GroupFinder
from openfl.node.parts import Learning
from openfl.node.state_saver import StateSaver
from openfl.node.switch_driver import MoveDriver
from openfl.node.switcher import Switcher
from openfl.switching.chooser import move_order
from openfl.switching.directory import KnownCard
from openfl.switching.policy import Candidate, Decision
from openfl.switching.seed import MoveOrder
from openfl.wire.charters import charter_problem


class Moves:
    """`view(known)`: a group as people see it."""

    def __init__(
        self,
        current_group: CurrentGroup,
        learning: Learning,
        finder: GroupFinder,
        switcher: Switcher,
        saver: StateSaver,
        driver: MoveDriver,
        view: Callable[[KnownCard], GroupView],
        log: EventLog,
    ) -> None:
        self._current_group = current_group
        self._workload = learning.workload
        self._eligibility = learning.eligibility
        self._finder = finder
        self._switcher = switcher
        self._saver = saver
        self._driver = driver
        self._view = view
        self._log = log
        self._one_at_a_time = trio.Lock()

    async def wait_over(self) -> None:
        """Return once a move under way is over."""
        async with self._one_at_a_time:
            pass

    # --- by the owner -----------------------------------------------------------------------------

    async def switch(self, reference: str, pin: bool) -> GroupView:
        """See `Node.switch`."""
        async with self._one_at_a_time:
            known = await self._find(reference)
            charter, old = known.card.charter, self._current_group.charter
            if charter.group_id == old.group_id:
                if not pin and not self._switcher.view().pinned:
                    raise GroupError(f"this node is in group {charter.name} already")
                await self._pin(charter, pin)
                return self._view(known)
            problem = self._eligibility.problem(charter)
            if problem is not None:
                raise GroupError(f"group {charter.name} does not fit this node: {problem}")
            text = f"switched from group {old.name} to {charter.name}"
            await self._driver.carry_out(MoveOrder(charter, "switch", text, pin))
            return self._view(known)

    async def try_group(self, reference: str) -> GroupView:
        """See `Node.try_group`."""
        known = await self._find(reference)
        charter = known.card.charter
        if self._current_group.is_in(charter.group_id):
            raise GroupError(f"this node is in group {charter.name}")
        problem = self._eligibility.problem(charter)
        if problem is not None:
            raise GroupError(f"group {charter.name} does not fit this node: {problem}")
        standing = self._finder.directory.standing(charter.group_id)
        candidate = Candidate(charter.group_id, charter.name, known.card.members, standing)
        await self._switcher.try_group(candidate)
        return self._view(known)

    async def found(self, name: str, pin: bool) -> GroupView:
        """See `Node.found_group`."""
        async with self._one_at_a_time:
            name = normal(name)
            charter, old = self._workload.found(name), self._current_group.charter
            unclear = name_problem(name)
            wrong = charter_problem(charter) if unclear is None else f"a name {unclear}"
            if wrong is not None:
                raise GroupError(f"no group can be called {name!r}: {wrong}")
            await self._finder.ask()
            ids = {k.card.charter.group_id for k in self._finder.known()}
            if charter.group_id in ids:
                raise GroupError(f"there is a group {name} already (try: openfl-node switch)")
            if not self._finder.asked.answered:
                text = f"whether there is a group {name} already is not known"
                self._log.tell("warning", "not-asked", f"{text}: {self._finder.asked.text}")
            text = f"founded group {name}, left {old.name}"
            await self._driver.carry_out(MoveOrder(charter, "found", text, pin))
            own = self._finder.known()
            (known,) = (k for k in own if k.card.charter.group_id == charter.group_id)
            return self._view(known)

    async def join_late(self, charter: Charter) -> None:
        """To the group that the owner told this node to join, which nobody of was there before.
        GroupError or StateError: the node stays where it was."""
        async with self._one_at_a_time:
            old = self._current_group.charter
            pinned = self._switcher.view().pinned
            text = f"joined group {charter.name} ({charter.group_id[:8]}), which was not there when"
            text += f" this node began alone in {old.name} ({old.group_id[:8]})"
            await self._driver.carry_out(MoveOrder(charter, "switch", text, pinned))

    async def _find(self, reference: str) -> KnownCard:
        found = self._finder.find(reference)
        if not found:
            await self._finder.ask()
            found = self._finder.find(reference)
        if not found:
            known = any(
                not self._current_group.is_in(k.card.charter.group_id) for k in self._finder.known()
            )
            why = "openfl-node groups lists those that are" if known else self._finder.asked.text
            raise GroupError(f"no group {reference!r} is known: {why}")
        if len(found) > 1:
            ids = ", ".join(k.card.charter.group_id for k in found)
            raise GroupError(f"{reference!r} may be any of these groups, name one by id: {ids}")
        return found[0]

    async def _pin(self, charter: Charter, pin: bool) -> None:
        await self._saver.save_standing(charter, pinned=pin)
        self._switcher.pin(pin)
        done = "pinned to" if pin else "free to leave"
        self._switcher.note("switch", f"{done} {charter.name}, by hand")
        text = f"this node is {done} group {charter.name}"
        self._log.tell("info", "pinned", text, {"pinned": pin})

    # --- by the switcher's decision ---------------------------------------------------------------

    async def by_itself(self, decision: Decision) -> None:
        """GroupError or StateError: the node stays where it was."""
        async with self._one_at_a_time:
            order = move_order(
                decision,
                self._current_group.charter,
                self._finder.directory,
                self._workload.found,
                # The system's randomness: two founders must not meet by chance in one group.
                secrets.token_bytes,
                trio.current_time(),
            )
            await self._driver.carry_out(order)
