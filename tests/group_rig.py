"""Sessions wired together without any network: every effect is carried out by the test.

`Rig` is the world: it owns the clock, delivers what tests let through, and answers requests. What
it cannot show (real envelopes, real streams, real loss) has its own tests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import (
    Charter,
    Contribution,
    Evaluation,
    PeerId,
    RowBlock,
    TableSchema,
)
from openfl.core.errors import InvalidSignature
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.screening import AggregationSettings
from openfl.group.session import GroupSession
from openfl.group.settings import SessionSettings, SessionStart
from openfl.network.base import Verdict
from openfl.wire import messages as wire

TABLE = TableSchema(
    name="weights",
    width=2,
    prior=(1.0, 1.0),
    prior_per_evidence=(0.0, 0.0),
    initial_scale=(0.0, 0.0),
    encoding="float32",
    key_bits=32,
)
CHARTER = Charter("rig", "mean", (TABLE,), {}, seed=1)


def peer(number: int) -> PeerId:
    """A well-formed Ed25519 peer id; nobody has its private key."""
    key = hashlib.sha256(f"rig peer {number}".encode()).digest()
    return wire.peer_id_from_bytes(bytes.fromhex("002408011220") + key)


class RigSealer:
    """Envelopes that name their signer and carry a checksum instead of a signature."""

    def __init__(self, peer_id: PeerId) -> None:
        self.peer_id = peer_id

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        head = len(self.peer_id).to_bytes(1, "big") + self.peer_id.encode() + payload_type + b"\0"
        return head + hashlib.sha256(head + payload).digest() + payload

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        if not envelope:
            raise InvalidSignature("the envelope is empty")
        size = envelope[0]
        peer_id = envelope[1 : 1 + size].decode(errors="replace")
        head = envelope[: 1 + size] + payload_type + b"\0"
        rest = envelope[len(head) :]
        payload = rest[32:]
        if hashlib.sha256(head + payload).digest() != rest[:32] or not envelope.startswith(head):
            raise InvalidSignature("the envelope does not verify")
        return PeerId(peer_id), payload


def contribution(keys: tuple[int, ...], value: float, evidence: float = 10.0) -> Contribution:
    """Every key gets the same value in both columns."""
    n = len(keys)
    return Contribution(
        (
            RowBlock(
                TABLE.name,
                np.asarray(keys, dtype=np.uint64),
                np.full((n, 2), value, dtype=np.float32),
                np.full(n, evidence, dtype=np.float32),
                np.ones(2, dtype=np.float32),
            ),
        )
    )


def evaluation(value: float) -> Evaluation:
    return Evaluation("rmse", value, 0.01, 100)


@dataclass
class Member:
    session: GroupSession
    sealer: RigSealer
    told: list[ev.Tell] = field(default_factory=list)
    penalized: list[tuple[PeerId, str]] = field(default_factory=list)
    wants_training: list[ev.Train] = field(default_factory=list)
    wants_evaluation: list[ev.Evaluate] = field(default_factory=list)
    saves: int = 0
    online: bool = True

    @property
    def peer_id(self) -> PeerId:
        return self.sealer.peer_id

    def kinds(self) -> list[str]:
        return [tell.kind for tell in self.told]


class Rig:
    """`lost(sender, receiver, message)`: which gossip does not arrive (decided per receiver)."""

    def __init__(self, settings: SessionSettings | None = None, charter: Charter = CHARTER) -> None:
        self.now = 1000.0
        self.settings = settings if settings is not None else SessionSettings()
        self.charter = charter
        self.members: list[Member] = []
        self.lost: Callable[[Member, Member, wire.GossipPayload], bool] = lambda *_: False
        self.verdicts: list[tuple[Verdict, str]] = []
        self.requests: list[tuple[PeerId, PeerId, str]] = []
        self.unanswered: set[PeerId] = set()

    def add(
        self,
        settings: SessionSettings | None = None,
        replica: Replica | None = None,
        epoch: int | None = None,
        number: int | None = None,
        invitations: tuple[bytes, ...] = (),
    ) -> Member:
        """A new member that has not been told of anybody yet."""
        number = len(self.members) if number is None else number
        sealer = RigSealer(peer(number))
        chosen = settings if settings is not None else self.settings
        session = GroupSession(
            replica if replica is not None else Replica(self.charter, chosen.limits),
            sealer,
            chosen,
            np.random.default_rng(number),
            SessionStart(epoch if epoch is not None else int(self.now * 1000), train_examples=10),
            admission=Admission(self.charter, sealer, lambda: self.now, invitations),
        )
        session.start(self.now)
        member = Member(session, sealer)
        self.members.append(member)
        return member

    def join(self, member: Member) -> None:
        """Everybody online sees everybody; the member has searched."""
        self.connect()
        alone = not any(m.online for m in self.members if m is not member)
        self.give(member, ev.DiscoveryEnded(alone))

    def connect(self) -> None:
        online = frozenset(m.peer_id for m in self.members if m.online)
        for member in self.members:
            if member.online:
                self.give(member, ev.MembersReachable(online - {member.peer_id}))

    def give(self, member: Member, event: ev.Event) -> list[ev.Effect]:
        """One event for one member, with everything that follows from it."""
        effects = member.session.handle(event, self.now)
        for effect in effects:
            self._carry_out(member, effect)
        return effects

    def gossip(self, sender: Member, payload: bytes, receiver: Member) -> ev.Judge:
        """One message straight to one receiver; its verdict."""
        event = ev.GossipReceived(sender.peer_id, sender.peer_id, payload)
        effects = self.give(receiver, event)
        judged = effects[0]
        assert isinstance(judged, ev.Judge)
        return judged

    def train(self, member: Member, work: Contribution, fit: float | None = None) -> None:
        """Finish the training that the member has asked for."""
        member.wants_training.pop()
        validation = None if fit is None else evaluation(fit)
        self.give(member, ev.TrainingFinished(work, validation))

    def pass_time(self, seconds: float, step: float = 0.05) -> None:
        """Fire timers as time goes by."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            for member in self.members:
                if member.online and member.session.next_wake <= self.now:
                    self.give(member, ev.TimerFired())
                    assert member.session.next_wake > self.now, "its driver would spin"

    def _carry_out(self, member: Member, effect: ev.Effect) -> None:
        match effect:
            case ev.Publish():
                message = wire.decode_gossip(effect.payload)
                for other in self.members:
                    if (
                        other is not member
                        and other.online
                        and not self.lost(member, other, message)
                    ):
                        self.gossip(member, effect.payload, other)
            case ev.Request():
                self.requests.append((member.peer_id, effect.peer, effect.protocol))
                self._answer(member, effect)
            case ev.Judge():
                self.verdicts.append((effect.verdict, effect.reason))
            case ev.Tell():
                member.told.append(effect)
            case ev.Penalize():
                member.penalized.append((effect.peer, effect.reason))
            case ev.Train():
                member.wants_training.append(effect)
            case ev.Evaluate():
                member.wants_evaluation.append(effect)
            case ev.Save():
                member.saves += 1
            case ev.Respond():
                pass

    def _answer(self, member: Member, request: ev.Request) -> None:
        asked = next((m for m in self.members if m.peer_id == request.peer), None)
        if asked is None or not asked.online or asked.peer_id in self.unanswered:
            self.give(member, ev.RequestFailed(request.token, request.peer, "no answer"))
            return
        event = ev.RequestReceived(member.peer_id, request.protocol, request.payload)
        for effect in asked.session.handle(event, self.now):
            if isinstance(effect, ev.Respond):
                answer = ev.AnswerReceived(request.token, request.peer, effect.payload)
                self.give(member, answer)


def quick(rounds: int = 0, **changes: object) -> SessionSettings:
    """Settings with one-second rounds."""
    values: dict[str, object] = {"interval_seconds": 1.0, "heartbeat_seconds": 1.0}
    return SessionSettings(rounds=rounds, **{**values, **changes})  # type: ignore[arg-type]


def tight(**changes: int | float) -> ReplicaLimits:
    return ReplicaLimits(**changes)  # type: ignore[arg-type]


def taught_by(charter: Charter, *numbers: int) -> list[Member]:
    """The members of a group, each of which has published a row of its own."""
    rig = Rig(quick(aggregation=AggregationSettings(rule="mean")), charter)
    for number in numbers:
        member = rig.add(number=number)
        rig.join(member)
        if member.wants_evaluation:  # of the snapshot it joined with
            rig.give(member, ev.EvaluationFinished(None))
        rig.pass_time(2.5)
        rig.train(member, contribution((number + 1,), float(number + 1)))
    return rig.members
