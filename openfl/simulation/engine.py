"""`Engine`: runs the sessions of all nodes on virtual time, as `openfl.node.membership` runs one on
trio's clock.

The run is a function of scenario, data and seed (see `agenda`). Sessions are called directly (they
are pure state machines); their effects are carried out here. What is published goes through a
`Medium`, requests take a sampled way there and back, training is done at once and its result handed
over after its virtual cost. A `SwitchDriver` hears what happens to members and may move them to
other groups.

Time 0 of the records is when the last of the first members has begun its rounds.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from openfl.aggregation.member_judge import Influence
from openfl.core.contribution import Contribution, Evaluation, PeerId
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings, SessionStart
from openfl.learning.comparison import Fit, fit_of
from openfl.simulation.courses import Courses
from openfl.simulation.faults import FaultActions, inject
from openfl.simulation.measuring import measure
from openfl.simulation.medium import FullMedium, Handle, Medium
from openfl.simulation.member import SimulatedMember
from openfl.simulation.records import RoundRecord
from openfl.simulation.scenario import Fault, Scenario
from openfl.simulation.session_settings import session_settings
from openfl.simulation.simulated_requests import SimulatedRequest, SimulatedRequests
from openfl.simulation.state import RunState
from openfl.simulation.trainer import Trainer
from openfl.switching.seed import MembershipStart

START_SPREAD_SECONDS = 0.5
"""First members start within this time."""
PATIENCE_HEARTBEATS = 20
"""The run begins after so many heartbeats even if not all first members have begun."""
EVALUATION_SECONDS = 0.01
"""Virtual time that one evaluation takes."""
MAX_WAITED_FOR = 500
"""Members wait for so many others at most before their first round."""

MediumOf = Callable[[RunState, Handle], Medium]
"""How the medium of a run is made: `FullMedium` or `SharedMedium`."""


class SwitchDriver(Protocol):
    """What moves nodes between groups. It hears of each node by the engine, and acts by
    `Engine.start`, `end`, `handle`, `requests` and `state.install`."""

    def begin(self, engine: Engine) -> None:
        """The run is about to begin; nobody has started."""
        ...

    def round_done(self, member: SimulatedMember) -> None:
        """The member has done another round."""
        ...

    def ending(self, member: SimulatedMember) -> None:
        """The member leaves or has crashed: its node is about to be gone, whatever it was at."""
        ...

    def completed(self, record: RoundRecord) -> RoundRecord:
        """The record with what the driver has to tell."""
        ...


class StayPut:
    """The `SwitchDriver` of nodes that never change their group."""

    def begin(self, engine: Engine) -> None:
        """Nothing to prepare."""

    def round_done(self, member: SimulatedMember) -> None:
        """Nothing follows."""

    def ending(self, member: SimulatedMember) -> None:
        """Nothing is under way."""

    def completed(self, record: RoundRecord) -> RoundRecord:
        """As it is."""
        return record


class Engine:
    """One run. central: how central training does on the test data of each node, by index."""

    def __init__(
        self,
        scenario: Scenario,
        members: Sequence[SimulatedMember],
        central: Mapping[int, Evaluation],
        on_record: Callable[[RoundRecord], None] = lambda record: None,
        medium: MediumOf = FullMedium,
        driver: SwitchDriver | None = None,
    ) -> None:
        self.scenario = scenario
        self.state = state = RunState(scenario, members)
        self.medium = medium(state, self.handle)
        self.driver: SwitchDriver = StayPut() if driver is None else driver
        self.requests = SimulatedRequests(state.agenda, state.links, state.member_of, self._respond)
        self.records: list[RoundRecord] = []
        self.courses = Courses(len(members))
        self._central = central
        self._on_record = on_record
        self._interval = scenario.training.interval_seconds
        self._trainer = Trainer(
            scenario, state.members, state.agenda, state.rng, self.medium.view, self._trained
        )
        self._actions = FaultActions(self.start, self._leave, self._crash, self.medium.connect)
        self._plan, self._note = state.agenda.plan, state.agenda.note

    # --- the run ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything until the last record."""
        state = self.state
        self.driver.begin(self)
        first = state.members[: len(state.members) - self.scenario.joiners]
        for member in first:
            self._plan(float(state.rng.random()) * START_SPREAD_SECONDS, self.start, member)
        patience = PATIENCE_HEARTBEATS * self.scenario.network.heartbeat_seconds
        self._plan(patience, self._begin)
        self._first_of_group = Counter(member.charter.group_id for member in first)
        self._waited_for = len(first)
        state.agenda.run()

    @property
    def members(self) -> list[SimulatedMember]:
        """The membership that each node has now, by index of the node."""
        return self.state.members

    @property
    def now(self) -> float:
        """Virtual seconds since the first member started."""
        return self.state.now

    @property
    def trace(self) -> str:
        """A digest of everything that has happened, in order."""
        return self.state.agenda.trace

    def _begin(self) -> None:
        """The clock of the records starts."""
        state = self.state
        if state.began is not None:
            return
        state.began = state.now
        self.courses.note_places(0, state.members)
        for number in range(1, self.scenario.run.rounds + 1):
            self._plan(state.began + number * self._interval, self._tick, number)
        for fault in self.scenario.events:
            self._plan(state.began + fault.at_round * self._interval, self._inject, fault)
        if self.scenario.training.lockstep:
            self._trainer.train_in_step(state.members)

    def _tick(self, number: int) -> None:
        self._record(number)
        if number == self.scenario.run.rounds:
            self.state.agenda.end()
        elif self.scenario.training.lockstep:
            self._trainer.train_in_step(self.state.members)

    def _record(self, number: int) -> None:
        state = self.state
        record = measure(
            number,
            state.time,
            state.members,
            self.medium.view,
            self._central,
            self._judged(number),
            self.courses,
        )
        record = replace(
            record,
            network_bytes=state.gossip_bytes + self.requests.bytes_carried,
            merged=self.medium.merged(),
            refused=sum(state.refused_by_name().values()),
        )
        record = self.driver.completed(record)
        self._note("record", number, struct.pack("<d", record.test.pooled))
        self.records.append(record)
        self._on_record(record)

    def _judged(self, number: int) -> frozenset[int]:
        run, nodes = self.scenario.run, len(self.state.members)
        if not 0 < run.judged < nodes:
            return frozenset(range(nodes))
        rng = np.random.default_rng([run.seed, 17, number])
        return frozenset(rng.choice(nodes, run.judged, replace=False).tolist())

    # --- members come and go ----------------------------------------------------------------------

    def start(self, member: SimulatedMember) -> None:
        """Start the member's session, from its seed or what it had saved when there is any."""
        settings = self._settings(member)
        sealer = self.state.sealer_of(member)
        self.medium.starting(member)
        begin = self._membership_start(member, settings)
        member.epochs = begin.session.epoch
        seed = [self.scenario.run.seed, 6, member.index, member.epochs]
        session = GroupSession(
            begin.replica,
            sealer,
            settings,
            np.random.default_rng(seed),
            replace(begin.session, train_examples=member.task.train_examples),
            reader=self.state.reader,
        )
        member.session = session
        member.alive = member.was_there = True
        self._note("start", member.index)
        session.start(self.now)
        if begin.snapshot is not None:
            self.handle(member, begin.snapshot)
        self.medium.connect()
        others = self.state.present()
        alone = not any(m is not member and m.place == member.place for m in others)
        self.handle(member, ev.DiscoveryEnded(alone))
        self.medium.started(member)

    def _membership_start(
        self, member: SimulatedMember, settings: SessionSettings
    ) -> MembershipStart:
        """With a seed, with what was saved, or with nothing."""
        seeded, saved = member.begins_with, member.saved
        member.begins_with = member.saved = None
        if seeded is not None:
            fetched = self.medium.replica(member, settings.limits, seeded.replica)
            return replace(seeded, replica=fetched)
        epoch = member.epochs + 1
        if saved is None:
            empty = self.medium.replica(member, settings.limits, None)
            return MembershipStart(empty, SessionStart(epoch))
        replica, _ = saved.rebuild(self.state.sealer_of(member), settings.limits, self.now)
        kept = self.medium.replica(member, settings.limits, replica)
        return MembershipStart(kept, SessionStart(epoch, round=saved.round))

    def end(self, member: SimulatedMember) -> None:
        """End the member's session at once; nobody is told."""
        if member.session is not None:
            self.state.refused.update(member.session.faults)
        member.end_session()
        self.medium.ended(member)

    def _settings(self, member: SimulatedMember) -> SessionSettings:
        first = self._first_of_group[member.charter.group_id]
        wanted = 1 if self.state.began is not None else min(first, MAX_WAITED_FOR)
        return self.medium.settings(
            session_settings(self.scenario, len(self.state.members), wanted)
        )

    def _inject(self, fault: Fault) -> None:
        self._note(fault.what, 0)
        inject(fault, self.state.members, self.state.rng, self._actions)

    def _leave(self, member: SimulatedMember) -> None:
        self.handle(member, ev.LeaveRequested())
        self.driver.ending(member)
        self.end(member)

    def _crash(self, member: SimulatedMember) -> None:
        member.saved = self.medium.saved(member)
        self.driver.ending(member)
        self.end(member)

    # --- events in, effects out -------------------------------------------------------------------

    def handle(self, member: SimulatedMember, event: ev.Event) -> list[ev.Effect]:
        """Hand an event to the member's session and carry out its effects, which are returned."""
        effects = member.running.handle(event, self.now)
        for effect in effects:
            match effect:
                case ev.Publish():
                    self.medium.publish(member, effect.payload)
                case ev.Request():
                    self._request(member, effect)
                case ev.Train():
                    self._trainer.train(member, effect)
                case ev.Evaluate():
                    self._evaluate(member, effect)
                case ev.Penalize():
                    self.state.refused["penalized"] += 1
                case ev.Judge() | ev.Respond() | ev.Save() | ev.Tell():
                    pass  # judged and answered by whoever handed the event in; nobody watches
        self.keep_time(member)
        if not member.begun and self._is_ready(member):
            member.begun = True
            self._waited_for -= 1
            if not self._waited_for:
                self._begin()
        return effects

    def keep_time(self, member: SimulatedMember) -> None:
        """Wake the member's session when it next wants to be."""
        wake = member.running.next_wake
        if wake < member.wake_at:
            member.wake_at = max(wake, self.now)
            self._plan(member.wake_at, self._wake, member, member.incarnation, member.wake_at)

    def _is_ready(self, member: SimulatedMember) -> bool:
        if self.scenario.training.lockstep:
            return member.held is not None
        return member.session is not None and member.session.phase == "learning"

    def _evaluate(self, member: SimulatedMember, effect: ev.Evaluate) -> None:
        fit = fit_of(member.task, effect.model)
        case = effect.case
        influence = {} if case is None else case.judge(member.task)
        event = ev.EvaluationFinished(fit.evaluation, influence, fit.losses)
        at = self.now + EVALUATION_SECONDS
        self._plan(at, self._later, member, member.incarnation, event)

    def _later(self, member: SimulatedMember, incarnation: int, event: ev.Event) -> None:
        if member.lives(incarnation):
            self.handle(member, event)

    def _wake(self, member: SimulatedMember, incarnation: int, at: float) -> None:
        if not member.lives(incarnation) or at != member.wake_at:
            return
        member.wake_at = float("inf")
        if member.running.next_wake <= self.now:
            self._note("wake", member.index)
            self.handle(member, ev.TimerFired())
        else:
            self.keep_time(member)

    def _request(self, asker: SimulatedMember, effect: ev.Request) -> None:
        self._note("ask", asker.index, effect.payload)
        self.requests.send(
            SimulatedRequest(asker, effect.peer, effect.protocol, effect.payload),
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
        if asked.hostility is not None:
            lie = asked.hostility.answer(protocol, payload, self.now)
            if lie is not None:
                return lie
        try:
            effects = self.handle(asked, ev.RequestReceived(asker, protocol, payload))
        except RemoteError:
            return None
        return next((e.payload for e in effects if isinstance(e, ev.Respond)), None)

    def _trained(
        self,
        member: SimulatedMember,
        work: Contribution,
        fit: Fit,
        influence: Mapping[PeerId, Influence],
    ) -> None:
        if member.sends_nan:
            self.medium.publish(member, member.nan_message(work))
            work = replace(work, blocks=())
        self._note("trained", member.index)
        self.handle(member, ev.TrainingFinished(work, fit.evaluation, influence, fit.losses))
        self.driver.round_done(member)
