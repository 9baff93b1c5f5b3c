"""What carries messages between simulated members, and where their registers are kept.

`FullMedium` delivers every message to every receiver, which decodes it and merges it into a replica
of its own. `openfl.simulation.shared_medium` keeps the registers of all members in one ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import GroupId, ModelView, PeerId
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.settings import SessionSettings
from openfl.simulation.connections import connections
from openfl.simulation.member import SimulatedMember
from openfl.simulation.state import RunState
from openfl.storage.membership import SavedMembership

NOTICE_SECONDS = 0.25
"""A node sees so late that a connection came or went."""

Handle = Callable[[SimulatedMember, ev.Event], list[ev.Effect]]
"""Hands an event to a member's session and carries out what comes of it."""


class Medium(Protocol):
    """See the module's text. A medium is made of the run's state and of the engine's `Handle`."""

    def settings(self, usual: SessionSettings) -> SessionSettings:
        """What sessions on this medium are told, made of what they usually are."""
        ...

    def replica(
        self, member: SimulatedMember, limits: ReplicaLimits, fetched: Replica | None
    ) -> Replica:
        """The replica of a member that begins. fetched: what it comes with; None: nothing."""
        ...

    def starting(self, member: SimulatedMember) -> None:
        """The member's session is about to start: it hears what is published from now on."""
        ...

    def started(self, member: SimulatedMember) -> None:
        """The member's session runs and has looked for others."""
        ...

    def ended(self, member: SimulatedMember) -> None:
        """The member's session is over."""
        ...

    def connect(self) -> None:
        """Mend connections: members have come, gone or changed sides of a partition."""
        ...

    def publish(self, sender: SimulatedMember, payload: bytes) -> None:
        """Send a gossip message to everybody in the sender's place."""
        ...

    def view(self, member: SimulatedMember) -> ModelView:
        """The model that a member with a running session has now."""
        ...

    def saved(self, member: SimulatedMember) -> SavedMembership | None:
        """What a node that is killed now would find on its disk; None: nothing."""
        ...

    def merged(self) -> int:
        """Deltas of others merged so far, over all members."""
        ...


class FullMedium:
    """Every message goes to every receiver by a path of its own and is read there; members have
    replicas of their own, and connections for requests."""

    def __init__(self, state: RunState, handle: Handle) -> None:
        self._state = state
        self._handle = handle

    def settings(self, usual: SessionSettings) -> SessionSettings:
        """The usual ones."""
        return usual

    def replica(
        self, member: SimulatedMember, limits: ReplicaLimits, fetched: Replica | None
    ) -> Replica:
        """One of its own, empty when it brings none."""
        return Replica(member.charter, limits) if fetched is None else fetched

    def starting(self, member: SimulatedMember) -> None:
        """Nothing to prepare."""

    def started(self, member: SimulatedMember) -> None:
        """It hears of others by their messages."""

    def ended(self, member: SimulatedMember) -> None:
        """Its connections are gone."""
        self.connect()

    def connect(self) -> None:
        """Each group is a random graph; members notice changes a little later."""
        state = self._state
        groups: dict[GroupId, list[SimulatedMember]] = {}
        for member in state.present():
            groups.setdefault(member.charter.group_id, []).append(member)
        for present in groups.values():
            links = connections(present, state.scenario.network.contacts, state.rng)
            for member in present:
                reachable = links[member.peer_id]
                if reachable != member.reachable:
                    member.reachable = reachable
                    at = state.now + NOTICE_SECONDS
                    state.agenda.plan(at, self._tell_reachable, member, member.incarnation)

    def publish(self, sender: SimulatedMember, payload: bytes) -> None:
        """Each receiver hears it once, twice or never, as the network's settings say."""
        state, place = self._state, sender.place
        state.agenda.note("publish", sender.index, payload)
        receivers = [m for m in state.present() if m is not sender and m.place == place]
        arrivals = state.links.published(state.now, len(payload), len(receivers))
        self._count(payload, int(np.isfinite(arrivals.first).sum()))
        for times in (arrivals.first, arrivals.again):
            for receiver, at in zip(receivers, times.tolist(), strict=True):
                if at != float("inf"):
                    state.agenda.plan(
                        at, self._deliver, receiver, receiver.incarnation, sender.peer_id, payload
                    )

    def view(self, member: SimulatedMember) -> ModelView:
        """The model of its session, by its aggregation rule."""
        return member.running.model()

    def saved(self, member: SimulatedMember) -> SavedMembership | None:
        """Its whole replica."""
        session = member.running
        now = self._state.now
        return SavedMembership.of(session.replica, session.epoch, session.round, (), {}, now)

    def merged(self) -> int:
        """As the sessions have counted."""
        return sum(member.merged for member in self._state.members)

    def _count(self, payload: bytes, copies: int) -> None:
        state = self._state
        try:
            kind = type(state.reader.gossip(payload)).__name__
        except RemoteError:  # of an attacker
            kind = "malformed"
        state.gossip_bytes += len(payload) * copies
        state.gossip_by_kind[kind] += len(payload) * copies
        state.published_by_kind[kind] += 1

    def _tell_reachable(self, member: SimulatedMember, incarnation: int) -> None:
        if member.lives(incarnation):
            self._handle(member, ev.MembersReachable(member.reachable))

    def _deliver(
        self, member: SimulatedMember, incarnation: int, author: PeerId, payload: bytes
    ) -> None:
        if not member.lives(incarnation):
            return
        self._state.deliveries += 1
        # Relays are not modelled: whoever is connected first stands for the one that passed it on.
        relay = min(member.reachable, default=author)
        self._state.agenda.note("hear", member.index, payload[-64:])
        self._handle(member, ev.GossipReceived(author, relay, payload))
