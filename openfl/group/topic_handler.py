"""`TopicHandler`: messages on the group's topic. Rate and right are checked, then each is taken in.

Order of checks: how often the author speaks, form, how much it says, whether it is a member; the
rest is up to `DeltaReceiver`. A message that is not let in changes only the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from openfl.core.contribution import PeerId
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.checks import Checks, PeerRates
from openfl.group.delta_receiver import Agreement, DeltaReceiver
from openfl.group.fetcher import fault_name
from openfl.group.screening import Screening
from openfl.group.trickle import Trickle
from openfl.network.base import Verdict
from openfl.wire import messages as wire


@dataclass(frozen=True, slots=True)
class Handled:
    """`effects`: the verdict first. `let_in`: whether anything may follow from the message."""

    effects: list[ev.Effect]
    let_in: bool


class TopicHandler:
    """`rates`: shared with the requests of the same peers. `heartbeat`: when this member speaks,
    sooner or later for what it hears. `count(name)` counts what was not let in."""

    def __init__(
        self,
        checks: Checks,
        rates: PeerRates,
        delta_receiver: DeltaReceiver,
        screening: Screening,
        heartbeat: Trickle,
        count: Callable[[str], None],
    ) -> None:
        self._reader = checks.reader
        self._admission = checks.admission
        self._rates = rates
        self._delta_receiver = delta_receiver
        self._screening = screening
        self._heartbeat = heartbeat
        self._count = count

    def hear(self, event: ev.GossipReceived, reachable: frozenset[PeerId], now: float) -> Handled:
        """Give a verdict, and merge or note. `reachable`: members that can be asked directly."""
        if not self._rates.messages.allow(event.author, now):
            self._count("gossip-rate")
            return Handled([ev.Judge(Verdict.IGNORE, "rate"), *_blame(event, "gossip-rate")], False)
        try:
            message = self._reader.gossip(event.payload)
            # An announced delta counts when it is announced: it will be pulled.
            size = message.size if isinstance(message, wire.Announce) else len(event.payload)
            if not self._rates.bytes.allow(event.author, now, size):
                self._count("gossip-bytes")
                return Handled([ev.Judge(Verdict.IGNORE, "bytes")], False)
            if isinstance(message, wire.Heartbeat) and message.invitation:
                self._admission.learn(message.invitation, event.author)
            if not self._admission.admits(event.author):
                self._count("not-invited")
                return Handled([ev.Judge(Verdict.IGNORE, "not-invited")], False)
            return Handled(self._take_in(message, event, reachable, now), True)
        except RemoteError as error:
            self._count(fault_name(error))
            return Handled([ev.Judge(Verdict.REJECT, str(error))], False)

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
        match self._delta_receiver.heartbeat(message, author, now):
            case Agreement.SAME:
                self._heartbeat.hear_consistent()
            case Agreement.LACKS:
                self._heartbeat.hear_lacking(now)  # what we have: tell it soon
            case Agreement.OTHER:
                self._heartbeat.hear_other()
        return ev.Judge(Verdict.ACCEPT)


def _blame(event: ev.GossipReceived, reason: str) -> list[ev.Effect]:
    """Whoever sends us too much of its own; a peer that only passes it on may not know yet."""
    return [ev.Penalize(event.author, reason)] if event.relayed_by == event.author else []
