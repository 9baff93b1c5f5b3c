"""Token buckets by name (of an author, an address), bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimiter:
    """`allow(name, now, cost)`: at most `burst` at once and `per_second` in the long run.

    At most `max_names` buckets are kept; the one used longest ago is forgotten first, which can
    only be to the benefit of whoever was silent meanwhile.
    """

    def __init__(self, per_second: float, burst: float, max_names: int = 8192) -> None:
        if per_second <= 0 or burst <= 0:
            raise ValueError("per_second and burst must be positive")
        self._per_second = per_second
        self._burst = burst
        self._max_names = max_names
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def allow(self, name: str, now: float, cost: float = 1.0) -> bool:
        """Whether `name` may spend `cost` now; it is spent when so."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._burst, now)
            if len(self._buckets) > self._max_names:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        earned = max(0.0, now - bucket.filled_at) * self._per_second
        bucket.tokens = min(self._burst, bucket.tokens + earned)
        bucket.filled_at = now
        if cost > bucket.tokens:
            return False
        bucket.tokens -= cost
        return True
