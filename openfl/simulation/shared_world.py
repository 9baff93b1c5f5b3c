"""`SharedWorld`: the driver for hundreds of nodes, whose registers are in one `Ledger`.

Sessions do their rounds and publish as ever, by the real code; only deltas travel. A delivery is
the moment at which a delta counts for a receiver. What is modelled instead of run: heartbeats and
repair (a lost delta is noticed with the next heartbeat of anybody, and pulled), and a newcomer's
snapshot (it brings everything published so far, at once).
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
from openfl.group.missing_deltas import FIRST_PAUSE_SECONDS
from openfl.group.screening import AggregationSettings
from openfl.group.settings import SessionSettings
from openfl.simulation.ledger import Ledger
from openfl.simulation.member import SimulatedMember
from openfl.simulation.shared_replica import SharedReplica
from openfl.simulation.world import World
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire

SILENCE_SECONDS = 1e9
"""Interval of the heartbeats that are not simulated."""
SETTLE_EVERY = 256


class SharedWorld(World):
    """See the module's text."""

    def run(self) -> None:
        self._ledger = Ledger(self.charter, len(self.members))
        self._there: NDArray[np.bool_] = np.zeros(len(self.members), dtype=np.bool_)
        self._published = 0
        super().run()

    def _settings(self, member: SimulatedMember) -> SessionSettings:
        return replace(
            super()._settings(member),
            heartbeat_seconds=SILENCE_SECONDS,
            wait_for_members=1,
            aggregation=AggregationSettings(rule="mean"),  # judging needs registers of one's own
        )

    def _new_replica(self, member: SimulatedMember, limits: ReplicaLimits) -> Replica:
        return SharedReplica(self._ledger, member.index, member.peer_id, lambda: self.now, limits)

    def _start(self, member: SimulatedMember) -> None:
        self._there[member.index] = True
        super()._start(member)
        # One sign of life of somebody else, so that the member knows that it is not alone.
        other = self.members[(member.index + 1) % len(self.members)].peer_id
        greeting = wire.encode_gossip(wire.Announce(bytes(32), 1, 1, 1))
        self._handle(member, ev.GossipReceived(other, other, greeting))

    def _end(self, member: SimulatedMember) -> None:
        self._there[member.index] = False
        super()._end(member)

    def _reconnect(self) -> None:
        """There are no connections."""

    def _saved(self, member: SimulatedMember) -> SavedMembership | None:
        return None

    def _view(self, member: SimulatedMember) -> ModelView:
        assert member.session is not None
        return member.session.replica.view()

    def _merged(self) -> int:
        return self._ledger.arrived(self.now)

    def _publish(self, sender: SimulatedMember, payload: bytes) -> None:
        self._note("publish", sender.index, payload)
        receivers = np.flatnonzero(self._there)
        receivers = receivers[receivers != sender.index]
        count = len(receivers)
        self._network_bytes += len(payload) * count
        self.deliveries += count
        if sender.attacking and not self._holds(sender, payload, count):
            return
        first = self._links.published(self.now, len(payload), count).first
        lost = np.flatnonzero(np.isinf(first))
        if len(lost):
            first[lost] = self.now + self._repair(len(lost))
        arrivals = np.full(len(self.members), -np.inf)
        arrivals[receivers] = first
        self._ledger.send(sender.index, arrivals)
        self._published += 1
        if self._published % SETTLE_EVERY == 0:
            self._ledger.settle(self.now)

    def _holds(self, sender: SimulatedMember, payload: bytes, receivers: int) -> bool:
        """Whether what an attacker sends passes the checks that every receiver makes."""
        try:
            message = self._reader.gossip(payload)
            if isinstance(message, wire.InlineDelta):
                _, body = sender.sealer.open(wire.DELTA_TYPE, message.envelope)
                self._reader.validate(self._reader.delta(body), self.charter)
        except RemoteError as error:
            self.faults[fault_name(error)] += receivers
            return False
        return True

    def _repair(self, count: int) -> NDArray[np.float64]:
        """float64[count]: how long until a lost delta is noticed and pulled."""
        heartbeat = self.scenario.network.heartbeat_seconds / max(1, int(self._there.sum()))
        noticed = self._rng.exponential(heartbeat, count)
        pause = FIRST_PAUSE_SECONDS * (0.5 + self._rng.random(count))
        usual = self._links.published(0.0, 0, count).first
        noticed += np.where(np.isfinite(usual), usual, 0.0)
        return np.asarray(noticed + pause + self._links.round_trips(count))
