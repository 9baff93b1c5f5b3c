"""When a peer that did not answer is tried again. Time and randomness are arguments."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from openfl.core.contribution import PeerId

MAX_KEPT = 256
RETRY_MIN_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
RETRY_MISSED_SECONDS = 4.0
"""Longest pause between tries of a peer that is missed. A try goes on for 8 s when nothing comes
back, and TCP asks again within it: after a partition somebody gets through within five seconds."""
RETRY_JITTER = 0.25
"""By which part a pause between tries may be shorter: nodes that lost the same peer at the same
moment are not to come back to it at the same moment."""
EARLY_SECONDS = 8.0
"""From its start on, a node that was never connected to anybody tries its bootstrap peers in quick
succession: they may have been started at the same moment."""
EARLY_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Failure:
    """Of the last dial: the `times`-th in a row. until: when to try again."""

    times: int
    until: float
    cause: str


def retry_delay(failures: int, longest: float = RETRY_MAX_SECONDS) -> float:
    """Seconds to leave a peer alone after `failures` (>= 1) failed dials in a row, at most."""
    return float(min(longest, RETRY_MIN_SECONDS * 2.0 ** min(failures - 1, 16)))


class Retries:
    """`awaited`: the bootstrap peers."""

    def __init__(self, awaited: Iterable[PeerId], rng: random.Random) -> None:
        self._awaited = frozenset(awaited)
        self._rng = rng
        self._failures: dict[PeerId, Failure] = {}
        self._early_until: float | None = None

    def failure(self, peer: PeerId) -> Failure | None:
        """Of its last dial; None when that succeeded, or there was none."""
        return self._failures.get(peer)

    def times(self, peer: PeerId) -> int:
        """How often in a row it failed."""
        failure = self._failures.get(peer)
        return 0 if failure is None else failure.times

    def is_due(self, peer: PeerId, now: float) -> bool:
        """Whether it may be dialled now."""
        failure = self._failures.get(peer)
        return failure is None or now >= failure.until

    def is_early(self, now: float) -> bool:
        """Whether this node has just begun and was never connected to anybody."""
        if self._early_until is None:
            self._early_until = now + EARLY_SECONDS
        return now < self._early_until and bool(self._awaited)

    def connected(self) -> None:
        """Somebody is there: the beginning is over."""
        self._early_until = -float("inf")

    def failed(self, peer: PeerId, cause: str, missed: bool, now: float) -> None:
        """A dial of the peer came to nothing. missed: it may be back any moment."""
        times = self.times(peer) + 1
        longest = RETRY_MISSED_SECONDS if missed else RETRY_MAX_SECONDS
        if peer in self._awaited and self.is_early(now):
            times, longest = 1, EARLY_RETRY_SECONDS
        pause = retry_delay(times, longest) * self._rng.uniform(1.0 - RETRY_JITTER, 1.0)
        self._failures[peer] = Failure(times, now + pause, cause)
        while len(self._failures) > MAX_KEPT:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, peer: PeerId) -> None:
        """A dial of the peer led to a connection."""
        self.connected()
        self._failures.pop(peer, None)
