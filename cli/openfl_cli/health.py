"""Whether a node does what it is there for: for `status --healthy`, and what `wait` waits for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from openfl.core.telemetry import NodeSnapshot
from openfl_cli.text import clean, count_of, duration

HARMLESS = frozenset({"interval-lengthened", "other-version"})
"""Notices with which a node does all that it can: it adapts to the load, and learns with those of
its own version. Any other notice is a reason to look."""
STILL_SECONDS = 120.0
STILL_INTERVALS = 10.0
"""A node that learns does a round every interval: none in so many of them, and in so many seconds,
is no load but a fault."""
PHASES = ("starting", "joining", "waiting", "learning", "done")
"""In the order in which a node goes through them."""


def what_is_wrong(snapshot: NodeSnapshot) -> str:
    """Of a node that runs: why it is not healthy, in one line; empty when it is."""
    for notice in snapshot.notices:
        if notice.kind not in HARMLESS:
            return f"{clean(notice.kind, 24)}: {clean(notice.text)}"
    if snapshot.phase not in ("waiting", "learning", "done"):
        return f"{snapshot.phase}: it is in no group {'any more' if _ends(snapshot) else 'yet'}"
    if snapshot.phase == "learning":
        still = snapshot.time - _last_round_at(snapshot)
        most = max(STILL_SECONDS, STILL_INTERVALS * snapshot.interval_seconds)
        if still > most:
            return (
                f"no round for {duration(still)}, though one is due every"
                f" {snapshot.interval_seconds:g} s (still round {snapshot.round})"
            )
    return ""


def in_short(snapshot: NodeSnapshot) -> str:
    """`round 7 of music, 4 members, learning`."""
    members = count_of(len(snapshot.members), "member")
    group = clean(snapshot.group_name) or "no group"
    return f"round {snapshot.round} of {group}, {members}, {snapshot.phase}"


def _ends(snapshot: NodeSnapshot) -> bool:
    return snapshot.phase in ("stopping", "stopped")


def _last_round_at(snapshot: NodeSnapshot) -> float:
    """Unix seconds; when it is among none of the last events, no later than this."""
    rounds = [event.time for event in snapshot.events if event.kind == "round"]
    if rounds:
        return max(rounds)
    moved = [event.time for event in snapshot.events if event.kind in ("joined", "switched")]
    if moved or snapshot.round == 0 or len(snapshot.events) < 2:
        return max([snapshot.started_at, *moved])
    return max(snapshot.started_at, snapshot.events[0].time)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody waits for; what is None or False is not waited for."""

    members: int | None = None
    round: int | None = None
    group: str | None = None
    phase: str | None = None
    useful: bool = False

    def missing(self, snapshot: NodeSnapshot) -> tuple[str, ...]:
        """What is not so yet, each in a few words."""
        return tuple(self._missing(snapshot))

    def _missing(self, snapshot: NodeSnapshot) -> Iterator[str]:
        members = len(snapshot.members)
        if self.members is not None and members < self.members:
            yield f"{members} of {count_of(self.members, 'member')}"
        if self.round is not None and snapshot.round < self.round:
            yield f"round {snapshot.round} of {self.round}"
        if self.group is not None and not _is_group(snapshot, self.group):
            where = clean(snapshot.group_name)
            yield f"in {f'group {where}' if where else 'no group'}, not {clean(self.group)}"
        if self.phase is not None and not _is_past(snapshot.phase, self.phase):
            yield f"phase {snapshot.phase}, not {self.phase}"
        if self.useful and snapshot.useful_after is None:
            yield "no model that others taught"


def _is_group(snapshot: NodeSnapshot, wanted: str) -> bool:
    names = [unicodedata.normalize("NFC", name) for name in (snapshot.group_name, wanted)]
    is_id = len(wanted) >= 4 and str(snapshot.group_id).startswith(wanted.lower())
    return names[0] == names[1] or is_id


def _is_past(phase: str, wanted: str) -> bool:
    """Whether a node in `phase` is in the wanted one, or has been through it."""
    return phase in PHASES and PHASES.index(phase) >= PHASES.index(wanted)
