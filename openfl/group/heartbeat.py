"""`HeartbeatWriter`: what a heartbeat says: who is here, what was heard of whom, how rounds go.

When to say it is up to a `Trickle`.
"""

from __future__ import annotations

import math

import numpy as np

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Evaluation, PeerId
from openfl.group.admission import Admission
from openfl.group.delta_receiver import DeltaReceiver
from openfl.group.publisher import Publisher
from openfl.group.roster import Roster
from openfl.group.screening import Screening
from openfl.wire import messages as wire

OPINION_STEPS = (-2.0, -0.75, 2.0)
"""A z that passes one of these is news to the other judges: see `MemberJudge`'s settings."""
MAX_NAMED = 64
"""Versions in one heartbeat: most of them those that changed last, which is where something is
missing if anywhere, the others any. So heartbeats do not grow with the group."""
NAMED_AS_LATEST = 48


class HeartbeatWriter:
    """`me`: the member that speaks. `rng` picks whom to name when that is not everybody."""

    def __init__(
        self,
        me: PeerId,
        replica: Replica,
        roster: Roster,
        delta_receiver: DeltaReceiver,
        publisher: Publisher,
        screening: Screening,
        admission: Admission,
        rng: np.random.Generator,
    ) -> None:
        self._me = me
        self._replica = replica
        self._roster = roster
        self._delta_receiver = delta_receiver
        self._publisher = publisher
        self._screening = screening
        self._admission = admission
        self._rng = rng
        self._told: dict[PeerId, int] = {}
        """member -> how many of `OPINION_STEPS` the last z told of it passed."""

    @property
    def has_opinions_to_tell(self) -> bool:
        """Whether what others were told of members' influence is not so any more."""
        return any(
            _step(opinion) != self._told.get(state.peer_id)
            for state in self._replica.members()
            if state.peer_id != self._me
            and (opinion := self._screening.opinion(state.peer_id)) is not None
        )

    def write(
        self, round_number: int, fit: Evaluation | None, now: float, *, brief: bool = False
    ) -> wire.Heartbeat:
        """The heartbeat of this moment. Whoever left is named once, then others may ask. `brief`:
        beside those nobody is named."""
        gone = self._delta_receiver.take_gone()
        heard = [] if brief else self._heard_versions(now)
        versions = self._as_many_as_fit([v for v in heard if v.author not in gone])
        unheard = wire.LIMITS.max_age_seconds
        versions += [wire.HeardVersion(p, e, wire.GONE, unheard) for p, e in gone.items()]
        members = {version.author for version in heard}
        if not brief:
            self._told = {peer: step for peer, step in self._told.items() if peer in members}
        for version in versions:
            if version.opinion is not None:
                self._told[version.author] = _step(version.opinion)
        return wire.Heartbeat(
            epoch=self._publisher.epoch,
            seqno=self._publisher.seqno,
            round=round_number,
            examples=self._publisher.examples,
            fit=fit,
            members=self._replica.member_count,
            versions=tuple(versions[-wire.LIMITS.max_heartbeat_versions :]),
            replica=self._replica.digest(),
            invitation=self._admission.own,
        )

    def _heard_versions(self, now: float) -> list[wire.HeardVersion]:
        versions = []
        for state in self._replica.members():
            if state.peer_id != self._me:
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
            if peer != self._me and peer not in named and entry.epoch:
                age = math.ceil(now - entry.heard_at)
                versions.append(wire.HeardVersion(peer, entry.epoch, 0, age))
        return versions

    def _as_many_as_fit(self, versions: list[wire.HeardVersion]) -> list[wire.HeardVersion]:
        if len(versions) <= MAX_NAMED:
            return versions
        latest = set(self._delta_receiver.latest(NAMED_AS_LATEST))
        named = [version for version in versions if version.author in latest]
        others = [version for version in versions if version.author not in latest]
        # A different part each time: sooner or later every member is named.
        picked = self._rng.choice(len(others), MAX_NAMED - len(named), replace=False)
        return named + [others[i] for i in sorted(picked)]


def _step(opinion: float) -> int:
    return sum(opinion >= step for step in OPINION_STEPS)
