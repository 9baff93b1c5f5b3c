"""Trickle timers (RFC 6206): talk soon when something changed, ever more rarely when nothing did.

Each interval a random moment of its second half is drawn; then the node speaks unless it has
already heard `redundancy` others say the same. A quiet interval is followed by one twice as long,
up to `max_seconds`; an inconsistency starts again at `min_seconds`.

Beyond the RFC: while members learn, hardly two of them ever say the same. But whoever was heard in
another way need not speak to be known to be here, and where enough others speak, what it would say
of third ones is known. `turns`: in a group so large that its members are heard in another way so
many times more rarely, intervals are as many times longer; as many speak in each second.
"""

from __future__ import annotations

import numpy as np


class Trickle:
    """One timer. All times are the caller's `now`, in seconds."""

    def __init__(
        self, min_seconds: float, max_seconds: float, redundancy: int, rng: np.random.Generator
    ) -> None:
        """Not started. ValueError unless 0 < min_seconds <= max_seconds."""
        if not 0 < min_seconds <= max_seconds:
            raise ValueError("0 < min_seconds <= max_seconds must hold")
        self.turns = 1
        """By which intervals are longer; from the next one on."""
        self.covered = False
        """Whether, when `fire` was last True, enough others had spoken for this one to add nothing
        but that it is here."""
        self._min = self._set_min = min_seconds
        self._max = max_seconds
        self._redundancy = redundancy
        self._rng = rng
        self._interval = min_seconds
        self._in_turns = 1
        self._end = 0.0
        self._speak_at: float | None = None
        self._heard = 0
        self._others = 0
        self._known_until = float("-inf")
        self._news = False
        self._started = False

    def start(self, now: float) -> None:
        """Begin the first interval."""
        self._started = True
        self._begin(now, self._min)

    def reset(self, now: float) -> None:
        """Something changed: back to the shortest interval, unless already there."""
        if self._started and self._interval > self._min * self.turns:
            self._begin(now, self._min)

    def slow_down(self, factor: float) -> None:
        """From the next interval on the shortest one is `factor` times as long as it was set. The
        longest stays: others take whoever is silent for longer to be away."""
        self._min = min(self._set_min * factor, self._max)

    def hear_consistent(self) -> None:
        """Another node said what we would say."""
        self._heard += 1
        self._others += 1

    def hear_other(self) -> None:
        """Another node spoke, and lacks nothing that we have."""
        self._others += 1

    def hear_lacking(self, now: float) -> None:
        """Another node lacks something: who spoke before it did not help it."""
        self._others = 0
        self.reset(now)

    def has_news(self, now: float) -> None:
        """There is something to tell that no other node does: the next turn is not left out."""
        self._news = True
        self.reset(now)

    def known_until(self, until: float) -> None:
        """Others know without this timer that we are here."""
        self._known_until = until

    @property
    def interval(self) -> float:
        """Length of the interval under way, in seconds."""
        return self._interval

    @property
    def next_wake(self) -> float:
        """When `fire` wants to be called next."""
        if not self._started:
            return float("inf")
        return self._speak_at if self._speak_at is not None else self._end

    def fire(self, now: float) -> bool:
        """True when it is time to speak. To be called at `next_wake` or later."""
        speak = False
        if self._speak_at is not None and now >= self._speak_at:
            self._speak_at = None
            self.covered = self._others >= self._redundancy * self._interval / self._min
            self.covered = self.covered and not self._news
            known = self.covered and now < self._known_until
            speak = (self._heard < self._redundancy and not known) or self._news
            self._news = False
        if self._started and now >= self._end:
            self._begin(now, min(2 * self._interval / self._in_turns, self._max))
        return speak

    def _begin(self, now: float, interval: float) -> None:
        self._in_turns = self.turns
        interval *= self._in_turns
        self._interval = interval
        self._end = now + interval
        self._speak_at = now + interval * (0.5 + 0.5 * float(self._rng.random()))
        self._heard = self._others = 0
