"""What this member knows that it misses, and whom to ask for it.

A gap is noticed from a heartbeat's version vector, a jump in an author's sequence numbers, or an
announced delta. Each missing author is asked for once at a time, from any member that has it; a
failure tries the next source after a growing pause, whatever the author publishes meanwhile; what
nobody delivers is left alone for a minute, or until another member has it. Only what was asked
counts: a network that is cut off or overloaded is no reason to wait once it is back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from openfl.core.contribution import PeerId

FIRST_PAUSE_SECONDS = 0.15
"""A gap seen in a heartbeat is often filled by gossip already on its way: wait a little."""
RETRY_PAUSE_SECONDS = 0.5
MAX_ATTEMPTS = 6
GIVE_UP_SECONDS = 60.0
UNANSWERED_SECONDS = 8.0
"""The same when some were asked and did not answer: they may have it after all."""
MAX_SOURCES = 8
"""Of those not asked yet, and of those asked in vain."""


@dataclass(slots=True)
class Gap:
    """Deltas of `author` up to (epoch, seqno) are missing. `sources` have not been asked yet."""

    author: PeerId
    epoch: int
    seqno: int
    sources: list[PeerId]
    next_try: float
    attempts: int = 0
    asking: bool = False
    given_up: bool = False
    unanswered: bool = False
    """Whether any of the attempts ended without an answer."""
    in_vain: list[PeerId] = field(default_factory=list)
    """Sources that were asked, longest ago first. Whoever passes on an author's newest delta need
    not have what came before it, and its word must not keep those that have it from being asked."""
    asked: PeerId | None = None
    turns: int = 0

    def choose(self, reachable: frozenset[PeerId]) -> PeerId:
        """Whom to ask next: reachable sources first; any reachable member may have it too."""
        for source in (*self.sources, *self.in_vain):
            if source in reachable:
                return source
        return sorted(reachable)[self.turns % len(reachable)]

    def had_its_turn(self) -> None:
        """Whoever was asked comes last from now on."""
        self.turns += 1
        for sources in (self.sources, self.in_vain):
            if self.asked in sources:
                sources.remove(self.asked)
                self.in_vain.append(self.asked)
                del self.in_vain[:-MAX_SOURCES]
                break


class MissingDeltas:
    """The set of known gaps, at most `max_gaps`, one an author."""

    def __init__(self, rng: np.random.Generator, max_gaps: int = 4096) -> None:
        self._rng = rng
        self._max_gaps = max_gaps
        self._gaps: OrderedDict[PeerId, Gap] = OrderedDict()

    def __len__(self) -> int:
        return len(self._gaps)

    def notice(
        self,
        author: PeerId,
        epoch: int,
        seqno: int,
        source: PeerId,
        now: float,
        announced: bool = False,
    ) -> None:
        """`source` says that the author has published up to (epoch, seqno)."""
        gap = self._gaps.get(author)
        if gap is None:
            if len(self._gaps) >= self._max_gaps:
                # What nobody delivered makes room first: a liar can make up any number of gaps.
                self.forget(next((g.author for g in self._gaps.values() if g.given_up), None))
            if len(self._gaps) >= self._max_gaps:
                self._gaps.popitem(last=False)
            pause = FIRST_PAUSE_SECONDS * (0.5 + float(self._rng.random()))
            if announced:
                pause = 0.0  # gossip will not bring it
            self._gaps[author] = Gap(author, epoch, seqno, [source], now + pause)
            return
        if (epoch, seqno) > (gap.epoch, gap.seqno):
            gap.epoch, gap.seqno = epoch, seqno
            gap.attempts = 0
        if source in gap.sources or source in gap.in_vain or len(gap.sources) >= MAX_SOURCES:
            return
        gap.sources.append(source)
        if gap.given_up and not gap.asking:
            # Only this one is new: a try for it, not for all the others again.
            gap.attempts = MAX_ATTEMPTS - 1
            gap.next_try = min(gap.next_try, now + RETRY_PAUSE_SECONDS)

    def close(self, author: PeerId, epoch: int, complete_seqno: int) -> None:
        """Everything of the author up to (epoch, complete_seqno) is here."""
        gap = self._gaps.get(author)
        if gap is not None and (epoch, complete_seqno) >= (gap.epoch, gap.seqno):
            del self._gaps[author]

    def forget(self, author: PeerId | None) -> None:
        if author is not None:
            self._gaps.pop(author, None)

    @property
    def next_wake(self) -> float:
        return min(
            (gap.next_try for gap in self._gaps.values() if not gap.asking), default=float("inf")
        )

    def due(self, now: float, reachable: frozenset[PeerId], limit: int) -> list[tuple[PeerId, Gap]]:
        """(whom to ask, gap) for up to `limit` gaps that are due; they now count as asked."""
        if not reachable:
            self.wait(now)
            return []
        chosen: list[tuple[PeerId, Gap]] = []
        waiting = [g for g in self._gaps.values() if not g.asking and g.next_try <= now]
        # What was asked for least comes first: sources that do not answer must not hold up others.
        for gap in sorted(waiting, key=lambda gap: gap.attempts):
            if len(chosen) >= limit:
                break
            if gap.attempts >= MAX_ATTEMPTS:
                # Whoever has it does not give it, or we have no room for it: try again much later.
                gap.next_try = now + (UNANSWERED_SECONDS if gap.unanswered else GIVE_UP_SECONDS)
                gap.attempts = 0
                gap.unanswered = False
                gap.given_up = True
                continue
            gap.attempts += 1
            gap.asking = True
            gap.asked = gap.choose(reachable)
            chosen.append((gap.asked, gap))
        return chosen

    def answered(self, author: PeerId, now: float, failed: bool = False) -> None:
        """The one asked has answered, or failed to; what is still missing is tried again later."""
        gap = self._gaps.get(author)
        if gap is not None:
            gap.asking = False
            gap.had_its_turn()
            gap.unanswered = gap.unanswered or failed
            gap.next_try = now + RETRY_PAUSE_SECONDS * gap.attempts

    def wait(self, now: float) -> None:
        """Nobody can be asked now. All gaps wait together, so that this member wakes up for all of
        them at once and not for each."""
        for gap in self._gaps.values():
            gap.next_try = max(gap.next_try, now + RETRY_PAUSE_SECONDS)

    def postponed(self, author: PeerId, now: float) -> None:
        """There was no room to ask after all."""
        gap = self._gaps.get(author)
        if gap is not None:
            gap.asking = False
            gap.attempts -= 1
            gap.next_try = now + RETRY_PAUSE_SECONDS

    def sources_changed(self, now: float) -> None:
        """Members came into reach: what nobody else delivered is worth another try."""
        for gap in self._gaps.values():
            if gap.given_up and not gap.asking:
                gap.given_up = False
                gap.attempts = 0
                gap.next_try = min(gap.next_try, now + RETRY_PAUSE_SECONDS)
