"""`World`: the discrete-event driver. It does for many sessions on virtual time what
`openfl.node.membership` does for one on trio's clock.

The run is a function of scenario, data and seed (see `agenda`). Sessions are called directly (they
are pure state machines); their effects are carried out here: a published message is planned at
every other member at a sampled moment, requests take a sampled way there and back, training is done
at once and its result handed over after its virtual cost.

Time 0 of the records is when the last of the first members has begun its rounds.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from openfl.aggregation.member_judge import Influence
from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import (
    Charter,
    Contribution,
    Evaluation,
    GroupId,
    ModelView,
    PeerId,
)
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.reader import Reader, StrictReader
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings
from openfl.network.base import Sealer
from openfl.simulation.agenda import Agenda
from openfl.simulation.connections import connections
from openfl.simulation.happenings import Doings, happen
from openfl.simulation.links import Links
from openfl.simulation.measuring import measure
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import RoundRecord
from openfl.simulation.requests import Request, Requests
from openfl.simulation.scenario import Happening, Scenario
from openfl.simulation.sealing import OnceReader, OnceSealer
from openfl.simulation.session_settings import session_settings
from openfl.simulation.trainer import Trainer
from openfl.storage.membership import SavedMembership

START_SPREAD_SECONDS = 0.5
"""First members start within this time."""
PATIENCE_HEARTBEATS = 20
"""The run begins after so many heartbeats even if not all first members have begun."""
NOTICE_SECONDS = 0.25
"""A node sees so late that a connection came or went."""
EVALUATION_SECONDS = 0.01
MAX_WAITED_FOR = 500


class World:
    """`central`: how central training does on the test ratings of each node, by index."""

    def __init__(
        self,
        scenario: Scenario,
        charter: Charter,
        members: Sequence[SimulatedMember],
        central: Mapping[int, Evaluation],
        on_record: Callable[[RoundRecord], None],
    ) -> None:
        self.scenario = scenario
        self.charter = charter
        """Of the group, or the first of several."""
        self.members = list(members)
        self._agenda = Agenda()
        self._plan, self._note = self._agenda.plan, self._agenda.note
        self.deliveries = 0
        """Messages handed to a member: what a simulation's cost is measured by."""
        self.faults: Counter[str] = Counter()
        self.records: list[RoundRecord] = []
        self._central = central
        self._on_record = on_record
        self._interval = scenario.training.interval_seconds
        seed = scenario.run.seed
        self._rng = np.random.default_rng([seed, 3])
        self._trainer = Trainer(
            scenario, self.members, self._agenda, self._rng, self._view, self._trained
        )
        self._doings = Doings(self._start, self._leave, self._crash, self._reconnect)
        self._links = Links(scenario.network, self._interval, np.random.default_rng([seed, 5]))
        self._by_peer = {member.peer_id: member for member in self.members}
        self._requests = Requests(
            self._agenda, self._links, lambda peer: self._by_peer[peer], self._respond
        )
        self._once = scenario.network.wire == "once"
        self._reader: Reader = OnceReader() if self._once else StrictReader()
        self._opened: OrderedDict[bytes, tuple[bytes, PeerId, bytes]] = OrderedDict()
        self._began: float | None = None
        self._network_bytes = 0

    # --- the run ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything until the last record."""
        first = self.members[: len(self.members) - self.scenario.joiners]
        for member in first:
            self._plan(float(self._rng.random()) * START_SPREAD_SECONDS, self._start, member)
        patience = PATIENCE_HEARTBEATS * self.scenario.network.heartbeat_seconds
        self._plan(patience, self._begin)
        self._first_of_group = Counter(member.charter.group_id for member in first)
        self._waited_for = len(first)
        self._agenda.run()

    @property
    def now(self) -> float:
        """Virtual seconds since the first member started."""
        return self._agenda.now

    @property
    def trace(self) -> str:
        """A digest of everything that has happened, in order."""
        return self._agenda.trace

    @property
    def time(self) -> float:
        """Virtual seconds since all first members had begun."""
        return 0.0 if self._began is None else self.now - self._began

    def present(self) -> list[SimulatedMember]:
        return [member for member in self.members if member.alive]

    def _listening(self) -> list[SimulatedMember]:
        """Everybody that hears its group and can be connected to."""
        return self.present()

    def _begin(self) -> None:
        """The clock of the records starts."""
        if self._began is not None:
            return
        self._began = self.now
        for number in range(1, self.scenario.run.rounds + 1):
            self._plan(self._began + number * self._interval, self._tick, number)
        for event in self.scenario.events:
            self._plan(self._began + event.at_round * self._interval, self._happen, event)
        if self.scenario.training.lockstep:
            self._trainer.train_in_step(self.members)

    def _tick(self, number: int) -> None:
        self._record(number)
        if number == self.scenario.run.rounds:
            self._agenda.end()
        elif self.scenario.training.lockstep:
            self._trainer.train_in_step(self.members)

    def _record(self, number: int) -> None:
        record = measure(number, self.time, self.members, self._view, self._central)
        record = replace(
            record,
            network_bytes=self._network_bytes + self._requests.bytes_carried,
            merged=self._merged(),
            refused=sum(self.all_faults().values()),
        )
        record = self._completed(record)
        self._note("record", number, struct.pack("<d", record.test.pooled))
        self.records.append(record)
        self._on_record(record)

    def _completed(self, record: RoundRecord) -> RoundRecord:
        """The record with what only some worlds have to tell."""
        return record

    def _merged(self) -> int:
        return sum(member.merged for member in self.members)

    def all_faults(self) -> dict[str, int]:
        """What was refused, by name, over all members."""
        total = Counter(self.faults)
        for member in self.members:
            if member.session is not None:
                total.update(member.session.faults)
        return dict(sorted(total.items()))

    # --- members come and go ----------------------------------------------------------------------

    def _settings(self, member: SimulatedMember) -> SessionSettings:
        first = self._first_of_group[member.charter.group_id]
        wanted = 1 if self._began is not None else min(first, MAX_WAITED_FOR)
        return session_settings(self.scenario, len(self.members), wanted)

    def _new_replica(self, member: SimulatedMember, limits: ReplicaLimits) -> Replica:
        return Replica(member.charter, limits)

    def _sealer(self, member: SimulatedMember) -> Sealer:
        return OnceSealer(member.sealer, self._opened) if self._once else member.sealer

    def _start(self, member: SimulatedMember) -> None:
        settings = self._settings(member)
        sealer = self._sealer(member)
        member.epochs += 1
        round_number = 0
        if member.saved is not None:
            replica, _ = member.saved.rebuild(sealer, settings.limits, self.now)
            round_number = member.saved.round
            member.saved = None
        else:
            replica = self._new_replica(member, settings.limits)
        seed = [self.scenario.run.seed, 6, member.index, member.epochs]
        member.session = GroupSession(
            replica,
            sealer,
            settings,
            np.random.default_rng(seed),
            member.epochs,
            train_examples=member.task.train_examples,
            round_number=round_number,
            reader=self._reader,
        )
        member.alive = member.was_there = True
        self._note("start", member.index)
        member.session.start(self.now)
        self._reconnect()
        alone = not any(m is not member and m.place == member.place for m in self._listening())
        self._handle(member, ev.DiscoveryEnded(alone))

    def _end(self, member: SimulatedMember) -> None:
        if member.session is not None:
            self.faults.update(member.session.faults)
        member.end_session()
        self._reconnect()

    def _reconnect(self) -> None:
        groups: dict[GroupId, list[SimulatedMember]] = {}
        for member in self._listening():
            groups.setdefault(member.charter.group_id, []).append(member)
        for present in groups.values():
            links = connections(present, self.scenario.network.contacts, self._rng)
            for member in present:
                now = links[member.peer_id]
                if now != member.reachable:
                    member.reachable = now
                    at = self.now + NOTICE_SECONDS
                    self._plan(at, self._tell_reachable, member, member.incarnation)

    def _tell_reachable(self, member: SimulatedMember, incarnation: int) -> None:
        if member.lives(incarnation):
            self._handle(member, ev.MembersReachable(member.reachable))

    def _happen(self, event: Happening) -> None:
        self._note(event.what, 0)
        happen(event, self.members, self._rng, self._doings)

    def _leave(self, member: SimulatedMember) -> None:
        self._handle(member, ev.LeaveRequested())
        self._end(member)

    def _crash(self, member: SimulatedMember) -> None:
        member.saved = self._saved(member)
        self._end(member)

    def _saved(self, member: SimulatedMember) -> SavedMembership | None:
        """What a node that is killed now would find on its disk."""
        session = member.session
        assert session is not None
        return SavedMembership.of(session.replica, session.epoch, session.round, (), {}, self.now)

    # --- events in, effects out -------------------------------------------------------------------

    def _handle(self, member: SimulatedMember, event: ev.Event) -> list[ev.Effect]:
        session = member.session
        assert session is not None
        effects = session.handle(event, self.now)
        for effect in effects:
            match effect:
                case ev.Publish():
                    self._publish(member, effect.payload)
                case ev.Request():
                    self._request(member, effect)
                case ev.Train():
                    self._trainer.train(member, effect)
                case ev.Evaluate():
                    found = member.task.evaluate(effect.model)
                    case = effect.case
                    influence = {} if case is None else case.judge(member.task)
                    self._plan(
                        self.now + EVALUATION_SECONDS,
                        self._later,
                        member,
                        member.incarnation,
                        ev.EvaluationFinished(found, influence),
                    )
                case ev.Penalize():
                    self.faults["penalized"] += 1
                case ev.Judge() | ev.Respond() | ev.Save() | ev.Tell():
                    pass  # judged and answered by whoever handed the event in; nobody watches
        self._keep_time(member)
        if not member.begun and self._is_ready(member):
            member.begun = True
            self._waited_for -= 1
            if not self._waited_for:
                self._begin()
        return effects

    def _is_ready(self, member: SimulatedMember) -> bool:
        if self.scenario.training.lockstep:
            return member.held is not None
        return member.session is not None and member.session.phase == "learning"

    def _later(self, member: SimulatedMember, incarnation: int, event: ev.Event) -> None:
        if member.lives(incarnation):
            self._handle(member, event)

    def _keep_time(self, member: SimulatedMember) -> None:
        assert member.session is not None
        wake = member.session.next_wake
        if wake < member.wake_at:
            member.wake_at = max(wake, self.now)
            self._plan(member.wake_at, self._wake, member, member.incarnation, member.wake_at)

    def _wake(self, member: SimulatedMember, incarnation: int, at: float) -> None:
        if not member.lives(incarnation) or at != member.wake_at:
            return
        member.wake_at = float("inf")
        assert member.session is not None
        if member.session.next_wake <= self.now:
            self._note("wake", member.index)
            self._handle(member, ev.TimerFired())
        else:
            self._keep_time(member)

    # --- messages ---------------------------------------------------------------------------------

    def _publish(self, sender: SimulatedMember, payload: bytes) -> None:
        self._note("publish", sender.index, payload)
        place = sender.place
        receivers = [m for m in self._listening() if m is not sender and m.place == place]
        arrivals = self._links.published(self.now, len(payload), len(receivers))
        self._network_bytes += len(payload) * int(np.isfinite(arrivals.first).sum())
        for times in (arrivals.first, arrivals.again):
            for receiver, at in zip(receivers, times.tolist(), strict=True):
                if at != float("inf"):
                    self._plan(
                        at, self._deliver, receiver, receiver.incarnation, sender.peer_id, payload
                    )

    def _deliver(
        self, member: SimulatedMember, incarnation: int, author: PeerId, payload: bytes
    ) -> None:
        if not member.lives(incarnation):
            return
        self.deliveries += 1
        # Relays are not modelled: whoever is connected first stands for the one that passed it on.
        relay = min(member.reachable, default=author)
        self._note("hear", member.index, payload[-64:])
        self._handle(member, ev.GossipReceived(author, relay, payload))

    def _request(self, asker: SimulatedMember, effect: ev.Request) -> None:
        self._note("ask", asker.index, effect.payload)
        self._requests.send(
            Request(asker, effect.peer, effect.protocol, effect.payload),
            effect.timeout_seconds,
            partial(self._answered, asker, asker.incarnation, effect),
        )

    def _answered(
        self, asker: SimulatedMember, incarnation: int, effect: ev.Request, answer: bytes | None
    ) -> None:
        event: ev.Event = ev.RequestFailed(effect.token, effect.peer, "no answer")
        if answer is not None:
            event = ev.AnswerReceived(effect.token, effect.peer, answer)
        self._later(asker, incarnation, event)

    def _respond(
        self, asked: SimulatedMember, asker: PeerId, protocol: str, payload: bytes
    ) -> bytes | None:
        """What a member answers to a request; None: nothing."""
        try:
            effects = self._handle(asked, ev.RequestReceived(asker, protocol, payload))
        except RemoteError:
            return None
        return next((e.payload for e in effects if isinstance(e, ev.Respond)), None)

    # --- training ---------------------------------------------------------------------------------

    def _view(self, member: SimulatedMember) -> ModelView:
        """The model that the member has now."""
        assert member.session is not None
        return member.session.model()

    def _trained(
        self,
        member: SimulatedMember,
        work: Contribution,
        validation: Evaluation,
        influence: Mapping[PeerId, Influence],
    ) -> None:
        if member.sends_nan:
            self._publish(member, member.nan_message(work))
            work = replace(work, blocks=())
        self._note("trained", member.index)
        self._handle(member, ev.TrainingFinished(work, validation, influence))
        self._round_done(member)

    def _round_done(self, member: SimulatedMember) -> None:
        """The member has done another round."""
