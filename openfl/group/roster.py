"""Who is in the group right now: what each member last said of itself, and how long ago.

This is for display, pacing and group cards. A member's influence on the model is up to the replica
and lasts longer: a member that is away for a while is no longer *present*, but what it
taught the group stays until it leaves or its time to live ends.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from openfl.core.contribution import Evaluation, PeerId

CONNECTED_PATIENCE = 3.0
"""How many times as much silence is borne of a member whose connection answers."""


@dataclass(slots=True)
class RosterEntry:
    """`heard_at` is on the caller's clock; a relayed word counts with its age. `excused_at`: what
    `Roster.excuse` had added up to by then."""

    heard_at: float
    excused_at: float = 0.0
    epoch: int = 0
    round: int = 0
    fit: float | None = None
    metric: str = ""
    present: bool = False
    """Whether the owner was told that this member is here."""

    def tell(self, epoch: int, round_number: int, evaluation: Evaluation | None) -> None:
        """What the member says of itself."""
        self.epoch = max(self.epoch, epoch)
        self.round = round_number
        if evaluation is not None:
            self.fit, self.metric = evaluation.value, evaluation.metric


class Roster:
    """At most `max_members` entries; beyond that the member heard longest ago makes room."""

    def __init__(self, presence_seconds: float, max_members: int) -> None:
        self.presence_seconds = presence_seconds
        """Silence after which a member counts as away, when nothing excuses it."""
        self.patience = 1.0
        """How many times as much silence is borne: this node, and others, are loaded."""
        self.connected: frozenset[PeerId] = frozenset()
        """Members whose connection to this node answers."""
        self.me: PeerId | None = None
        """This member, whose word does not tell that anybody is heard."""
        self._anybody_at: float | None = None
        """When anybody was last heard."""
        self._excused = 0.0
        self._max_members = max_members
        self._entries: dict[PeerId, RosterEntry] = {}
        self._quiet: tuple[float, float] = (0.0, float("-inf"))
        """(the window, until when) nobody goes away who was here at the last `changes`."""
        self._may_arrive = True
        """Whether somebody may have come back since."""

    def heard(self, peer: PeerId, now: float, age: float = 0.0) -> RosterEntry:
        """Something by `peer` was heard `age` seconds ago, directly or through others."""
        heard_at = now - max(0.0, age)
        if peer != self.me:
            self._anybody_is_heard(heard_at)
        entry = self._entries.get(peer)
        if entry is None:
            if len(self._entries) >= self._max_members:
                oldest = min(self._entries, key=lambda p: self._entries[p].heard_at)
                if self._entries[oldest].heard_at >= heard_at:
                    return RosterEntry(heard_at)
                del self._entries[oldest]
            entry = self._entries[peer] = RosterEntry(heard_at, self._excused)
        if not entry.present:
            self._may_arrive = True
        if heard_at >= entry.heard_at:
            entry.heard_at, entry.excused_at = heard_at, self._excused
            window, until = self._quiet
            if heard_at + window < until:  # what it was excused before counts no more
                self._quiet = (window, heard_at + window)
        return entry

    def excuse(self, seconds: float) -> None:
        """This node has heard nobody for so long, by its own fault: nobody was silent meanwhile."""
        self._excused += max(0.0, seconds)
        self._may_arrive = True
        if self._anybody_at is not None:
            self._anybody_at += max(0.0, seconds)

    def _anybody_is_heard(self, at: float) -> None:
        """When all were silent at once, though some are connected, it was the line, not they."""
        last = at if self._anybody_at is None else self._anybody_at
        self._anybody_at = max(at, last)
        beyond = at - last - self.presence_seconds / 4
        if beyond > 0 and self.connected:
            self._excused += min(beyond, CONNECTED_PATIENCE * self.presence_seconds)
            self._may_arrive = True

    def _is_line_silent(self, now: float) -> bool:
        last = self._anybody_at
        return bool(self.connected) and last is not None and now - last > self.presence_seconds / 4

    def said(
        self,
        peer: PeerId,
        now: float,
        epoch: int,
        round_number: int,
        evaluation: Evaluation | None,
    ) -> RosterEntry:
        """`peer` itself told its round and its fit, now."""
        entry = self.heard(peer, now)
        entry.tell(epoch, round_number, evaluation)
        return entry

    def forget(self, peer: PeerId) -> None:
        """The member has left, or was never more than hearsay."""
        self._entries.pop(peer, None)

    def get(self, peer: PeerId) -> RosterEntry | None:
        """What is known of a member; None when nothing is."""
        return self._entries.get(peer)

    def is_present(self, peer: PeerId, entry: RosterEntry, now: float) -> bool:
        """Whether the member counts as here: heard of lately, or, if it was here already, not so
        long ago while its connection answers, or while nobody at all is heard though some are
        connected. A loaded member speaks late, and what it says may wait on the way."""
        window = self.presence_seconds * self.patience
        if entry.present and (peer in self.connected or self._is_line_silent(now)):
            window *= CONNECTED_PATIENCE
        return self._silence(entry, now) <= window

    def hears(self, now: float) -> bool:
        """Whether any other member was heard of lately."""
        window = self.presence_seconds * self.patience
        return self._anybody_at is not None and now - self._anybody_at <= window

    def _silence(self, entry: RosterEntry, now: float) -> float:
        """Seconds for which the member was silent while this node listened."""
        return now - entry.heard_at - (self._excused - entry.excused_at)

    def present(self, now: float) -> Iterator[tuple[PeerId, RosterEntry]]:
        """Members heard of within the presence window."""
        for peer, entry in self._entries.items():
            if self.is_present(peer, entry, now):
                yield peer, entry

    def changes(self, now: float) -> tuple[list[PeerId], list[PeerId]]:
        """(arrived, gone quiet) since the last call."""
        window = self.presence_seconds * self.patience
        if not self._may_arrive and self._quiet[0] == window and now <= self._quiet[1]:
            return [], []  # asked for each message, of hundreds of members
        arrived, gone = [], []
        until = float("inf")
        for peer, entry in self._entries.items():
            here = self.is_present(peer, entry, now)
            if here and not entry.present:
                arrived.append(peer)
            elif entry.present and not here:
                gone.append(peer)
            entry.present = here
            if here:
                until = min(until, entry.heard_at + self._excused - entry.excused_at + window)
        self._quiet, self._may_arrive = (window, until), False
        return arrived, gone

    def fits(
        self, now: float, metric: str, without: PeerId | None = None
    ) -> tuple[float | None, float | None]:
        """(best, median) fit of the present members but `without` by `metric`; None when nobody
        told one."""
        fits = [
            entry.fit
            for peer, entry in self.present(now)
            if entry.fit is not None and entry.metric == metric and peer != without
        ]
        return (min(fits), statistics.median(fits)) if fits else (None, None)
