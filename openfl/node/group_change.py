"""`GroupChange`: a move to another group is one transaction.

First the new group's snapshot is fetched, from outside: whatever fails until then leaves the node
where it was, and the new group never hears of it. Then one file on disk is replaced: before, the
node is a member of the old group; after, of the new one, and it owes the old group a `Leave`. Only
then is the new group joined and the old one left. A node that ends in between goes on from
whichever of the two that file names, and says what it owes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Charter
from openfl.core.errors import GroupError, StateError
from openfl.group import events as ev
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.fault_points import FaultPoints
from openfl.node.group_finder import GroupFinder
from openfl.node.membership import Membership
from openfl.node.membership_factory import MembershipFactory, Seed
from openfl.node.pending_leaves import PendingLeaves
from openfl.node.scout import Scout
from openfl.node.state_saver import StateSaver
from openfl.node.switcher import Switcher
from openfl.storage.base import NodeStorage, OwedLeave


@dataclass(frozen=True, slots=True)
class Move:
    """To the group of `charter`. `text` tells the owner once it is done; `pin`: and stay there;
    `by_itself`: by the node's own decision."""

    charter: Charter
    action: Literal["switch", "move", "found"]
    text: str
    pin: bool = False
    by_itself: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """See the module's text. take_part: runs a membership, and returns once it is subscribed;
    compare: trains the comparison anew, beside everything else."""

    current_group: CurrentGroup
    factory: MembershipFactory
    scout: Scout
    finder: GroupFinder
    switcher: Switcher
    storage: NodeStorage
    saver: StateSaver
    pending_leaves: PendingLeaves
    take_part: Callable[[Membership], Awaitable[None]]
    compare: Callable[[Membership], None]
    faults: FaultPoints
    log: EventLog

    async def carry_out(self, move: Move) -> None:
        """One at a time. GroupError or StateError: nothing has changed."""
        old = self.current_group.current
        old_id, new_id = old.session.charter.group_id, move.charter.group_id
        self.faults.reach("move-decided")
        seed = await self._seed(move)
        self.faults.reach("move-fetched")
        if self.current_group.stopping:
            raise GroupError("this node is stopping: it stays in its group")
        await self.pending_leaves.fall_silent(new_id)
        new = self.factory.next(move.charter, old.session, seed)
        await self._commit(move, old, new)
        # From here on the new group is the one membership, whatever happens.
        self.faults.reach("move-committed")
        self.saver.settle(new_id)  # this membership's epoch is above that of any earlier one
        self.current_group.enter(new)
        self.switcher.arrived(move.action, move.text, move.pin, move.by_itself)
        await self.take_part(new)
        self.faults.reach("move-subscribed")
        await self._leave(old)
        self.faults.reach("move-finished")
        self.log.tell(
            "info",
            "switched",
            move.text,
            {
                "from": old_id,
                "to": new_id,
                "group": move.charter.name,
                "by_itself": move.by_itself,
            },
        )
        self.finder.changed()
        if not self.current_group.stopping:
            self.compare(new)

    async def _seed(self, move: Move) -> Seed:
        """What the new membership begins with."""
        charter = move.charter
        if move.action == "found":
            return Seed(Replica(charter, self.factory.settings.limits), ev.SnapshotGiven(None))
        fetched = await self.scout.fetch(charter)
        if fetched.probe is None:
            raise GroupError(
                f"no member of group {charter.name} answers ({fetched.reason}):"
                " staying in the old group"
            )
        self.scout.joined(charter.group_id)
        probe = fetched.probe
        return Seed(probe.replica, ev.SnapshotGiven(fetched.peer), probe.admission.all())

    async def _commit(self, move: Move, old: Membership, new: Membership) -> None:
        """Replace the old group on disk by the new one; StateError: the old one is still there."""
        old_id = old.session.charter.group_id
        self.saver.owe(OwedLeave(old_id, old.session.farewell()))
        moves = self.switcher.standing().moves + move.by_itself
        try:
            await self.storage.save(new.saved(), new.session.model())
            self.faults.reach("move-saved")
            await self.saver.save_standing(
                move.charter, moves=moves, rounds_here=0, pinned=move.pin
            )
        except StateError:
            self.saver.settle(old_id)
            with contextlib.suppress(StateError):
                await self.storage.forget(move.charter.group_id)
            raise

    async def _leave(self, old: Membership) -> None:
        """Tell the old group, and forget it."""
        old_id = old.session.charter.group_id
        await old.leave()
        self.faults.reach("move-left")
        await old.end()
        self.faults.reach("move-unsubscribed")
        self.finder.forget_group(old_id)
        # The move is done: what cannot be removed now is removed at the next start, and that the
        # disk takes nothing is told when the standing is saved, below.
        with contextlib.suppress(StateError):
            await self.storage.forget(old_id)
        self.faults.reach("move-forgotten")
        self.saver.settle(old_id)
        await self.saver.save_standing_if_possible()
