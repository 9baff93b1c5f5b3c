"""`Links`: when messages arrive, if at all. Sampled, vectorised, seeded; no state but the rng."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openfl.simulation.scenario import NetworkSection

Times = NDArray[np.float64]
LOST = np.inf


@dataclass(frozen=True, slots=True)
class Arrivals:
    """first: float64[n], the moment a message reaches each receiver; inf: never. again: the same
    for its second copy; inf: there is none."""

    first: Times
    again: Times


class Links:
    """`interval_seconds`: of rounds, which `delay_rounds` is measured in."""

    def __init__(
        self, network: NetworkSection, interval_seconds: float, rng: np.random.Generator
    ) -> None:
        self._network = network
        self._longest_delay = network.delay_rounds * interval_seconds
        self._rng = rng

    def published(self, now: float, size: int, receivers: int) -> Arrivals:
        """Of one published message of `size` bytes at `receivers` members."""
        network, rng = self._network, self._rng
        delay = self._latency(network.hops, receivers) + self._transfer(size)
        if self._longest_delay:
            delay += rng.random(receivers) * self._longest_delay
        if network.reorder:
            held = rng.random(receivers) < network.reorder
            delay += held * rng.random(receivers) * network.reorder_seconds
        first = now + delay
        if network.loss:
            first[rng.random(receivers) < network.loss] = LOST
        again = np.full(receivers, LOST)
        if network.duplicate:
            twice = (rng.random(receivers) < network.duplicate) & np.isfinite(first)
            again[twice] = first[twice] + self._latency(network.hops, int(twice.sum()))
        return Arrivals(first, again)

    def one_way(self, size: int) -> float:
        """Seconds that a request or an answer of `size` bytes takes."""
        return float(self._latency(1, 1)[0]) + self._transfer(size)

    def round_trips(self, receivers: int) -> Times:
        """float64[n]: a small request and its answer."""
        return self._latency(2, receivers)

    def _latency(self, hops: int, count: int) -> Times:
        network = self._network
        if not network.latency_spread or not network.latency_seconds:
            return np.full(count, hops * network.latency_seconds)
        spread = self._rng.standard_normal((hops, count))
        each: Times = network.latency_seconds * np.exp(network.latency_spread * spread)
        total: Times = each.sum(axis=0)
        return total

    def _transfer(self, size: int) -> float:
        bandwidth = self._network.bandwidth_bytes_per_second
        return size / bandwidth if bandwidth else 0.0
