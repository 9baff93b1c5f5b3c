"""Trickle timers (RFC 6206): talk soon when something changed, ever more rarely when nothing did.

Each interval a random moment of its second half is drawn; then the node speaks unless it has
already heard `redundancy` others say the same. A quiet interval is followed by one twice as long,
up to `max_seconds`; an inconsistency starts again at `min_seconds`.
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
        self._min = self._set_min = min_seconds
        self._max = max_seconds
        self._redundancy = redundancy
        self._rng = rng
        self._interval = min_seconds
        self._end = 0.0
        self._speak_at: float | None = None
        self._heard = 0
        self._started = False

    def start(self, now: float) -> None:
        """Begin the first interval."""
        self._started = True
        self._begin(now, self._min)

    def reset(self, now: float) -> None:
        """Something changed: back to the shortest interval, unless already there."""
        if self._started and self._interval > self._min:
            self._begin(now, self._min)

    def stretch(self, factor: float) -> None:
        """From the next interval on the shortest one is `factor` times as long as it was set. The
        longest stays: others take whoever is silent for longer to be away."""
        self._min = min(self._set_min * factor, self._max)

    def hear_consistent(self) -> None:
        """Another node said what we would say."""
        self._heard += 1

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
            speak = self._heard < self._redundancy
        if self._started and now >= self._end:
            self._begin(now, min(2 * self._interval, self._max))
        return speak

    def _begin(self, now: float, interval: float) -> None:
        self._interval = interval
        self._end = now + interval
        self._speak_at = now + interval * (0.5 + 0.5 * float(self._rng.random()))
        self._heard = 0
