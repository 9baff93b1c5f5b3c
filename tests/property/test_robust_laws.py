"""Laws of the published rules: no member is special, what moves everybody moves the result alike,
and a minority cannot carry the result out of the range of the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.aggregation import robust
from openfl.aggregation.robust import Matrix, Stack

RULES: dict[str, Callable[[Stack], Matrix]] = {
    "mean": robust.weighted_mean,
    "average": robust.evidence_mean,
    "median": robust.weighted_median,
    "trimmed-mean": lambda stack: robust.trimmed_mean(stack, 0.2),
    "centred-clip": lambda stack: robust.centred_clip(stack, 1.0),
}


def stack_of(seed: int, members: int, equal: bool = False) -> Stack:
    rng = np.random.default_rng(seed)
    evidence = rng.integers(1 if equal else 0, 6, (members, 4)).astype(float)
    if equal:
        evidence[:] = 1.0
    precision = np.repeat(evidence[:, :, None], 2, axis=2)
    values = rng.normal(size=(members, 4, 2)) * (evidence > 0)[:, :, None]
    return Stack(values, precision, evidence)


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), members=st.integers(1, 9))
def test_the_order_of_members_does_not_matter(rule: str, seed: int, members: int) -> None:
    stack = stack_of(seed, members)
    order = np.random.default_rng(seed + 1).permutation(members)
    shuffled = Stack(stack.values[order], stack.precision[order], stack.evidence[order])
    assert np.allclose(RULES[rule](stack), RULES[rule](shuffled))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), members=st.integers(1, 9), shift=st.floats(-50, 50))
def test_what_moves_everybody_moves_the_result(
    rule: str, seed: int, members: int, shift: float
) -> None:
    stack = stack_of(seed, members)
    there = (stack.evidence > 0)[:, :, None]
    moved = Stack(stack.values + shift * there, stack.precision, stack.evidence)
    anybody = there.any(0)
    assert np.allclose(RULES[rule](moved), RULES[rule](stack) + shift * anybody, atol=1e-6)


@pytest.mark.parametrize("rule", ["median", "trimmed-mean"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.floats(1.0, 1e6))
def test_a_fifth_of_the_members_cannot_leave_the_others_range(
    rule: str, seed: int, size: float
) -> None:
    stack = stack_of(seed, 10, equal=True)
    stack.values[:2] = size
    found, honest = RULES[rule](stack), stack.values[2:]
    assert (found >= honest.min(0) - 1e-9).all()
    assert (found <= honest.max(0) + 1e-9).all()
