"""`GroupedMedium`: for thousands of nodes in many groups, each group with a `Ledger` of its own.

As `SharedMedium`, of which this is the kind for several groups, but members come, leave, crash,
return and move. Each membership has a seat of its own in its group's ledger. Beside the ledger a
group has one real replica of everything that was published in it, which stands for the replica of
whoever is asked: requests are answered from it, and a node compares other groups with what it has.

Modelled: a leave reaches everybody at once after the time of a message, and newcomers and those who
are there hear of each other alike. Whoever crashes still counts as present.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.delta import Delta
from openfl.aggregation.outcomes import MemberState, MergeKind, MergeResult, ReplicaLimits
from openfl.aggregation.paging import Cursor, Page
from openfl.aggregation.replica import Replica
from openfl.aggregation.version_vector import Version, VersionVector
from openfl.core.contribution import GroupId, PeerId
from openfl.core.model_view import DenseModel
from openfl.group import events as ev
from openfl.group.settings import SessionSettings
from openfl.simulation.ledger import Ledger
from openfl.simulation.medium import Handle
from openfl.simulation.member import SimulatedMember
from openfl.simulation.shared_medium import SETTLE_EVERY, SharedMedium
from openfl.simulation.shared_replica import SharedReplica
from openfl.simulation.state import RunState
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire

GREETING = wire.encode_gossip(wire.Announce(bytes(32), 1, 1, 1))
"""A sign of life: nothing is asked for, since in a shared replica what is announced is there."""


@dataclass
class SharedGroup:
    """A group's ledger, a replica of everything published, and who sits where (None: nobody any
    more)."""

    ledger: Ledger
    everything: Replica
    seats: list[SimulatedMember | None] = field(default_factory=list)
    published: int = 0
    _states: tuple[int, tuple[MemberState, ...]] = (-1, ())

    def members(self) -> tuple[MemberState, ...]:
        """Of the replica of everything; made again when that has changed."""
        generation = self.everything.generation
        if self._states[0] != generation:
            self._states = (generation, self.everything.members())
        return self._states[1]

    def present(self) -> NDArray[np.int64]:
        """The numbers of the seats that somebody has."""
        taken = (number for number, member in enumerate(self.seats) if member is not None)
        return np.fromiter(taken, dtype=np.int64)


class GroupReplica(SharedReplica):
    """A window on the ledger of one of several groups; see the module's text."""

    def __init__(
        self,
        group: SharedGroup,
        seat: int,
        peer_id: PeerId,
        clock: Callable[[], float],
        limits: ReplicaLimits,
    ) -> None:
        super().__init__(group.ledger, seat, peer_id, clock, limits)
        self._group = group
        self._seat = seat

    def merge(
        self, author: PeerId, delta: Delta, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """Publish an own delta. Those of others arrive through the ledger: NotImplementedError."""
        result = super().merge(author, delta, envelope, now, age_seconds)
        if result.kind is MergeKind.MERGED:
            self._group.everything.merge(author, delta, envelope, now)
        return result

    def leave(
        self, author: PeerId, epoch: int, envelope: bytes, now: float, age_seconds: float = 0.0
    ) -> MergeResult:
        """News, always: the ledger forgets whoever leaves by itself."""
        return MergeResult(MergeKind.MERGED)

    def has_left(self, author: PeerId, epoch: int) -> bool:
        """As everybody knows."""
        return self._group.everything.has_left(author, epoch)

    def view(self) -> DenseModel:
        """The model now; a frozen copy."""
        return self.shared_view().dense()

    def whole(self) -> Replica:
        """The replica of everything."""
        return self._group.everything

    def version_of(self, author: PeerId) -> Version:
        """Of the replica of everything."""
        return self.whole().version_of(author)

    def members(self) -> tuple[MemberState, ...]:
        """Of the replica of everything."""
        return self._group.members()

    @property
    def member_count(self) -> int:
        """Of the replica of everything."""
        return self.whole().member_count

    @property
    def model_rows(self) -> int:
        """Of the replica of everything."""
        return self.whole().model_rows

    @property
    def generation(self) -> int:
        """Of the replica of everything."""
        return self.whole().generation

    def view_without(self, authors: Collection[PeerId]) -> DenseModel:
        """Of the replica of everything."""
        return self.whole().view_without(authors)

    def page(
        self,
        known: VersionVector,
        now: float,
        max_bytes: int,
        cursor: Cursor | None = None,
        authors: Collection[PeerId] | None = None,
    ) -> Page:
        """Of the replica of everything."""
        return self.whole().page(known, now, max_bytes, cursor, authors)


class GroupedMedium(SharedMedium):
    """A `Medium`; see the module's text."""

    def __init__(self, state: RunState, handle: Handle) -> None:
        super().__init__(state, handle)
        self._limits = ReplicaLimits()
        self.groups: dict[GroupId, SharedGroup] = {}
        """Of every group that ever had a member."""

    def settings(self, usual: SessionSettings) -> SessionSettings:
        """As those of one group; members are heard of one by one."""
        self._limits = usual.limits
        return replace(super().settings(usual), assumed_members=0)

    def replica(
        self, member: SimulatedMember, limits: ReplicaLimits, fetched: Replica | None
    ) -> Replica:
        """A window on the ledger of the member's group."""
        group, clock = self._group_of(member), self._state.agenda
        return GroupReplica(group, self._seat(member), member.peer_id, lambda: clock.now, limits)

    def starting(self, member: SimulatedMember) -> None:
        """It gets a seat. What it taught the group before a crash goes: it is said again."""
        group = self._group_of(member)
        if member.seat is not None:
            group.ledger.leave(member.seat)
        member.seat = group.ledger.admit()
        group.seats.append(member)

    def started(self, member: SimulatedMember) -> None:
        """It and those that are there hear of each other."""
        for other in self._others(member):
            self._say(other, member)
            self._say(member, other)

    def ended(self, member: SimulatedMember) -> None:
        """Its seat is empty."""
        self._group_of(member).seats[self._seat(member)] = None

    def publish(self, sender: SimulatedMember, payload: bytes) -> None:
        """Note in the ledger when the sender's latest delta counts for whom; or that it left."""
        state, group = self._state, self._group_of(sender)
        state.agenda.note("publish", sender.index, payload)
        seats = group.present()
        seats = seats[seats != self._seat(sender)]
        state.gossip_bytes += len(payload) * len(seats)
        state.deliveries += len(seats)
        if sender.attacking and not self._passes(sender, payload, len(seats)):
            return
        message = state.reader.gossip(payload)
        first = state.links.published(state.now, len(payload), len(seats)).first
        if isinstance(message, wire.LeaveNotice):
            self._leave(sender, payload, message.envelope)
            return
        lost = np.flatnonzero(np.isinf(first))
        if len(lost):
            first[lost] = state.now + self._repair(len(lost), len(seats) + 1)
        arrivals = np.full(len(group.seats), -np.inf)
        arrivals[seats] = first
        group.ledger.send(self._seat(sender), arrivals)
        group.published += 1
        if group.published % SETTLE_EVERY == 0:
            group.ledger.settle(state.now)

    def saved(self, member: SimulatedMember) -> SavedMembership | None:
        """Its round; the deltas are in the ledger."""
        session, empty = member.running, Replica(member.charter, self._limits)
        now = self._state.now
        return SavedMembership.of(empty, session.epoch, session.round, (), {}, now)

    def merged(self) -> int:
        """As the ledgers have counted."""
        return sum(group.ledger.arrived(self._state.now) for group in self.groups.values())

    def _group_of(self, member: SimulatedMember) -> SharedGroup:
        charter = member.charter
        group = self.groups.get(charter.group_id)
        if group is None:
            group = SharedGroup(Ledger(charter, 0), Replica(charter, self._limits))
            self.groups[charter.group_id] = group
        return group

    def _seat(self, member: SimulatedMember) -> int:
        if member.seat is None:
            raise RuntimeError(f"node {member.index} has no seat in its group")
        return member.seat

    def _others(self, member: SimulatedMember) -> list[SimulatedMember]:
        seats = self._group_of(member).seats
        return [other for other in seats if other is not None and other is not member]

    def _say(self, speaker: SimulatedMember, hearer: SimulatedMember) -> None:
        if hearer.session is not None:
            peer = speaker.peer_id
            self._handle(hearer, ev.GossipReceived(peer, peer, GREETING))

    def _leave(self, sender: SimulatedMember, payload: bytes, envelope: bytes) -> None:
        group, now = self._group_of(sender), self._state.now
        group.ledger.leave(self._seat(sender))
        group.everything.leave(sender.peer_id, sender.running.epoch, envelope, now)
        for other in self._others(sender):
            at = now + self._state.links.one_way(len(payload))
            self._state.agenda.plan(at, self._hear_leave, sender.peer_id, other, payload)

    def _hear_leave(self, author: PeerId, hearer: SimulatedMember, payload: bytes) -> None:
        if hearer.session is not None:
            self._handle(hearer, ev.GossipReceived(author, author, payload))
