"""`Joining`: how a newcomer gets the group's model, from a first look around to being a member.

It asks one reachable member after another for a snapshot, until one has something to give. One that
is silent for a while is not waited for alone: another is asked beside it, and the first to answer
counts (a hedged request: Dean, Barroso, The tail at scale, 2013). It does without when nobody else
is found, when whoever is asked is new too, or when too many tries fail: gossip then brings what
there is, more slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Evaluation, PeerId
from openfl.group import events as ev
from openfl.group.fetcher import Fetcher, SnapshotEnd

MAX_SNAPSHOT_FAILURES = 3
MAX_EMPTY_SNAPSHOTS = 3
"""Members that have learned nothing themselves; then the group is taken to be new."""
RETRY_SNAPSHOT_SECONDS = 0.5
HEDGE_SNAPSHOT_SECONDS = 1.5
"""How long a member may be silent before another is asked as well; two at once at most. A request
to a member that was lost without a word times out only after several seconds."""
ACQUAINTANCE_SECONDS = 1.5
"""Connected peers tell their topics within this time."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Joining is over; `how` is for the owner to read."""

    level: Literal["info", "warning"]
    how: str


class FirstJudgement:
    """Tells the owner, once, what the group's model is worth to this member: when one that others
    have contributed to was first judged on this member's own held-out data."""

    def __init__(self, replica: Replica, me: PeerId) -> None:
        self._replica = replica
        self._me = me
        self._judging: int | None = None
        """How many others have a part in the model that is being judged."""
        self._told = False

    def begins(self, effects: list[ev.Effect]) -> None:
        """To be called with effects as soon as they are ordered: some train or evaluate."""
        if not self._told and any(isinstance(e, ev.Train | ev.Evaluate) for e in effects):
            authors = {state.peer_id for state in self._replica.members()}
            self._judging = len(authors - {self._me})

    def ended(self, validation: Evaluation | None) -> list[ev.Effect]:
        """What was judged last has come out as this; None: there is nothing to judge by."""
        others, self._judging = self._judging, None
        if self._told or not others:
            return []
        self._told = True
        text = f"this node has a model that {others} other{'' if others == 1 else 's'} taught"
        if validation is not None:
            text += f": {validation.metric} {validation.value:.4f} on data it never saw"
        value = None if validation is None else validation.value
        return [ev.Tell("info", "useful", text, {"validation": value, "others": others})]


class Joining:
    """Asked by the session as long as it is joining; it changes nothing but itself."""

    def __init__(self, replica: Replica, fetcher: Fetcher, rng: np.random.Generator) -> None:
        self.snapshot_from: PeerId | None = None
        """The member whose snapshot this one joined with; None as long as there was none."""
        self._replica = replica
        self._fetcher = fetcher
        self._rng = rng
        self._alone_at = float("inf")
        """When to stop waiting for somebody to give a snapshot."""
        self._failures: dict[PeerId, int] = {}
        self._as_new: set[PeerId] = set()
        """Members whose snapshot was empty: they have just come themselves."""
        self._retry_at = 0.0
        self._taught_at: float | None = None

    def has_just_come(self, now: float) -> bool:
        """Whether it is now that this member joins, with a snapshot of what others have learned."""
        return self._taught_at == now

    def next_wake(self, reachable: frozenset[PeerId]) -> float:
        """When `advance` may have something to do though nothing was heard."""
        if self._fetcher.fetching_snapshot:
            return self._hedge_at(reachable)
        return self._retry_at if reachable else self._alone_at

    def discovery_ended(self, alone: bool, now: float) -> None:
        """The first search is over; see `events.DiscoveryEnded`."""
        self._alone_at = now if alone else now + ACQUAINTANCE_SECONDS

    def advance(self, reachable: frozenset[PeerId], now: float) -> ev.Request | Joined | None:
        """The next member to ask, or the end of joining; None: nothing but to wait."""
        if self._fetcher.fetching_snapshot:
            if now < self._hedge_at(reachable):
                return None
            return self._fetcher.snapshot(self._pick(self._others(reachable)), now)
        failures = sum(self._failures.values())
        willing = self._others(reachable)
        if self._as_new and (not willing or len(self._as_new) >= MAX_EMPTY_SNAPSHOTS):
            return Joined("info", "no member has learned anything yet")
        if willing and failures < MAX_SNAPSHOT_FAILURES:
            if now < self._retry_at:
                return None
            return self._fetcher.snapshot(self._pick(willing), now)
        if willing:
            how = f"no member gave a snapshot ({failures} tries): catching up from gossip"
            return Joined("warning", how)
        if now >= self._alone_at:
            return Joined("info", "no other member found: starting the group here")
        return None

    def snapshot_ended(self, peer: PeerId, end: SnapshotEnd, now: float) -> Joined | None:
        """What `peer` gave is merged, or it failed to give it; None: `advance` asks another."""
        if end is SnapshotEnd.FAILED:
            self._failures[peer] = self._failures.get(peer, 0) + 1
            self._retry_at = now + RETRY_SNAPSHOT_SECONDS
            return None
        self.snapshot_from = peer
        if not self._replica.member_count:
            self._as_new.add(peer)
            return None
        self._taught_at = now
        self._fetcher.give_up_snapshots()
        return Joined("info", self._snapshot_text(peer))

    def snapshot_given(self, peer: PeerId | None) -> Joined:
        """The replica was filled from elsewhere; see `events.SnapshotGiven`."""
        self.snapshot_from = peer
        how = "founding it here" if peer is None else self._snapshot_text(peer)
        return Joined("info", how)

    def _hedge_at(self, reachable: frozenset[PeerId]) -> float:
        """When to ask another member beside the one that is asked; never: infinity."""
        since = self._fetcher.silent_since
        room = sum(self._failures.values()) + 1 < MAX_SNAPSHOT_FAILURES
        fresh = set(self._others(reachable)) - set(self._failures)
        if since is None or not room or not fresh:
            return float("inf")
        return since + HEDGE_SNAPSHOT_SECONDS

    def _others(self, reachable: frozenset[PeerId]) -> list[PeerId]:
        """Who may be asked next: those that have not failed, if there are any."""
        others = sorted(reachable - self._as_new - self._fetcher.snapshot_sources)
        return [p for p in others if p not in self._failures] or others

    def _pick(self, peers: list[PeerId]) -> PeerId:
        return peers[int(self._rng.integers(len(peers)))]

    def _snapshot_text(self, peer: PeerId) -> str:
        members, rows = self._replica.member_count, self._replica.model_rows
        plural = "" if members == 1 else "s"
        return f"snapshot of {rows} rows by {members} member{plural} from {ev.short(peer)}"
