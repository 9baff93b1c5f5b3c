"""`GroupSession`: one node's membership of one learning group, as a pure state machine.

Rules of this file: no await, no clock, no randomness but the rng it is given, no I/O. Everything
happens in `handle(event, now) -> list[Effect]`; the driver calls it with facts and carries out what
comes back. `now` is any clock that never runs backwards, in seconds.

Theory of operation. A member is *joining* until it has a snapshot (or knows that there is nobody to
get one from), then it does rounds at its own pace; nobody waits for anybody. A round is: take the
model as it is now, train on private data, publish what changed as a signed delta. What is heard is
checked (cheapest check first), merged, and relayed. Gossip may lose anything: heartbeats carry
version vectors, and whoever sees that it misses something pulls it from any member that has it.

    joining --snapshot, or nobody there--> waiting --enough members--> learning --rounds--> done

With `auto_start` off a member stays in waiting: it relays and serves, but does not train.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from openfl.aggregation.replica import Replica
from openfl.aggregation.row_selection import RowSelector
from openfl.aggregation.version_vector import VersionVector
from openfl.contribution import Charter, Contribution, Evaluation, ModelView, PeerId
from openfl.errors import RemoteError
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.fetcher import Fetcher, SnapshotEnd, fault_name
from openfl.group.intake import Intake
from openfl.group.publisher import Publisher
from openfl.group.rate import RateLimiter
from openfl.group.reader import Reader, StrictReader
from openfl.group.repair import Gaps
from openfl.group.roster import Roster
from openfl.group.screening import Screening
from openfl.group.settings import SessionSettings
from openfl.group.trickle import Trickle
from openfl.network.base import Sealer, Verdict
from openfl.telemetry import MemberView, Phase
from openfl.wire import messages as wire

MAX_HISTORY = 240
MAX_SNAPSHOT_FAILURES = 3
MAX_EMPTY_SNAPSHOTS = 3
"""Members that have learned nothing themselves; then the group is taken to be new."""
RETRY_SNAPSHOT_SECONDS = 0.5
ACQUAINTANCE_SECONDS = 1.5
"""Connected peers tell their topics within this time."""
BURST_SECONDS = 8
"""An author may send at once what it may send in so many seconds: a large member's first deltas."""
ROUND_JITTER = 0.1
"""Part of the interval by which a round may come earlier or later."""


