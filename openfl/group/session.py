"""`GroupSession`: one node's membership of one learning group, as a pure state machine.

Rules of this file: no await, no clock, no randomness but the rng it is given, no I/O. Everything
happens in `handle(event, now) -> list[Effect]`; the driver calls it with facts and carries out what
comes back. `now` is any clock that never runs backwards, in seconds.

Theory of operation. A member is *joining* until it has a snapshot (or knows that there is nobody to
get one from), then it does rounds at its own pace; nobody waits for anybody. A round is: take the
model as it is now, train on private data, publish what changed as a signed delta. What is heard is
checked (cheapest check first), merged, and relayed. Gossip may lose anything: heartbeats carry
version vectors, and whoever sees that it lacks something pulls it from any member that has it.

This file says which part an event concerns; the phases are a table (`phases`), and each part is a
file of its own: `Joining`, `Rounds`, `TopicHandler`, `Answering` (requests), `Presence` and
`Upkeep` (time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.core.contribution import Charter, Evaluation, ModelView, PeerId
from openfl.core.telemetry import MemberView, Phase
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.answering import Answering
from openfl.group.checks import Checks, PeerRates
from openfl.group.delta_receiver import DeltaReceiver
from openfl.group.fetcher import Fetcher, SnapshotEnd
from openfl.group.heartbeat import HeartbeatWriter
from openfl.group.identity_watch import IdentityWatch
from openfl.group.joining import FirstJudgement, Joined, Joining
from openfl.group.lottery import Lottery
from openfl.group.missing_deltas import MissingDeltas
from openfl.group.pace import Pace
from openfl.group.phases import PhaseTracker
from openfl.group.presence import Presence
from openfl.group.publisher import Publisher
from openfl.group.reader import Reader, StrictReader
from openfl.group.roster import Roster
from openfl.group.rounds import Rounds
from openfl.group.screening import Screening
from openfl.group.settings import SessionSettings, SessionStart
from openfl.group.silence import Silence
from openfl.group.tempo import Tempo
from openfl.group.topic_handler import TopicHandler
from openfl.group.trickle import Trickle
from openfl.group.upkeep import Upkeep
from openfl.learning.comparison import Fit
from openfl.network.base import Sealer, Verdict
from openfl.wire import messages as wire

HEARTBEAT_REDUNDANCY = 4
"""Whoever heard so many others say the same keeps silent for once."""


class GroupSession:
    """See the module's text.

    replica: either new or restored by the driver. sealer: signs as this member. start: where this
    membership begins, or goes on. reader: who reads what is received; by default everything is read
    anew. admission: who may be a member; by default everybody, or, of a closed group, its founder
    alone.
    """

    def __init__(
        self,
        replica: Replica,
        sealer: Sealer,
        settings: SessionSettings,
        rng: np.random.Generator,
        start: SessionStart,
        *,
        reader: Reader | None = None,
        admission: Admission | None = None,
    ) -> None:
        """Builds the parts; nothing happens before `start`."""
        self.replica = replica
        self.charter: Charter = replica.charter
        self.settings = settings
        self.me = sealer.peer_id
        self.faults: dict[str, int] = {}
        self.admission = (
            admission if admission is not None else Admission(self.charter, sealer, lambda: 0.0)
        )
        self._reachable: frozenset[PeerId] = frozenset()
        self._phases = PhaseTracker()
        checks = Checks(sealer, reader if reader is not None else StrictReader(), self.admission)
        rates = PeerRates(settings)
        self._heartbeat = Trickle(
            settings.heartbeat_seconds,
            settings.longest_heartbeat_seconds,
            HEARTBEAT_REDUNDANCY,
            rng,
        )
        self._roster = Roster(settings.presence_seconds, settings.limits.max_members)
        self._missing = MissingDeltas(rng)
        self._publisher = Publisher(
            replica,
            sealer,
            RowSelector(settings.row_fraction, settings.refresh_fraction),
            rng,
            start.epoch,
            start.train_examples if settings.tells_fit else 0,
            settings.inline_limit_bytes,
        )
        self._identity = IdentityWatch(self.me, self._publisher)
        self._screening = Screening(replica, settings.aggregation, self.me, self.count)
        self._presence = Presence(
            replica,
            self._roster,
            self._heartbeat,
            self.me,
            self._screening.reason,
            self._screening.has_history,
        )
        self._silence = Silence(
            self.me, self._presence, self._publisher, self._missing, settings.presence_seconds
        )
        self._delta_receiver = DeltaReceiver(
            replica,
            self._roster,
            self._missing,
            checks,
            self._identity,
            self.count,
            self._screening.heard,
        )
        self._fetcher = Fetcher(
            replica, self._delta_receiver, self._missing, settings, self.count, self.admission
        )
        self._joining = Joining(replica, self._fetcher, rng)
        self._first_judgement = FirstJudgement(replica, self.me)
        self._pace = Pace(settings.interval_seconds)
        lottery = Lottery(self.me, settings.target_publishers)
        self._rounds = Rounds(
            self._screening, self._publisher, self._pace, settings, rng, start, lottery
        )
        self._tempo = Tempo(
            self._pace, self._heartbeat, self._roster, self._fetcher, self._silence, settings
        )
        self._writer = HeartbeatWriter(
            self.me,
            replica,
            self._roster,
            self._delta_receiver,
            self._publisher,
            self._screening,
            self.admission,
            rng,
        )
        self._topic_handler = TopicHandler(
            checks, rates, self._delta_receiver, self._screening, self._heartbeat, self.count
        )
        self._answering = Answering(replica, self.admission, rates, self.count)
        self._upkeep = Upkeep(
            self.me,
            replica,
            self._missing,
            self._presence,
            self.admission,
            settings.heartbeat_seconds,
        )

    # --- the driver's side ------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin; to be called once, before any event."""
        self._heartbeat.start(now)
        self._upkeep.start(now)
        self._presence.start(now)
        self._identity.start(now)

    @property
    def next_wake(self) -> float:
        """When a `TimerFired` is due at the latest."""
        if self._phases.left:
            return float("inf")
        times = [self._heartbeat.next_wake, self._upkeep.next_wake]
        if self._phases.row.joined:
            times += [self._missing.next_wake, self._rounds.next_wake]
        else:  # the snapshot brings what is missing
            times.append(self._joining.next_wake(self._reachable))
        return min(times)

    def handle(self, event: ev.Event, now: float) -> list[ev.Effect]:
        """What follows from `event`; `phases.EVENTS` says when anything does."""
        if not self._phases.hears(event):
            return self._unheard(event)
        match event:
            case ev.GossipReceived():
                return self._on_gossip(event, now)
            case ev.RequestReceived():
                return [self._answering.answer(event, now)]
            case ev.AnswerReceived():
                return self._on_answer(event.token, event.payload, event.peer, now)
            case ev.RequestFailed():
                self.count("request-failed")
                return self._on_answer(event.token, None, event.peer, now)
            case ev.MembersReachable():
                return self._on_reachable(event.peers - {self.me}, now)
            case ev.DiscoveryEnded():
                self._joining.discovery_ended(event.alone, now)
                return self._advance(now)
            case ev.SnapshotGiven():
                return self._on_snapshot_given(event.peer, now)
            case ev.TrainingFinished():
                return self._on_trained(event, now)
            case ev.EvaluationFinished():
                effects = self._rounds.evaluated(event)
                effects += self._first_judgement.ended(self.validation)
                return [*effects, *self._advance(now)]
            case ev.TimerFired():
                return self._on_timer(now)
            case ev.LoadMeasured():
                self._rounds.interval_changes(now)
                news = self._tempo.measured(event, now, rounds=self._phases.row.rounds)
                return [*news, *self._advance(now)]
            case ev.Stalled():
                self._tempo.stalled(event.seconds)
                return []
            case ev.LeaveRequested():
                return self._on_leave()

    def _unheard(self, event: ev.Event) -> list[ev.Effect]:
        """What follows from an event that comes too early or too late."""
        match event:
            case ev.GossipReceived():
                return [ev.Judge(Verdict.IGNORE, "left")]
            case ev.RequestFailed():
                self.count("request-failed")
        return []

    def farewell(self) -> bytes:
        """This membership's signed leave, for when it must be published after a restart."""
        return self._publisher.leave().envelope

    def count(self, name: str) -> None:
        """Count one more fault. `name`: a stable word for what went wrong."""
        self.faults[name] = self.faults.get(name, 0) + 1

    # --- its state --------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far this membership is; see `openfl.group.phases`."""
        return self._phases.phase

    @property
    def epoch(self) -> int:
        """Of this membership; part of what must be kept on disk."""
        return self._publisher.epoch

    @property
    def round(self) -> int:
        """Of the latest training; 0 before the first."""
        return self._rounds.round

    @property
    def last_round(self) -> int:
        """The round after which this session is done; 0: it goes on until it is stopped."""
        return self._rounds.last_round

    @property
    def interval_seconds(self) -> float:
        """Between the beginnings of two rounds, as it is kept now; see `Pace`."""
        return self._pace.kept

    @property
    def validation(self) -> Evaluation | None:
        """The latest evaluation on this member's held-out data."""
        return self._rounds.validation

    @property
    def fit(self) -> Fit | None:
        """`validation` with the losses of its examples."""
        rounds = self._rounds
        return None if rounds.validation is None else Fit(rounds.validation, rounds.losses)

    @property
    def history(self) -> Sequence[float]:
        """The values of the latest evaluations, oldest first."""
        return self._rounds.history

    @property
    def snapshot_from(self) -> PeerId | None:
        """The member whose snapshot this one joined with; None as long as there was none."""
        return self._joining.snapshot_from

    @property
    def published_bytes(self) -> int:
        """Signed deltas this member published, before the network's copies."""
        return self._publisher.published_bytes

    @property
    def deltas_merged(self) -> int:
        """Deltas of others merged so far."""
        return self._delta_receiver.deltas_merged

    @property
    def left_out(self) -> Mapping[PeerId, str]:
        """Members that are not part of this member's model -> why."""
        return self._screening.left_out

    def opinions(self) -> dict[PeerId, float]:
        """What members do to this one's own data, as z (positive does good), of those judged."""
        found = {m.peer_id: self._screening.opinion(m.peer_id) for m in self.replica.members()}
        return {peer: z for peer, z in found.items() if z is not None}

    def model(self) -> ModelView:
        """The group's model as this member sees it: by the rule, without the members left out."""
        return self._screening.model()

    def members(self, now: float) -> tuple[MemberView, ...]:
        """Present members, this one first, then by peer id."""
        self._presence.said_myself(now, self.epoch, self.round, self.validation)
        return self._presence.members(now)

    def fits(self, now: float) -> tuple[float | None, float | None]:
        """(best, median) held-out metric of the present members that others may be told; None where
        nobody told one."""
        metric = self.validation.metric if self.validation is not None else ""
        self._presence.said_myself(now, self.epoch, self.round, self.validation)
        return self._presence.fits(now, metric, self.settings.tells_fit)

    # --- phases -----------------------------------------------------------------------------------

    def _advance(self, now: float) -> list[ev.Effect]:
        """Move through the phases as far as the facts allow."""
        effects: list[ev.Effect] = []
        if self._phases.left:
            return effects
        if self.phase == "joining":
            match self._joining.advance(self._reachable, now):
                case Joined() as joined:
                    effects += self._on_joined(joined, now)
                case ev.Request() as request:
                    effects.append(request)
        if self.phase == "waiting":
            self._begin_rounds_if_ready(now)
        if self._phases.row.rounds:
            effects += self._rounds.advance(now)
        self._first_judgement.begins(effects)
        return effects

    def _on_joined(self, joined: Joined, now: float) -> list[ev.Effect]:
        self._phases.follow("joined")
        self._heartbeat.reset(now)
        effects: list[ev.Effect] = []
        if self.replica.member_count and not self._rounds.busy:
            # What the group is worth to us, before any training.
            effects += self._rounds.evaluate()
            self._first_judgement.begins(effects)
        members = self.replica.member_count
        return [
            *effects,
            ev.Tell(
                joined.level,
                "joined",
                f"joined group {self.charter.name}: {joined.how}",
                {"group": self.charter.group_id, "members": members},
            ),
            ev.Save(),
        ]

    def _begin_rounds_if_ready(self, now: float) -> None:
        members = self._presence.count(now)
        if self.settings.auto_start and members >= self.settings.wait_for_members:
            self._phases.follow("enough-members")
            self._rounds.schedule_first(now, members, at_once=self._joining.has_just_come(now))

    # --- events -----------------------------------------------------------------------------------

    def _on_gossip(self, event: ev.GossipReceived, now: float) -> list[ev.Effect]:
        heard = self._topic_handler.hear(event, self._reachable, now)
        if not heard.let_in:
            return heard.effects
        news = [*self._presence.news(now), *self._identity.news()]
        return [*heard.effects, *news, *self._pull(now), *self._advance(now)]

    def _on_answer(
        self, token: int, payload: bytes | None, peer: PeerId, now: float
    ) -> list[ev.Effect]:
        effects, end = self._fetcher.on_answer(token, payload, now)
        if end is SnapshotEnd.FAILED or (end is not None and self.phase == "joining"):
            joined = self._joining.snapshot_ended(peer, end, now)
            if joined is not None:
                effects += self._on_joined(joined, now)
        news = [*self._presence.news(now), *self._identity.news()]
        return [*effects, *news, *self._advance(now)]

    def _on_snapshot_given(self, peer: PeerId | None, now: float) -> list[ev.Effect]:
        joined = self._joining.snapshot_given(peer)
        return [*self._on_joined(joined, now), *self._advance(now)]

    def _on_reachable(self, peers: frozenset[PeerId], now: float) -> list[ev.Effect]:
        if peers - self._reachable and self._phases.row.joined:
            # Whoever is new here may be the only way to a part of the group that was cut off.
            self._heartbeat.reset(now)
            self._missing.sources_changed(now)
        self._reachable = self._roster.connected = peers
        return self._advance(now)

    def _on_trained(self, event: ev.TrainingFinished, now: float) -> list[ev.Effect]:
        effects = self._rounds.trained(event, self._count(now), now)
        if any(isinstance(effect, ev.Publish) for effect in effects):
            self._heartbeat.known_until(now + self._roster.presence_seconds / 4)
        effects += self._first_judgement.ended(self.validation)
        if self._rounds.done:
            self._phases.follow("rounds-done")
        if self._writer.has_opinions_to_tell:
            self._heartbeat.has_news(now)
        return effects + self._advance(now)

    def _on_timer(self, now: float) -> list[ev.Effect]:
        effects: list[ev.Effect] = []
        self._tempo.group_of(self._count(now))
        if self._heartbeat.fire(now):
            heartbeat = self._writer.write(
                self.round, self._rounds.told_fit, now, brief=self._heartbeat.covered
            )
            effects.append(ev.Publish(wire.encode_gossip(heartbeat)))
        if self._upkeep.next_wake <= now and self._phases.row.joined:
            # Of a closed group anybody may listen to what is said, but only members are heard.
            members = frozenset(p for p in self._reachable if self.admission.admits(p))
            effects += self._silence.advance(members, now)
        effects += self._upkeep.advance(now, keep=self._phases.row.keeps)
        return [*effects, *self._pull(now), *self._advance(now)]

    def _count(self, now: float) -> int:
        return max(self._presence.count(now), self.settings.assumed_members)

    def _on_leave(self) -> list[ev.Effect]:
        self._phases.leave()
        return [ev.Publish(wire.encode_gossip(self._publisher.leave()))]

    def _pull(self, now: float) -> list[ev.Request]:
        """Ask for what is missing; while joining, the snapshot brings it."""
        return self._fetcher.pull(self._reachable, now) if self._phases.row.joined else []
