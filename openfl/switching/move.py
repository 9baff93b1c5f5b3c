"""`Move`: to another group, in one transaction, as a pure state machine.

First the new group's snapshot is fetched, from outside: whatever fails until then leaves the node
where it was, and the new group never hears of it. Then one file on disk is replaced: before, the
node is a member of the old group; after, of the new one, and it owes the old group a `Leave`. Only
then is the new group joined and the old one left. A node that ends in between goes on from
whichever of the two that file names, and says what it owes.

    fetching --> opening --> saving --> committing --> over

Effects are carried out in order, and one that answers with an event is the last of its list: no
step begins before the one before it has ended. Where in this order a node may be killed is said by
`Reached`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import GroupId
from openfl.core.errors import GroupError, UserError
from openfl.group import events as ev
from openfl.switching.events import (
    Commit,
    End,
    Enter,
    Fetched,
    FetchSeed,
    Forget,
    Leave,
    M,
    Moved,
    MoveEffect,
    MoveEvent,
    NotFetched,
    NotMoved,
    NotOpened,
    NotWritten,
    Open,
    Opened,
    OweLeave,
    Reached,
    SaveMembership,
    SaveStanding,
    SettleLeave,
    TakePart,
    Written,
)
from openfl.switching.seed import MoveOrder, Seed


@dataclass(frozen=True, slots=True)
class _Fetching:
    """The new group's snapshot."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """A membership of the new group, which nobody knows of yet."""


@dataclass(frozen=True, slots=True)
class _Saving(Generic[M]):
    new: M


@dataclass(frozen=True, slots=True)
class _Committing(Generic[M]):
    new: M


@dataclass(frozen=True, slots=True)
class _Over:
    """Carried out, or given up."""


_State = _Fetching | _Opening | _Saving[M] | _Committing[M] | _Over


class Move(Generic[M]):
    """See the module's text. old: the present membership, in the group `old_id`; limits: of a
    founded group's replica."""

    def __init__(
        self, order: MoveOrder, old_id: GroupId, old: M, limits: ReplicaLimits | None = None
    ) -> None:
        self.order = order
        self._old_id = old_id
        self._old = old
        self._limits = limits
        self._state: _State[M] = _Fetching()

    def start(self) -> list[MoveEffect[M]]:
        """Begin; to be called once."""
        charter = self.order.charter
        if self.order.action != "found":
            return [Reached("move-decided"), FetchSeed(charter)]
        founder = Seed(Replica(charter, self._limits), ev.SnapshotGiven(None))
        return [Reached("move-decided"), *self._open(founder)]

    def handle(self, event: MoveEvent[M]) -> list[MoveEffect[M]]:
        """What follows from `event`. ValueError: the move waits for something else."""
        match self._state, event:
            case _Fetching(), Fetched():
                return self._open(Seed.fetched(event.probe, event.peer))
            case _Fetching(), NotFetched():
                name = self.order.charter.name
                text = f"no member of group {name} answers ({event.reason})"
                return self._give_up(GroupError(f"{text}: staying in the old group"))
            case _Opening(), Opened():
                self._state = _Saving(event.membership)
                return [OweLeave(self._old), SaveMembership(event.membership)]
            case _Opening(), NotOpened():
                return self._give_up(event.error)
            case _Saving() as state, Written():
                self._state = _Committing(state.new)
                return [Reached("move-saved"), Commit(self.order)]
            case _Committing() as state, Written():
                return self._go(state.new)
            case ((_Saving() | _Committing()), NotWritten()):
                return [
                    SettleLeave(self._old_id),
                    Forget(self.order.charter.group_id),
                    *self._give_up(event.error),
                ]
        raise ValueError(f"{type(event).__name__} is not what {type(self._state).__name__} is for")

    def _open(self, seed: Seed) -> list[MoveEffect[M]]:
        self._state = _Opening()
        return [Reached("move-fetched"), Open(self.order.charter, seed)]

    def _give_up(self, error: UserError) -> list[MoveEffect[M]]:
        self._state = _Over()
        return [NotMoved(error)]

    def _go(self, new: M) -> list[MoveEffect[M]]:
        """The new group is the one membership from here on, whatever happens."""
        self._state = _Over()
        return [
            Reached("move-committed"),
            # Its epoch is above that of the membership that a leave may be owed for.
            SettleLeave(self.order.charter.group_id),
            Enter(new, self.order),
            TakePart(new),
            Reached("move-subscribed"),
            Leave(self._old),
            Reached("move-left"),
            End(self._old),
            Reached("move-unsubscribed"),
            # What cannot be removed now is removed at the next start; that the disk takes nothing
            # is told when the standing is kept, below.
            Forget(self._old_id),
            Reached("move-forgotten"),
            SettleLeave(self._old_id),
            SaveStanding(),
            Reached("move-finished"),
            Moved(self.order, self._old_id, new),
        ]
