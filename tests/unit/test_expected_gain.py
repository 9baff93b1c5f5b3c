"""`GainPrior`: what may be expected of a move, from what was measured and from what is usual."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from openfl.switching.expected_gain import MIN_ERROR, GainPrior

PRIOR = GainPrior()
SPREAD = PRIOR.usual_spread
FEW_KINDS = PRIOR.other_kinds(0, 50)
"""What a node expects that has judged fifty members, none of which did it harm."""

gains = st.floats(-1.0, 1.0)
errors = st.floats(0.0, 1.0)
sizes = st.integers(0, 5000)
kinds = st.floats(0.0, 1.0)


@given(gain=gains, members=sizes, others=sizes)
def test_what_is_measured_badly_comes_down_to_what_sizes_explain(
    gain: float, members: int, others: int
) -> None:
    """An error of 1 is all that a gain can be: with one kind of data nothing of it is left."""
    usual = 0.02 * math.log(max(members, 0.5) / max(others, 0.5))
    found = PRIOR.expected(gain, 1.0, members, others, 0.0)
    assert found == pytest.approx(usual, abs=SPREAD**2 * abs(gain - usual) + 2e-6)


@given(gain=gains, members=sizes, others=sizes, other=kinds)
def test_what_is_measured_surely_is_what_counts(
    gain: float, members: int, others: int, other: float
) -> None:
    assert PRIOR.expected(gain, 0.0, members, others, other) == pytest.approx(gain, abs=1e-6)
    assert PRIOR.expected(gain, 1e-4, members, others, other) == pytest.approx(gain, abs=1e-4)


@given(gain=gains, error=errors, members=sizes, others=sizes, other=kinds)
def test_what_one_group_gains_by_another_that_one_loses_by_it(
    gain: float, error: float, members: int, others: int, other: float
) -> None:
    there = PRIOR.expected(gain, error, members, others, other)
    back = PRIOR.expected(-gain, error, others, members, other)
    assert there == pytest.approx(-back, abs=1e-12)


@given(
    gain=gains,
    more=st.floats(1e-3, 1.0),
    error=errors,
    members=sizes,
    others=sizes,
    other=kinds,
)
def test_who_measures_more_expects_more(
    gain: float, more: float, error: float, members: int, others: int, other: float
) -> None:
    less = PRIOR.expected(gain, error, members, others, other)
    assert PRIOR.expected(gain + more, error, members, others, other) > less


@given(gain=gains, error=st.floats(0.01, 1.0), members=sizes, others=st.integers(1, 5000))
def test_of_equal_measures_the_larger_group_is_expected_to_be_better(
    gain: float, error: float, members: int, others: int
) -> None:
    """Where all are of one kind: a difference no kind explains is a sign of two."""
    prior = GainPrior(rare_spread=SPREAD)
    smaller = prior.expected(gain, error, members, others, 0.5)
    assert prior.expected(gain, error, 2 * members + 1, others, 0.5) > smaller


@given(gain=gains, error=errors, members=sizes, others=sizes, other=kinds)
def test_it_lies_between_what_is_usual_and_what_was_measured(
    gain: float, error: float, members: int, others: int, other: float
) -> None:
    usual = 0.02 * math.log(max(members, 0.5) / max(others, 0.5))
    found = PRIOR.expected(gain, error, members, others, other)
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
    prior = GainPrior(usual_spread=spread, rare_spread=spread)
    assert math.isfinite(prior.expected(gain, error, members, others, part))
    assert math.isfinite(PRIOR.expected(gain, error, members, others, part))


@given(
    harmful=st.integers(0, 10**6),
    others=st.integers(0, 10**6),
    part=st.floats(0.0, 1.0),
    count=st.floats(1e-6, 1e6),
)
def test_the_part_of_other_kinds_is_a_part(
    harmful: int, others: int, part: float, count: float
) -> None:
    prior = GainPrior(rare_part=part, rare_count=count)
    assert 0 <= prior.other_kinds(harmful, harmful + others) <= 1 + 1e-12


def test_how_many_are_of_another_kind_is_what_is_seen_the_more_the_more_is_seen() -> None:
    assert PRIOR.other_kinds(0, 0) == 0.01
    assert PRIOR.other_kinds(1, 2) < 0.1, "one of two may be chance"
    assert PRIOR.other_kinds(100, 200) == pytest.approx(0.5, abs=0.03)
    assert PRIOR.other_kinds(0, 200) < 0.001


def test_a_large_sure_gain_is_other_data_and_kept() -> None:
    """Ten errors of 3 %: of groups of one kind there would never be so much."""
    assert PRIOR.expected(0.3, 0.03, 10, 10, FEW_KINDS) > 0.28
    assert PRIOR.expected(-0.3, 0.03, 10, 10, FEW_KINDS) < -0.28


def test_a_moderate_unsure_gain_is_mostly_luck_and_hardly_kept() -> None:
    """10 % with an error of as much: what six held-out ratings say of any two groups."""
    assert 0 < PRIOR.expected(0.1, 0.1, 10, 10, FEW_KINDS) < 0.01
    assert PRIOR.expected(0.1, 0.1, 10, 30, FEW_KINDS) < 0, "nothing beside another size"


def test_the_same_gain_is_kept_where_half_of_all_are_of_another_kind() -> None:
    few, half = (PRIOR.expected(0.1, 0.04, 10, 10, other) for other in (FEW_KINDS, 0.5))
    assert few < 0.04
    assert half > 0.06


@pytest.mark.parametrize("other", [0.002, 0.1, 0.5])
@pytest.mark.parametrize(("gain", "error"), [(0.02, 0.02), (0.05, 0.04), (0.2, 0.05), (0.4, 0.3)])
def test_it_is_the_mean_of_what_may_be_true(gain: float, error: float, other: float) -> None:
    """Against the same mean summed up over a grid of what may be true."""
    usual = 0.02 * math.log(30 / 10)
    true = np.linspace(-4, 4, 400_001)

    def bell(mean: float, spread: float) -> NDArray[np.float64]:
        return np.exp(-0.5 * ((true - mean) / spread) ** 2) / spread

    prior = (1 - other) * bell(usual, SPREAD) + other * bell(usual, PRIOR.rare_spread)
    weight = prior * bell(gain, error)
    mean = float((weight * true).sum() / weight.sum())
    assert PRIOR.expected(gain, error, 30, 10, other) == pytest.approx(mean, abs=1e-6)


def test_nothing_is_surer_than_the_least_error() -> None:
    assert PRIOR.expected(0.1, 0.0, 3, 9, 0.1) == PRIOR.expected(0.1, MIN_ERROR, 3, 9, 0.1)
