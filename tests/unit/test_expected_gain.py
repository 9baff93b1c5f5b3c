"""`GainPrior`: what may be expected of a move, from what was measured and from what is usual."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.switching.expected_gain import MIN_ERROR, GainPrior

PRIOR = GainPrior()
ONE_KIND = GainPrior(rare_part=0.0)

gains = st.floats(-1.0, 1.0)
errors = st.floats(0.0, 1.0)
sizes = st.integers(0, 5000)


@given(gain=gains, members=sizes, others=sizes)
def test_what_is_measured_badly_comes_down_to_what_sizes_explain(
    gain: float, members: int, others: int
) -> None:
    """An error of 1 is all that a gain can be: with one kind of data nothing of it is left."""
    usual = 0.02 * math.log(max(members, 0.5) / max(others, 0.5))
    found = ONE_KIND.expected(gain, 1.0, members, others)
    assert found == pytest.approx(usual, abs=0.03**2 * abs(gain - usual) + 1e-12)


@given(gain=gains, members=sizes, others=sizes)
def test_what_is_measured_surely_is_what_counts(gain: float, members: int, others: int) -> None:
    assert PRIOR.expected(gain, 0.0, members, others) == pytest.approx(gain, abs=1e-6)
    assert PRIOR.expected(gain, 1e-4, members, others) == pytest.approx(gain, abs=1e-4)


@given(gain=gains, error=errors, members=sizes, others=sizes)
def test_what_one_group_gains_by_another_that_one_loses_by_it(
    gain: float, error: float, members: int, others: int
) -> None:
    there = PRIOR.expected(gain, error, members, others)
    back = PRIOR.expected(-gain, error, others, members)
    assert there == pytest.approx(-back, abs=1e-12)


@given(gain=gains, more=st.floats(1e-3, 1.0), error=errors, members=sizes, others=sizes)
def test_who_measures_more_expects_more(
    gain: float, more: float, error: float, members: int, others: int
) -> None:
    less = PRIOR.expected(gain, error, members, others)
    assert PRIOR.expected(gain + more, error, members, others) > less


@given(gain=gains, error=st.floats(0.01, 1.0), members=sizes, others=st.integers(1, 5000))
def test_of_equal_measures_the_larger_group_is_expected_to_be_better(
    gain: float, error: float, members: int, others: int
) -> None:
    smaller = ONE_KIND.expected(gain, error, members, others)
    assert ONE_KIND.expected(gain, error, 2 * members + 1, others) > smaller


@given(gain=gains, error=errors, members=sizes, others=sizes)
def test_it_lies_between_what_is_usual_and_what_was_measured(
    gain: float, error: float, members: int, others: int
) -> None:
    usual = 0.02 * math.log(max(members, 0.5) / max(others, 0.5))
    found = PRIOR.expected(gain, error, members, others)
    assert min(usual, gain) - 1e-9 <= found <= max(usual, gain) + 1e-9


@given(
    gain=st.floats(-1e6, 1e6),
    error=st.floats(0.0, 1e6),
    members=st.integers(0, 10**12),
    others=st.integers(0, 10**12),
    spread=st.floats(0.0, 10.0),
    part=st.floats(0.0, 1.0),
)
def test_whatever_comes_in_a_finite_number_comes_out(
    gain: float, error: float, members: int, others: int, spread: float, part: float
) -> None:
    prior = GainPrior(usual_spread=spread, rare_spread=spread, rare_part=part)
    assert math.isfinite(prior.expected(gain, error, members, others))
    assert math.isfinite(PRIOR.expected(gain, error, members, others))


def test_a_large_sure_gain_is_other_data_and_kept() -> None:
    """Six errors of 5 %: of groups of one kind there would never be so much."""
    assert PRIOR.expected(0.3, 0.05, 10, 10) > 0.27
    assert PRIOR.expected(-0.3, 0.05, 10, 10) < -0.27


def test_a_moderate_unsure_gain_is_mostly_luck_and_hardly_kept() -> None:
    """10 % with an error of as much: what six held-out ratings say of any two groups."""
    assert 0 < PRIOR.expected(0.1, 0.1, 10, 10) < 0.03
    assert PRIOR.expected(0.1, 0.1, 10, 30) < 0.02
    assert PRIOR.expected(0.01, 0.1, 10, 30) < 0, "and less than that is not believed at all"


@pytest.mark.parametrize(("gain", "error"), [(0.02, 0.02), (0.05, 0.04), (0.2, 0.05), (0.4, 0.3)])
def test_it_is_the_mean_of_what_may_be_true(gain: float, error: float) -> None:
    """Against the same mean summed up over a grid of what may be true."""
    usual = 0.02 * math.log(30 / 10)
    true = np.linspace(-4, 4, 400_001)

    def bell(at: np.ndarray, mean: float, spread: float) -> np.ndarray:
        return np.exp(-0.5 * ((at - mean) / spread) ** 2) / spread

    weight = (0.9 * bell(true, usual, 0.03) + 0.1 * bell(true, usual, 0.3)) * bell(
        true, gain, error
    )
    mean = float((weight * true).sum() / weight.sum())
    assert PRIOR.expected(gain, error, 30, 10) == pytest.approx(mean, abs=1e-6)


def test_nothing_is_surer_than_the_least_error() -> None:
    assert PRIOR.expected(0.1, 0.0, 3, 9) == PRIOR.expected(0.1, MIN_ERROR, 3, 9)
