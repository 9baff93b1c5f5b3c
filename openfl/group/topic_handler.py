"""`TopicHandler`: what is said on the group's topic, let in by rate and by right, then taken in.

Order of checks: how often the author speaks, form, how much it says, whether it is a member; the
rest is the business of `DeltaReceiver`. A message that is not let in changes only the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openfl.aggregation.replica import Replica
from openfl.core.contribution import PeerId
from openfl.core.errors import RemoteError
from openfl.core.rate_limit import RateLimiter
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.group.delta_receiver import DeltaReceiver
from openfl.group.fetcher import fault_name
from openfl.group.reader import Reader
from openfl.group.screening import Screening
from openfl.group.settings import SessionSettings
from openfl.group.trickle import Trickle
from openfl.network.base import Verdict
from openfl.wire import messages as wire

BURST_SECONDS = 8
"""An author may send at once what it may send in so many seconds: a large member's first deltas."""


@dataclass(frozen=True, slots=True)
class Heard:
    """`effects`: the verdict first. `let_in`: whether anything may follow from the message."""

    effects: list[ev.Effect]
    let_in: bool


class TopicHandler:
    """`me`: this member. `rate`: shared with the requests of the same peers. `heartbeat`: when this
    member speaks, sooner or later for what it hears. `count(name)` counts what was not let in."""

    def __init__(
        self,
        me: PeerId,
        replica: Replica,
        delta_receiver: DeltaReceiver,
        screening: Screening,
        reader: Reader,
        admission: Admission,
        rate: RateLimiter,
        heartbeat: Trickle,
        settings: SessionSettings,
        count: Callable[[str], None],
    ) -> None:
        self._me = me
        self._replica = replica
        self._delta_receiver = delta_receiver
        self._screening = screening
        self._reader = reader
        self._admission = admission
        self._rate = rate
        self._byte_rate = RateLimiter(
            settings.bytes_per_second, BURST_SECONDS * settings.bytes_per_second
        )
        self._heartbeat = heartbeat
        self._presence_seconds = settings.presence_seconds
        self._count = count

    def hear(self, event: ev.GossipReceived, reachable: frozenset[PeerId], now: float) -> Heard:
        """Judge, and merge or note. `reachable`: members that can be asked directly."""
        if not self._rate.allow(event.author, now):
            self._count("gossip-rate")
            return Heard([ev.Judge(Verdict.IGNORE, "rate"), *_blame(event, "gossip-rate")], False)
        try:
            message = self._reader.gossip(event.payload)
            # An announced delta counts when it is announced: it will be pulled.
            size = message.size if isinstance(message, wire.Announce) else len(event.payload)
            if not self._byte_rate.allow(event.author, now, size):
                self._count("gossip-bytes")
                return Heard([ev.Judge(Verdict.IGNORE, "bytes")], False)
            if isinstance(message, wire.Heartbeat) and message.invitation:
                self._admission.learn(message.invitation, event.author)
            if not self._admission.admits(event.author):
                self._count("not-invited")
                return Heard([ev.Judge(Verdict.IGNORE, "not-invited")], False)
            return Heard(self._take_in(message, event, reachable, now), True)
        except RemoteError as error:
            self._count(fault_name(error))
            return Heard([ev.Judge(Verdict.REJECT, str(error))], False)

    def _take_in(
        self,
        message: wire.GossipPayload,
        event: ev.GossipReceived,
        reachable: frozenset[PeerId],
        now: float,
    ) -> list[ev.Effect]:
        match message:
            case wire.InlineDelta():
                return self._delta_receiver.delta(message.envelope, event, now)
            case wire.LeaveNotice():
                return self._delta_receiver.leave(message.envelope, event, now)
            case wire.Announce():
                return [self._delta_receiver.announce(message, event, reachable, now)]
            case wire.Heartbeat():
                return [self._on_heartbeat(message, event.author, now)]

    def _on_heartbeat(self, message: wire.Heartbeat, author: PeerId, now: float) -> ev.Judge:
        opinions = {v.author: v.opinion for v in message.versions if v.opinion is not None}
        if opinions:
            self._screening.told(author, opinions)
        if message.replica == self._replica.digest() and self._is_named(message):
            self._heartbeat.hear_consistent()
        if self._delta_receiver.heartbeat(message, author, now):
            self._heartbeat.reset(now)  # it lacks what we have: tell it soon
        return ev.Judge(Verdict.ACCEPT)

    def _is_named(self, message: wire.Heartbeat) -> bool:
        """Whether the sender has heard of this member lately. If not, what it says does not stand
        for what we would say: that we are here."""
        recently = self._presence_seconds / 2
        return any(v.author == self._me and v.age_seconds <= recently for v in message.versions)


def _blame(event: ev.GossipReceived, reason: str) -> list[ev.Effect]:
    """Whoever sends us too much of its own; a peer that only passes it on may not know yet."""
    return [ev.Penalize(event.author, reason)] if event.relayed_by == event.author else []
