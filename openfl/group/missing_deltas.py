"""`MissingDeltas`: what this member knows that it lacks, and whom to ask for it.

A missing delta is noticed from a heartbeat's version vector, a jump in an author's sequence
numbers, or an announced delta. Each author's are asked for once at a time, from any member that has
them; a failure tries the next source after a growing pause, whatever the author publishes
meanwhile; what nobody delivers is left alone for a minute, or until another member has it. Only
what was asked counts: a network that is cut off or overloaded is no reason to wait once it is back.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from openfl.core.contribution import PeerId

UNDER_WAY_SECONDS = 1.0
"""What a heartbeat shows to be missing is often on its way by gossip already: wait a little."""
OVERTAKEN_SECONDS = 0.5
"""What an author published before what just came from it is more likely lost."""
RETRY_PAUSE_SECONDS = 0.5
MAX_ATTEMPTS = 6
GIVE_UP_SECONDS = 60.0
UNANSWERED_SECONDS = 8.0
"""The same when some were asked and did not answer: they may have it after all."""
MAX_SOURCES = 8
"""Of those not asked yet, and of those asked in vain."""


@dataclass(slots=True)
class MissingDelta:
    """The delta (epoch, seqno) of `author` is missing, perhaps with some before it. `sources` have
    not been asked yet."""

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
    """What is known to be missing, one entry for each of at most `max_authors` authors."""

    def __init__(self, rng: np.random.Generator, max_authors: int = 4096) -> None:
        """Nothing is known to be missing. `rng` spreads the first pauses."""
        self._rng = rng
        self._max_authors = max_authors
        self._missing: OrderedDict[PeerId, MissingDelta] = OrderedDict()

    def __len__(self) -> int:
        """How many authors something is missing of."""
        return len(self._missing)

    def notice(
        self,
        author: PeerId,
        epoch: int,
        seqno: int,
        source: PeerId,
        now: float,
        announced: bool = False,
        overtaken: bool = False,
    ) -> None:
        """`source` says that the author has published up to (epoch, seqno). announced: gossip will
        not bring it. overtaken: it has brought what the author published later."""
        wanted = self._missing.get(author)
        if wanted is None:
            if len(self._missing) >= self._max_authors:
                # What nobody delivered makes room first: a liar can make up any number of deltas.
                self.forget(next((w.author for w in self._missing.values() if w.given_up), None))
            if len(self._missing) >= self._max_authors:
                self._missing.popitem(last=False)
            pause = OVERTAKEN_SECONDS if overtaken else UNDER_WAY_SECONDS
            pause *= 0.0 if announced else 0.5 + float(self._rng.random())
            self._missing[author] = MissingDelta(author, epoch, seqno, [source], now + pause)
            return
        if (epoch, seqno) > (wanted.epoch, wanted.seqno):
            wanted.epoch, wanted.seqno = epoch, seqno
            wanted.attempts = 0
        if (
            source in wanted.sources
            or source in wanted.in_vain
            or len(wanted.sources) >= MAX_SOURCES
        ):
            return
        wanted.sources.append(source)
        if wanted.given_up and not wanted.asking:
            # Only this one is new: a try for it, not for all the others again.
            wanted.attempts = MAX_ATTEMPTS - 1
            wanted.next_try = min(wanted.next_try, now + RETRY_PAUSE_SECONDS)

    def close(self, author: PeerId, epoch: int, complete_seqno: int) -> None:
        """Everything of the author up to (epoch, complete_seqno) is here."""
        wanted = self._missing.get(author)
        if wanted is not None and (epoch, complete_seqno) >= (wanted.epoch, wanted.seqno):
            del self._missing[author]

    def forget(self, author: PeerId | None) -> None:
        """Nothing of this author is wanted any more: it has left, or expired."""
        if author is not None:
            self._missing.pop(author, None)

    @property
    def next_wake(self) -> float:
        """When something is due to be asked for; infinity: nothing is."""
        return min(
            (wanted.next_try for wanted in self._missing.values() if not wanted.asking),
            default=float("inf"),
        )

    def due(
        self, now: float, reachable: frozenset[PeerId], limit: int
    ) -> list[tuple[PeerId, MissingDelta]]:
        """(whom to ask, for what), at most `limit` of those due; they now count as asked."""
        if not reachable:
            self.wait(now)
            return []
        chosen: list[tuple[PeerId, MissingDelta]] = []
        waiting = [w for w in self._missing.values() if not w.asking and w.next_try <= now]
        # What was asked for least comes first: sources that do not answer must not hold up others.
        for wanted in sorted(waiting, key=lambda wanted: wanted.attempts):
            if len(chosen) >= limit:
                break
            if wanted.attempts >= MAX_ATTEMPTS:
                # Whoever has it does not give it, or we have no room for it: try again much later.
                wanted.next_try = now + (
                    UNANSWERED_SECONDS if wanted.unanswered else GIVE_UP_SECONDS
                )
                wanted.attempts = 0
                wanted.unanswered = False
                wanted.given_up = True
                continue
            wanted.attempts += 1
            wanted.asking = True
            wanted.asked = wanted.choose(reachable)
            chosen.append((wanted.asked, wanted))
        return chosen

    def answered(self, author: PeerId, now: float, failed: bool = False) -> None:
        """The one asked has answered, or failed to; what is still missing is tried again later."""
        wanted = self._missing.get(author)
        if wanted is not None:
            wanted.asking = False
            wanted.had_its_turn()
            wanted.unanswered = wanted.unanswered or failed
            wanted.next_try = now + RETRY_PAUSE_SECONDS * wanted.attempts

    def wait(self, now: float) -> None:
        """Nobody can be asked now. All entries wait together, so that this member wakes up once for
        all of them and not for each."""
        for wanted in self._missing.values():
            wanted.next_try = max(wanted.next_try, now + RETRY_PAUSE_SECONDS)

    def postponed(self, author: PeerId, now: float) -> None:
        """There was no room to ask after all."""
        wanted = self._missing.get(author)
        if wanted is not None:
            wanted.asking = False
            wanted.attempts -= 1
            wanted.next_try = now + RETRY_PAUSE_SECONDS

    def sources_changed(self, now: float) -> None:
        """Members came into reach: what nobody else delivered is worth another try."""
        for wanted in self._missing.values():
            if wanted.given_up and not wanted.asking:
                wanted.given_up = False
                wanted.attempts = 0
                wanted.next_try = min(wanted.next_try, now + RETRY_PAUSE_SECONDS)
