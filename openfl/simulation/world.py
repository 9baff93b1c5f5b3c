"""`World`: the discrete-event driver. It does for many sessions on virtual time what
`openfl.membership` does for one on trio's clock.

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
from typing import cast

import numpy as np

from openfl.aggregation.delta import Delta
from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.aggregation.robust_view import Rule
from openfl.aggregation.screening import Influence
from openfl.contribution import (
    Charter,
    Contribution,
    Evaluation,
    GroupId,
    ModelView,
    PeerId,
)
from openfl.errors import RemoteError
from openfl.group import events as ev
from openfl.group.reader import Reader, StrictReader
from openfl.group.screening import AggregationSettings
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings
from openfl.membership_state import SavedMembership
from openfl.network.base import Sealer
from openfl.simulation.agenda import Agenda
from openfl.simulation.attacks import nan_blocks
from openfl.simulation.connections import connections
from openfl.simulation.links import Links
from openfl.simulation.member import SimulatedMember, pick
from openfl.simulation.records import Fits, RoundRecord
from openfl.simulation.scenario import Happening, Scenario
from openfl.simulation.sealing import OnceReader, OnceSealer
from openfl.wire import messages as wire

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
        self.faults: dict[str, int] = {}
        self.records: list[RoundRecord] = []
        self._central = central
        self._on_record = on_record
        self._interval = scenario.training.interval_seconds
        seed = scenario.run.seed
        self._rng = np.random.default_rng([seed, 3])
        self._step_rngs = [np.random.default_rng([seed, 4, m.index]) for m in self.members]
        self._links = Links(scenario.network, self._interval, np.random.default_rng([seed, 5]))
        self._by_peer = {member.peer_id: member for member in self.members}
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
            self._train_in_step()

    def _tick(self, number: int) -> None:
        self._record(number)
        if number == self.scenario.run.rounds:
            self._agenda.end()
        elif self.scenario.training.lockstep:
            self._train_in_step()

    def _record(self, number: int) -> None:
        present = self.present()
        judged = [m for m in present if m.honest and m.session is not None]
        views = [(m, self._view(m)) for m in judged]
        test = Fits.of([m.task.evaluate(view, "test") for m, view in views])
        central = Fits.of([self._central[m.index] for m in judged])
        ever = [m for m in self.members if m.was_there]
        record = RoundRecord(
            round=number,
            time=self.time,
            rounds_done=float(np.mean([m.session.round for m in present if m.session] or [0])),
            validation=Fits.of([m.task.evaluate(view) for m, view in views]),
            test=test,
            against_central=test.pooled / central.pooled - 1,
            published_bytes=float(np.mean([m.published_bytes for m in ever] or [0])),
            network_bytes=self._network_bytes,
            members=len(present),
            groups=dict(sorted(Counter(m.charter.name for m in present).items())),
            merged=self._merged(),
            refused=sum(self._all_faults().values()),
        )
        record = self._completed(record)
        self._note("record", number, struct.pack("<d", test.pooled))
        self.records.append(record)
        self._on_record(record)

    def _completed(self, record: RoundRecord) -> RoundRecord:
        """The record with what only some worlds have to tell."""
        return record

    def _merged(self) -> int:
        return sum(member.merged for member in self.members)

    def _all_faults(self) -> dict[str, int]:
        total = dict(self.faults)
        for member in self.members:
            if member.session is not None:
                for name, count in member.session.faults.items():
                    total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))

    def all_faults(self) -> dict[str, int]:
        """What was refused, by name, over all members."""
        return self._all_faults()

    # --- members come and go ----------------------------------------------------------------------

    def _settings(self, member: SimulatedMember) -> SessionSettings:
        training, network = self.scenario.training, self.scenario.network
        first = self._first_of_group[member.charter.group_id]
        # In lockstep members ask for their next round early and are held until its moment.
        pace = 0.5 if training.lockstep else 1.0
        return SessionSettings(
            interval_seconds=pace * training.interval_seconds,
            row_fraction=training.row_fraction,
            refresh_fraction=training.refresh_fraction,
            heartbeat_seconds=network.heartbeat_seconds,
            aggregation=AggregationSettings(rule=cast(Rule, training.rule)),
            wait_for_members=1 if self._began is not None else min(first, MAX_WAITED_FOR),
            limits=ReplicaLimits(
                max_members=max(4096, len(self.members)),
                member_ttl_seconds=network.member_ttl_seconds,
            ),
        )

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
            for name, count in member.session.faults.items():
                self.faults[name] = self.faults.get(name, 0) + count
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
        if member.alive and member.incarnation == incarnation:
            self._handle(member, ev.MembersReachable(member.reachable))

    def _happen(self, event: Happening) -> None:
        self._note(event.what, 0)
        count = event.how_many(len(self.members))
        match event.what:
            case "join":
                for member in pick(self.members, count, lambda m: not m.was_there, self._rng):
                    member.side = 0
                    self._start(member)
            case "return":
                for member in pick(self.members, count, lambda m: m.saved is not None, self._rng):
                    self._start(member)
            case "leave":
                for member in self._some_present(count):
                    self._handle(member, ev.LeaveRequested())
                    self._end(member)
            case "crash":
                for member in self._some_present(count):
                    member.saved = self._saved(member)
                    self._end(member)
            case "partition":
                order = self._rng.permutation(len(self.members))
                for place, index in enumerate(order):
                    self.members[index].side = place * event.parts // len(order)
                self._reconnect()
            case "heal":
                for member in self.members:
                    member.side = 0
                self._reconnect()

    def _some_present(self, count: int) -> list[SimulatedMember]:
        count = min(count, len(self.present()) - 1)
        return pick(self.members, count, lambda m: m.alive, self._rng)

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
                    self._train(member, effect)
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
                    self.faults["penalized"] = self.faults.get("penalized", 0) + 1
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
        if member.alive and member.incarnation == incarnation:
            self._handle(member, event)

    def _keep_time(self, member: SimulatedMember) -> None:
        assert member.session is not None
        wake = member.session.next_wake
        if wake < member.wake_at:
            member.wake_at = max(wake, self.now)
            self._plan(member.wake_at, self._wake, member, member.incarnation, member.wake_at)

    def _wake(self, member: SimulatedMember, incarnation: int, at: float) -> None:
        if not member.alive or member.incarnation != incarnation or at != member.wake_at:
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
        if not member.alive or member.incarnation != incarnation:
            return
        self.deliveries += 1
        # Relays are not modelled: whoever is connected first stands for the one that passed it on.
        relay = min(member.reachable, default=author)
        self._note("hear", member.index, payload[-64:])
        self._handle(member, ev.GossipReceived(author, relay, payload))

    def _request(self, asker: SimulatedMember, effect: ev.Request) -> None:
        self._note("ask", asker.index, effect.payload)
        self._network_bytes += len(effect.payload)
        way = self._links.one_way(len(effect.payload))
        deadline = self.now + effect.timeout_seconds
        self._plan(self.now + way, self._answer, asker, asker.incarnation, effect, deadline)

    def _answer(
        self, asker: SimulatedMember, incarnation: int, effect: ev.Request, deadline: float
    ) -> None:
        asked = self._by_peer[effect.peer]
        event: ev.Event = ev.RequestFailed(effect.token, effect.peer, "no answer")
        at = deadline
        if asked.alive and asked.side == asker.side:
            answer = self._respond(asked, asker.peer_id, effect.protocol, effect.payload)
            if answer is not None:
                arrives = self.now + self._links.one_way(len(answer))
                if arrives <= deadline:
                    at = arrives
                    event = ev.AnswerReceived(effect.token, effect.peer, answer)
                self._network_bytes += len(answer)
        self._plan(max(at, self.now), self._later, asker, incarnation, event)

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

    def _train(self, member: SimulatedMember, effect: ev.Train) -> None:
        if self.scenario.training.lockstep:
            member.held = effect
        else:
            self._train_unless_out(member, member.incarnation, effect.model, effect.case)

    def _train_in_step(self) -> None:
        for member in self.members:
            if member.alive and member.held is not None and self._takes_part():
                case, member.held = member.held.case, None
                self._work(member, self._view(member), case)

    def _train_unless_out(
        self,
        member: SimulatedMember,
        incarnation: int,
        view: ModelView | None,
        case: ev.Judging | None,
    ) -> None:
        if not member.alive or member.incarnation != incarnation:
            return
        if self._takes_part():
            self._work(member, view if view is not None else self._view(member), case)
        else:  # sits this round out
            at = self.now + self._interval
            self._plan(at, self._train_unless_out, member, incarnation, None, case)

    def _takes_part(self) -> bool:
        active = self.scenario.members.active
        return active >= 1 or float(self._rng.random()) < active

    def _work(self, member: SimulatedMember, view: ModelView, case: ev.Judging | None) -> None:
        """Train now; the result counts after the time that training takes."""
        validation = member.task.evaluate(view)
        work = member.step(view, self._step_rngs[member.index])
        influence = {} if case is None else case.judge(member.task)
        cost = self.scenario.training.step_seconds
        if member.straggler:
            cost += self.scenario.members.straggler_rounds * self._interval
        self._plan(
            self.now + cost, self._trained, member, member.incarnation, work, validation, influence
        )

    def _trained(
        self,
        member: SimulatedMember,
        incarnation: int,
        work: Contribution,
        validation: Evaluation,
        influence: Mapping[PeerId, Influence],
    ) -> None:
        if not member.alive or member.incarnation != incarnation:
            return
        if member.hostility is not None and member.hostility.kind.sends_nan and member.attacking:
            self._publish(member, self._nan_message(member, work))
            work = replace(work, blocks=())
        self._note("trained", member.index)
        self._handle(member, ev.TrainingFinished(work, validation, influence))
        self._round_done(member)

    def _round_done(self, member: SimulatedMember) -> None:
        """The member has done another round."""

    def _nan_message(self, member: SimulatedMember, work: Contribution) -> bytes:
        """What an honest encoder would refuse to make."""
        assert member.session is not None
        schemas = {table.name: table for table in member.charter.tables}
        delta = Delta(
            group_id=member.charter.group_id,
            epoch=member.session.epoch,
            seqno=member.session.round + 1,
            round=member.session.round + 1,
            examples=member.task.train_examples,
            fit=None,
            blocks=nan_blocks(work, schemas),
        )
        envelope = member.sealer.seal(wire.DELTA_TYPE, wire.encode_delta(delta))
        return wire.encode_gossip(wire.InlineDelta(envelope))
