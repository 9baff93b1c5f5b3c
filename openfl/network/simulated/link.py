"""The model of a link between two simulated peers: pure, seeded, one object a direction.

A link draws from its own generator, so that what happens to its n-th message does not depend on the
traffic of other links: the same scenario with the same seed gives the same run.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How the simulated network behaves. Probabilities are for each gossip message and link."""

    latency_seconds: tuple[float, float] = (0.005, 0.05)
    """Range of the one-way delay; each link has its own, drawn once."""
    loss: float = 0.0
    """Probability that a gossip message is lost, and that a request fails."""
    duplication: float = 0.0
    """Probability that a gossip message arrives twice."""
    reordering: float = 0.0
    """Probability that a gossip message is held up for up to ten latencies; others overtake it."""
    bandwidth_bytes_per_second: float = float("inf")
    """Of each link and direction; messages queue behind each other."""

    def __post_init__(self) -> None:
        low, high = self.latency_seconds
        if not 0 < low <= high:
            raise ValueError("latency_seconds is a range of positive seconds")
        for name in ("loss", "duplication", "reordering"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability")
        if not self.bandwidth_bytes_per_second > 0:
            raise ValueError("bandwidth_bytes_per_second is positive")


class Link:
    """One direction between two peers."""

    def __init__(self, settings: LinkSettings, seed: str) -> None:
        self._settings = settings
        self._rng = random.Random(seed)
        self.latency_seconds = self._rng.uniform(*settings.latency_seconds)
        self._busy_until = 0.0
        self._last_arrival = 0.0

    def transfer(self, now: float, size_bytes: int) -> float:
        """When bytes sent now arrive, in order and without loss (a stream)."""
        start = max(now, self._busy_until)
        self._busy_until = start + size_bytes / self._settings.bandwidth_bytes_per_second
        arrival = max(self._busy_until + self.latency_seconds, self._last_arrival)
        self._last_arrival = arrival
        return arrival

    def gossip(self, now: float, size_bytes: int) -> tuple[float, ...]:
        """When the copies of a gossip message sent now arrive: none when it is lost."""
        lost, doubled, held = (self._rng.random() for _ in range(3))
        extra = self._rng.uniform(0, 10 * self.latency_seconds)
        arrival = self.transfer(now, size_bytes)
        if lost < self._settings.loss:
            return ()
        if held < self._settings.reordering:
            arrival += extra
        if doubled < self._settings.duplication:
            return (arrival, arrival + extra)
        return (arrival,)

    def request_fails(self) -> bool:
        """Whether the next request on this link is lost: drawn anew each time."""
        return self._rng.random() < self._settings.loss
