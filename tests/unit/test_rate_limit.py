"""Token buckets: bursts, the long run, one author's flood at nobody else's cost."""

from __future__ import annotations

import pytest

from openfl.core.contribution import PeerId
from openfl.core.rate_limit import RateLimiter

ANNE, BERT = PeerId("anne"), PeerId("bert")


def allowed(limiter: RateLimiter, author: PeerId, times: int, now: float) -> int:
    return sum(limiter.allow(author, now) for _ in range(times))


def test_a_burst_is_allowed_and_not_one_more() -> None:
    assert allowed(RateLimiter(2.0, 5.0), ANNE, 20, 100.0) == 5


def test_after_a_burst_tokens_come_back_at_the_rate() -> None:
    limiter = RateLimiter(2.0, 5.0)
    allowed(limiter, ANNE, 20, 100.0)
    assert allowed(limiter, ANNE, 20, 101.5) == 3


def test_silence_earns_no_more_than_a_burst() -> None:
    limiter = RateLimiter(2.0, 5.0)
    allowed(limiter, ANNE, 20, 100.0)
    assert allowed(limiter, ANNE, 20, 10_000.0) == 5


def test_in_the_long_run_a_flood_gets_its_rate() -> None:
    limiter = RateLimiter(2.0, 5.0)
    passed = sum(limiter.allow(ANNE, step / 100) for step in range(10_000))
    assert 200 <= passed <= 206


def test_refused_messages_cost_nothing() -> None:
    limiter = RateLimiter(1.0, 1.0)
    assert limiter.allow(ANNE, 100.0)
    for step in range(99):
        assert not limiter.allow(ANNE, 100.0 + step / 100)
    assert limiter.allow(ANNE, 101.0)


def test_one_authors_flood_costs_no_other_author() -> None:
    limiter = RateLimiter(2.0, 5.0)
    allowed(limiter, ANNE, 1000, 100.0)
    assert allowed(limiter, BERT, 20, 100.0) == 5


def test_a_cost_is_paid_whole_or_not_at_all() -> None:
    limiter = RateLimiter(1.0, 5.0)
    assert not limiter.allow(ANNE, 100.0, cost=5.5)
    assert limiter.allow(ANNE, 100.0, cost=5.0)
    assert not limiter.allow(ANNE, 100.0, cost=0.1)


def test_a_clock_that_stands_still_or_goes_back_earns_nothing() -> None:
    limiter = RateLimiter(2.0, 1.0)
    assert limiter.allow(ANNE, 100.0)
    assert not limiter.allow(ANNE, 100.0)
    assert not limiter.allow(ANNE, 50.0)


def test_the_author_that_was_silent_longest_is_forgotten_first() -> None:
    limiter = RateLimiter(0.001, 1.0, max_names=2)
    carl = PeerId("carl")
    for author in (ANNE, BERT):
        assert limiter.allow(author, 100.0)
    assert not limiter.allow(ANNE, 100.0)  # used last, so it stays
    assert limiter.allow(carl, 100.0)
    assert not limiter.allow(ANNE, 100.0)
    assert limiter.allow(BERT, 100.0)  # forgotten: a new bucket, to its benefit


@pytest.mark.parametrize(("per_second", "burst"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_rates_that_allow_nothing_are_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        RateLimiter(per_second, burst)