class GroupSession:
    """See the module's text. `replica` is either new or restored by the driver.

    epoch: higher than in any earlier membership of this peer in this group (its start in unix
    milliseconds serves). round_number and history: to go on where a saved session, or that of
    another group, was. last_round: the round after which it is done, when that is not to be
    `settings.rounds` from now. reader: who reads what is received; by default everything is read
    anew. admission: who may be a member; by default everybody, or, of a closed group, its founder
    alone.
    """

    def __init__(
        self,
        replica: Replica,
        sealer: Sealer,
        settings: SessionSettings,
        rng: np.random.Generator,
        epoch: int,
        *,
        train_examples: int = 0,
        round_number: int = 0,
        last_round: int | None = None,
        history: tuple[float, ...] = (),
        reader: Reader | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.replica = replica
        self.charter: Charter = replica.charter
        self.settings = settings
        self.me = sealer.peer_id
        self.phase: Phase = "joining"
        self.round = round_number
        if last_round is None:
            last_round = round_number + settings.rounds if settings.rounds else 0
        self.last_round = last_round
        """The round after which this session is done; 0: it goes on until it is stopped."""
        self.snapshot_from: PeerId | None = None
        """The member whose snapshot this one joined with; None as long as there was none."""
        self.validation: Evaluation | None = None
        self.history: list[float] = list(history[-MAX_HISTORY:])
        self.faults: dict[str, int] = {}
        self._rng = rng
        self._reader = reader if reader is not None else StrictReader()
        self.admission = (
            admission if admission is not None else Admission(self.charter, sealer, lambda: 0.0)
        )
        self._roster = Roster(settings.presence_seconds, settings.limits.max_members)
        self._gaps = Gaps(rng)
        self._publisher = Publisher(
            replica,
            sealer,
            RowSelector(settings.row_fraction, settings.refresh_fraction),
            rng,
            epoch,
            train_examples if settings.tells_fit else 0,
            settings.inline_limit_bytes,
        )
        self._screening = Screening(replica, settings.aggregation, self.me, self.count)
        self._intake = Intake(
            replica,
            self._roster,
            self._gaps,
            self._publisher,
            sealer,
            settings.presence_seconds,
            self.count,
            self._reader,
            self._screening.heard,
            self.admission,
        )
        self._fetcher = Fetcher(
            replica, self._intake, self._gaps, settings, self.count, self.admission
        )
        self._rate = RateLimiter(settings.messages_per_second, 4 * settings.messages_per_second)
        self._byte_rate = RateLimiter(
            settings.bytes_per_second, BURST_SECONDS * settings.bytes_per_second
        )
        self._heartbeat = Trickle(
            settings.heartbeat_seconds, settings.longest_heartbeat_seconds, 4, rng
        )
        self._reachable: frozenset[PeerId] = frozenset()
        self._alone_at = float("inf")
        """When to stop waiting for somebody to give a snapshot."""
        self._snapshot_failures: dict[PeerId, int] = {}
        self._as_new: set[PeerId] = set()
        """Members whose snapshot was empty: they have just come themselves."""
        self._snapshot_retry_at = 0.0
        self._busy = False
        """A `Train` or `Evaluate` is under way."""
        self._next_round_at = float("inf")
        self._met_strangers = False
        """Whether new members were judged since the last round."""
        self._evaluated: object | None = None
        self._next_expiry = float("inf")
        self._left = False
        self._told_uninvited = False
        self._kept: VersionVector = {}
        """What was known when it was last saved without a round."""

    # --- the driver's side ------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin; to be called once, before any event."""
        self._heartbeat.start(now)
        self._next_expiry = now + self.settings.heartbeat_seconds
        self._roster.heard(self.me, now)
        self._roster.changes(now)

    @property
    def epoch(self) -> int:
        """Of this membership; part of what must be kept on disk."""
        return self._publisher.epoch

    @property
    def published_bytes(self) -> int:
        """Signed deltas this member published, before the network's copies."""
        return self._publisher.published_bytes

    @property
    def deltas_merged(self) -> int:
        """Deltas of others merged so far."""
        return self._intake.deltas_merged

    @property
    def next_wake(self) -> float:
        """When a `TimerFired` is due at the latest."""
        if self._left:
            return float("inf")
        times = [self._heartbeat.next_wake, self._next_expiry]
        if self.phase != "joining":
            times.append(self._gaps.next_wake)  # before, the snapshot brings what is missing
        if not self._busy and self.phase in ("learning", "done"):
            times.append(self._next_round_at)
        if self.phase == "joining" and not self._fetcher.fetching_snapshot:
            times.append(self._snapshot_retry_at if self._reachable else self._alone_at)
        return min(times)

    def handle(self, event: ev.Event, now: float) -> list[ev.Effect]:
        """What follows from `event`."""
        match event:
            case ev.GossipReceived():
                return self._on_gossip(event, now)
            case ev.RequestReceived():
                return self._on_request(event, now)
            case ev.AnswerReceived():
                return self._on_answer(event.token, event.payload, event.peer, now)
            case ev.RequestFailed():
                self.count("request-failed")
                return self._on_answer(event.token, None, event.peer, now)
            case ev.MembersReachable():
                return self._on_reachable(event.peers - {self.me}, now)
            case ev.DiscoveryEnded():
                self._alone_at = now if event.alone else now + ACQUAINTANCE_SECONDS
                return self._advance(now)
            case ev.SnapshotGiven():
                return self._on_snapshot_given(event.peer, now)
            case ev.TrainingFinished():
                return self._on_trained(event, now)
            case ev.EvaluationFinished():
                self._busy = False
                self._note_evaluation(event.validation)
                self._screening.judged(event.influence)
                return self._advance(now)
            case ev.TimerFired():
                return self._on_timer(now)
            case ev.LeaveRequested():
                return self._on_leave()

    def members(self, now: float) -> tuple[MemberView, ...]:
        """Present members, this one first, then by peer id."""
        rows = {state.peer_id: state.rows for state in self.replica.members()}
        self._roster.said(self.me, now, self.epoch, self.round, self.validation)
        views = [
            MemberView(
                peer_id=peer,
                round=entry.round,
                fit=entry.fit,
                rows=rows.get(peer, 0),
                age_seconds=max(0.0, now - entry.heard_at),
                me=peer == self.me,
                left_out=self._screening.reason(peer),
            )
            for peer, entry in self._roster.present(now)
        ]
        return tuple(sorted(views, key=lambda view: (not view.me, view.peer_id)))

    def model(self) -> ModelView:
        """The group's model as this member sees it: by the rule, without whom it leaves out."""
        return self._screening.model()

    @property
    def left_out(self) -> Mapping[PeerId, str]:
        """Members that are not part of this member's model -> why."""
        return self._screening.left_out

    def fits(self, now: float) -> tuple[float | None, float | None]:
        """(best, median) held-out metric of the present members, as may be told to others."""
        metric = self.validation.metric if self.validation is not None else ""
        self._roster.said(self.me, now, self.epoch, self.round, self.validation)
        return self._roster.fits(now, metric, None if self.settings.tells_fit else self.me)

    def farewell(self) -> bytes:
        """This membership's signed leave, for when it must be said after a restart."""
        return self._publisher.leave().envelope

    # --- joining and rounds -----------------------------------------------------------------------

    def _on_reachable(self, peers: frozenset[PeerId], now: float) -> list[ev.Effect]:
        if peers - self._reachable and self.phase != "joining":
            # Whoever is new here may be the only way to a part of the group that was cut off.
            self._heartbeat.reset(now)
            self._gaps.sources_changed(now)
        self._reachable = peers
        return self._advance(now)

    def _advance(self, now: float) -> list[ev.Effect]:
        """Move through the phases as far as the facts allow."""
        effects: list[ev.Effect] = []
        if self._left:
            return effects
        if self.phase == "joining":
            effects += self._try_to_join(now)
        if self.phase == "waiting":
            self._begin_rounds_if_ready(now)
        if self.phase in ("learning", "done") and not self._busy and now >= self._next_round_at:
            effects += self._begin_round(now)
        return effects

    def _try_to_join(self, now: float) -> list[ev.Effect]:
        if self._fetcher.fetching_snapshot:
            return []
        failures = sum(self._snapshot_failures.values())
        others = sorted(self._reachable - self._as_new)
        willing = [p for p in others if p not in self._snapshot_failures] or others
        if self._as_new and (not willing or len(self._as_new) >= MAX_EMPTY_SNAPSHOTS):
            return self._joined(now, "info", "no member has learned anything yet")
        if willing and failures < MAX_SNAPSHOT_FAILURES:
            if now < self._snapshot_retry_at:
                return []
            peer = willing[int(self._rng.integers(len(willing)))]
            return [self._fetcher.snapshot(peer, now)]
        if willing:
            how = f"no member gave a snapshot ({failures} tries): catching up from gossip"
            return self._joined(now, "warning", how)
        if now >= self._alone_at:
            return self._joined(now, "info", "no other member found: starting the group here")
        return []

    def _on_answer(
        self, token: int, payload: bytes | None, peer: PeerId, now: float
    ) -> list[ev.Effect]:
        if self._left:
            return []
        effects, snapshot = self._fetcher.on_answer(token, payload, now)
        match snapshot:
            case SnapshotEnd.COMPLETE if self.phase == "joining":
                self.snapshot_from = peer
                if self.replica.member_count:
                    effects += self._joined(now, "info", self._snapshot_text(peer))
                else:
                    self._as_new.add(peer)  # `_advance` asks another, if there is one
            case SnapshotEnd.FAILED:
                failures = self._snapshot_failures.get(peer, 0)
                self._snapshot_failures[peer] = failures + 1
                self._snapshot_retry_at = now + RETRY_SNAPSHOT_SECONDS
        return [*effects, *self._presence_news(now), *self._advance(now)]

    def _on_snapshot_given(self, peer: PeerId | None, now: float) -> list[ev.Effect]:
        if self._left or self.phase != "joining":
            return []
        self.snapshot_from = peer
        how = "founding it here" if peer is None else self._snapshot_text(peer)
        return [*self._joined(now, "info", how), *self._advance(now)]

    def _snapshot_text(self, peer: PeerId) -> str:
        members, rows = self.replica.member_count, self.replica.model_rows
        return f"snapshot of {rows} rows by {members} members from {ev.short(peer)}"

    def _joined(self, now: float, level: Literal["info", "warning"], how: str) -> list[ev.Effect]:
        self.phase = "waiting"
        self._heartbeat.reset(now)
        effects: list[ev.Effect] = []
        if self.replica.member_count and not self._busy:
            effects += self._evaluate()  # what the group is worth to us, before any training
        return [
            *effects,
            ev.Tell(
                level,
                "joined",
                f"joined group {self.charter.name}: {how}",
                {"group": self.charter.group_id, "members": self.replica.member_count},
            ),
            ev.Save(),
        ]

    def _begin_rounds_if_ready(self, now: float) -> None:
        if self.settings.auto_start and self._present(now) >= self.settings.wait_for_members:
            self.phase = "learning"
            # Members that train at different moments build on each other's latest work; in lockstep
            # all would build on the same old model and need about twice the rounds.
            alone = self._present(now) < 2
            wait = 0.0 if alone else float(self._rng.random()) * self.settings.interval_seconds
            self._next_round_at = now + wait

    def _begin_round(self, now: float) -> list[ev.Effect]:
        if self.phase == "learning" and not self._met_strangers:
            # Whoever has not been judged yet is, before anything is learned from it: what one bad
            # first round teaches takes a group many rounds to forget.
            self._met_strangers = True
            if self._screening.has_strangers():
                return self._evaluate()
        self._met_strangers = False
        jitter = 1 + ROUND_JITTER * (2 * float(self._rng.random()) - 1)
        self._next_round_at = now + self.settings.interval_seconds * jitter
        if self.phase == "done":
            return [] if self.model() is self._evaluated else self._evaluate()
        self._busy = True
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Train(self.round + 1, model, case), *self._screening.news()]

    def _evaluate(self) -> list[ev.Effect]:
        self._busy = True
        model, case = self._screening.look()
        self._evaluated = model
        return [ev.Evaluate(model, case), *self._screening.news()]

    def _present(self, now: float) -> int:
        """How many members are here, this one included."""
        return sum(1 for _ in self._roster.present(now))

    def _on_trained(self, event: ev.TrainingFinished, now: float) -> list[ev.Effect]:
        self._busy = False
        if self._left:
            return []
        self.round += 1
        self._note_evaluation(event.validation)
        self._screening.judged(event.influence)
        effects = self._publish(event.contribution, now)
        effects.append(
            ev.Tell(
                "info",
                "round",
                f"round {self.round}: {self._fit_text()}",
                {
                    "round": self.round,
                    "validation": None if self.validation is None else self.validation.value,
                    "members": self._present(now),
                },
            )
        )
        effects.append(ev.Save())
        if self.last_round and self.round >= self.last_round:
            self.phase = "done"
            effects.append(
                ev.Tell("info", "rounds-done", f"all {self.settings.rounds} rounds are done")
            )
        return effects + self._advance(now)

    def _note_evaluation(self, evaluation: Evaluation | None) -> None:
        if evaluation is None or evaluation.count == 0:
            return
        self.validation = evaluation
        self.history.append(evaluation.value)
        del self.history[:-MAX_HISTORY]

    def _fit_text(self) -> str:
        if self.validation is None:
            return "no held-out data"
        return f"{self.validation.metric} {self.validation.value:.4f}"

    # --- telling others ---------------------------------------------------------------------------

    def _publish(self, contribution: Contribution, now: float) -> list[ev.Effect]:
        messages, problem = self._publisher.publish(contribution, self.round, self._told_fit, now)
        effects: list[ev.Effect] = [ev.Publish(wire.encode_gossip(message)) for message in messages]
        if problem is not None:
            effects.append(ev.Tell("warning", "not-published", f"not published: {problem}"))
        return effects

    @property
    def _told_fit(self) -> Evaluation | None:
        return self.validation if self.settings.tells_fit else None

    def _on_leave(self) -> list[ev.Effect]:
        if self._left:
            return []
        self._left = True
        return [ev.Publish(wire.encode_gossip(self._publisher.leave()))]

    def _speak(self, now: float) -> ev.Publish:
        """A heartbeat: who is here, what has been heard of whom, how it goes."""
        versions = []
        for state in self.replica.members():
            if state.peer_id != self.me:
                age = max(0.0, now - state.last_heard)
                version = state.version
                versions.append(
                    wire.HeardVersion(
                        state.peer_id,
                        version.epoch,
                        version.seqno,
                        math.ceil(age),
                        self._screening.opinion(state.peer_id),
                    )
                )
        named = {version.author for version in versions}
        for peer, entry in self._roster.present(now):
            if peer != self.me and peer not in named and entry.epoch:
                age = math.ceil(now - entry.heard_at)
                versions.append(wire.HeardVersion(peer, entry.epoch, 0, age))
        unheard = wire.LIMITS.max_age_seconds
        gone = [wire.HeardVersion(p, e, wire.GONE, unheard) for p, e in self._intake.gone.items()]
        versions = [v for v in versions if v.author not in self._intake.gone] + gone
        self._intake.gone.clear()
        most = wire.LIMITS.max_heartbeat_versions
        if len(versions) > most:
            # A different part each time: sooner or later every member is named.
            picked = self._rng.choice(len(versions), most, replace=False)
            versions = [versions[i] for i in sorted(picked)]
        heartbeat = wire.Heartbeat(
            epoch=self._publisher.epoch,
            seqno=self._publisher.seqno,
            round=self.round,
            examples=self._publisher.examples,
            fit=self._told_fit,
            members=self.replica.member_count,
            versions=tuple(versions),
            replica=self.replica.digest(),
            invitation=self.admission.own,
        )
        return ev.Publish(wire.encode_gossip(heartbeat))

    # --- hearing from others ----------------------------------------------------------------------

    def _on_gossip(self, event: ev.GossipReceived, now: float) -> list[ev.Effect]:
        """Judge, and merge or note. The verdict comes first."""
        if self._left:
            return [ev.Judge(Verdict.IGNORE, "left")]
        if not self._rate.allow(event.author, now):
            self.count("gossip-rate")
            return [ev.Judge(Verdict.IGNORE, "rate"), *_blame(event, "gossip-rate")]
        effects: list[ev.Effect]
        try:
            message = self._reader.gossip(event.payload)
            # An announced delta counts when it is announced: it will be pulled.
            size = message.size if isinstance(message, wire.Announce) else len(event.payload)
            if not self._byte_rate.allow(event.author, now, size):
                self.count("gossip-bytes")
                return [ev.Judge(Verdict.IGNORE, "bytes")]
            if isinstance(message, wire.Heartbeat) and message.invitation:
                self.admission.learn(message.invitation, event.author)
            if not self.admission.admits(event.author):
                self.count("not-invited")
                return [ev.Judge(Verdict.IGNORE, "not-invited")]
            match message:
                case wire.InlineDelta():
                    effects = self._intake.delta(message.envelope, event, now)
                case wire.LeaveNotice():
                    effects = self._intake.leave(message.envelope, event, now)
                case wire.Announce():
                    effects = [self._intake.announce(message, event, self._reachable, now)]
                case wire.Heartbeat():
                    effects = [self._on_heartbeat(message, event.author, now)]
        except RemoteError as error:
            self.count(fault_name(error))
            return [ev.Judge(Verdict.REJECT, str(error))]
        return [*effects, *self._presence_news(now), *self._pull(now), *self._advance(now)]

    def _on_heartbeat(self, message: wire.Heartbeat, author: PeerId, now: float) -> ev.Judge:
        opinions = {v.author: v.opinion for v in message.versions if v.opinion is not None}
        if opinions:
            self._screening.told(author, opinions)
        if message.replica == self.replica.digest() and self._is_named(message):
            self._heartbeat.hear_consistent()
        if self._intake.heartbeat(message, author, now):
            self._heartbeat.reset(now)  # it lacks what we have: tell it soon
        return ev.Judge(Verdict.ACCEPT)

    def _is_named(self, message: wire.Heartbeat) -> bool:
        """Whether the sender has heard of this member lately. If not, what it says does not stand
        for what we would say: that we are here."""
        recently = self.settings.presence_seconds / 2
        return any(v.author == self.me and v.age_seconds <= recently for v in message.versions)

    def _presence_news(self, now: float) -> list[ev.Effect]:
        # Alive, though it may have published nothing for long: newcomers must not think it expired.
        self.replica.heard(self.me, now)
        self._roster.heard(self.me, now)
        arrived, gone = self._roster.changes(now)
        effects: list[ev.Effect] = []
        for peer in arrived:
            text = f"{ev.short(peer)} is in the group"
            effects.append(ev.Tell("info", "member-joined", text, {"peer": peer}))
        for peer in gone:
            text = f"{ev.short(peer)} is away; what it taught the group stays for now"
            effects.append(ev.Tell("info", "member-away", text, {"peer": peer}))
        if arrived:
            self._heartbeat.reset(now)
        return effects

    # --- requests of others -----------------------------------------------------------------------

    def _on_request(self, event: ev.RequestReceived, now: float) -> list[ev.Effect]:
        """A page for a snapshot or a pull. RemoteError (a malformed request) goes to the driver."""
        request: wire.SnapshotRequest | wire.PullRequest
        if event.protocol == wire.SNAPSHOT_PROTOCOL:
            request = wire.decode_snapshot_request(event.payload)
            known, authors = request.known, None
        else:
            request = wire.decode_pull_request(event.payload)
            known, authors = request.wants, tuple(request.wants)
        if request.group_id != self.charter.group_id:
            text = f"this node is in group {self.charter.group_id}"
            return [_refuse("unknown-group", text)]
        if not self._rate.allow(event.peer, now):
            self.count("request-rate")
            return [_refuse("busy", "too many requests")]
        if request.invitation:
            self.admission.learn(request.invitation, event.peer)
        if not self.admission.admits(event.peer):
            self.count("not-invited")
            return [_refuse("not-invited", "this group is closed: show a valid invitation")]
        page = self.replica.page(known, now, request.max_bytes, request.cursor, authors)
        invitations = self.admission.of(item.author for item in page.items)
        answer = wire.ItemsAnswer.of_page(page, self.replica.digest(), invitations)
        return [ev.Respond(wire.encode_answer(answer))]

    def _pull(self, now: float) -> list[ev.Request]:
        """Ask for what is missing; while joining, the snapshot brings it."""
        return [] if self.phase == "joining" else self._fetcher.pull(self._reachable, now)

    # --- time -------------------------------------------------------------------------------------

    def _on_timer(self, now: float) -> list[ev.Effect]:
        effects: list[ev.Effect] = []
        if self._left:
            return effects
        if self._heartbeat.fire(now):
            effects.append(self._speak(now))
        if now >= self._next_expiry:
            self._next_expiry = now + self.settings.heartbeat_seconds
            gone = self.replica.expire(now, keep=(self.me,))
            for author in gone:
                self._gaps.forget(author)
                text = f"{ev.short(author)} was silent too long: taken out of the model"
                effects.append(ev.Tell("info", "member-expired", text, {"peer": author}))
            if gone:
                effects.append(ev.Save())
            effects += self._keep_what_came()
            effects += self._presence_news(now)
            uninvited = self.admission.problem()
            if uninvited is not None and not self._told_uninvited:
                self._told_uninvited = True
                text = f"members of {self.charter.name} no longer listen to this node: {uninvited}"
                effects.append(ev.Tell("warning", "not-invited", text))
        return [*effects, *self._pull(now), *self._advance(now)]

    def _keep_what_came(self) -> list[ev.Effect]:
        """Rounds end with saving; a member that does none must not lose what only it still has."""
        if self.phase not in ("waiting", "done"):
            return []
        known = self.replica.version_vector()
        if known == self._kept:
            return []
        self._kept = known
        return [ev.Save()]

    # --- small things -----------------------------------------------------------------------------

    def count(self, name: str) -> None:
        self.faults[name] = self.faults.get(name, 0) + 1


def _blame(event: ev.GossipReceived, reason: str) -> list[ev.Effect]:
    """Whoever sends us too much of its own; a peer that only passes it on may not know yet."""
    return [ev.Penalize(event.author, reason)] if event.relayed_by == event.author else []


def _refuse(code: str, text: str) -> ev.Respond:
    return ev.Respond(wire.encode_answer(wire.Refusal(code, text)))
