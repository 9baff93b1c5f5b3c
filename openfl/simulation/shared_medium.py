"""`SharedMedium`: for hundreds of nodes, whose registers are in one `Ledger`.

Sessions do their rounds and publish as ever, by the real code; only deltas travel. A delivery is
the moment at which a delta counts for a receiver. What is modelled instead of run: heartbeats and
repair (a lost delta is noticed with the next heartbeat of anybody, and pulled), and a newcomer's
snapshot (it brings everything published so far, at once). There is one group, without partitions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import ModelView
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.fetcher import fault_name
from openfl.group.missing_deltas import UNDER_WAY_SECONDS
from openfl.group.screening import AggregationSettings
from openfl.group.settings import SessionSettings
from openfl.simulation.ledger import Ledger
from openfl.simulation.medium import Handle
from openfl.simulation.member import SimulatedMember
from openfl.simulation.shared_replica import SharedReplica
from openfl.simulation.state import RunState
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire

SILENCE_SECONDS = 1e9
"""Interval of the heartbeats that are not simulated."""
SETTLE_EVERY = 256
"""Deltas between two times that the ledger forgets what has reached everybody."""


class SharedMedium:
    """A `Medium`; see the module's text."""

    def __init__(self, state: RunState, handle: Handle) -> None:
        nodes = len(state.members)
        self._state = state
        self._handle = handle
        self._charter = state.members[0].charter
        self._ledger = Ledger(self._charter, nodes)
        self._there: NDArray[np.bool_] = np.zeros(nodes, dtype=np.bool_)
        self._published = 0

    def settings(self, usual: SessionSettings) -> SessionSettings:
        """Without heartbeats, and by the plain mean: judging needs registers of one's own."""
        return replace(
            usual,
            heartbeat_seconds=SILENCE_SECONDS,
            wait_for_members=1,
            assumed_members=len(self._state.members),
            aggregation=AggregationSettings(rule="mean"),
        )

    def replica(
        self, member: SimulatedMember, limits: ReplicaLimits, fetched: Replica | None
    ) -> Replica:
        """A window on the ledger."""
        clock = self._state.agenda
        return SharedReplica(self._ledger, member.index, member.peer_id, lambda: clock.now, limits)

    def starting(self, member: SimulatedMember) -> None:
        """It is a receiver from now on."""
        self._there[member.index] = True

    def started(self, member: SimulatedMember) -> None:
        """One sign of life of somebody else, so that the member knows that it is not alone."""
        members = self._state.members
        other = members[(member.index + 1) % len(members)].peer_id
        greeting = wire.encode_gossip(wire.Announce(bytes(32), 1, 1, 1))
        self._handle(member, ev.GossipReceived(other, other, greeting))

    def ended(self, member: SimulatedMember) -> None:
        """It is no receiver any more."""
        self._there[member.index] = False

    def connect(self) -> None:
        """There are no connections."""

    def publish(self, sender: SimulatedMember, payload: bytes) -> None:
        """Note in the ledger when the sender's latest delta counts for whom."""
        state = self._state
        state.agenda.note("publish", sender.index, payload)
        receivers = np.flatnonzero(self._there)
        receivers = receivers[receivers != sender.index]
        count = len(receivers)
        state.gossip_bytes += len(payload) * count
        state.deliveries += count
        if sender.attacking and not self._passes(sender, payload, count):
            return
        first = state.links.published(state.now, len(payload), count).first
        lost = np.flatnonzero(np.isinf(first))
        if len(lost):
            first[lost] = state.now + self._repair(len(lost), int(self._there.sum()))
        arrivals = np.full(len(state.members), -np.inf)
        arrivals[receivers] = first
        self._ledger.send(sender.index, arrivals)
        self._published += 1
        if self._published % SETTLE_EVERY == 0:
            self._ledger.settle(state.now)

    def view(self, member: SimulatedMember) -> ModelView:
        """The sums of the ledger, less what has not reached the member."""
        return member.running.replica.view()

    def saved(self, member: SimulatedMember) -> SavedMembership | None:
        """Nothing: nobody returns."""
        return None

    def merged(self) -> int:
        """As the ledger has counted."""
        return self._ledger.arrived(self._state.now)

    def _passes(self, sender: SimulatedMember, payload: bytes, receivers: int) -> bool:
        """Whether what an attacker sends passes the checks that every receiver makes."""
        reader = self._state.reader
        try:
            message = reader.gossip(payload)
            if isinstance(message, wire.InlineDelta):
                _, body = sender.sealer.open(wire.DELTA_TYPE, message.envelope)
                reader.validate(reader.delta(body), self._charter)
        except RemoteError as error:
            self._state.refused[fault_name(error)] += receivers
            return False
        return True

    def _repair(self, count: int, members: int) -> NDArray[np.float64]:
        """float64[count]: how long until a lost delta is noticed and pulled, in a group of so many
        members."""
        state = self._state
        heartbeat = state.scenario.network.heartbeat_seconds / max(1, members)
        noticed = state.rng.exponential(heartbeat, count)
        pause = UNDER_WAY_SECONDS * (0.5 + state.rng.random(count))
        usual = state.links.published(0.0, 0, count).first
        noticed += np.where(np.isfinite(usual), usual, 0.0)
        return np.asarray(noticed + pause + state.links.round_trips(count))
