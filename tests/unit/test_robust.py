"""The published rules, against cases worked out by hand and against plain loops."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import pytest

from openfl.aggregation import robust
from openfl.aggregation.outcomes import MemberRows
from openfl.aggregation.robust import Stack
from openfl.aggregation.robust_view import stacks


def one_row(values: list[float], weights: list[float] | None = None) -> Stack:
    """One row of one column; a weight of 0 is a member without the row."""
    weights = [1.0] * len(values) if weights is None else weights
    cube = np.array(values, dtype=float)[:, None, None]
    precision = np.array(weights, dtype=float)[:, None, None]
    return Stack(cube, precision, precision[:, :, 0])


def some_stack(seed: int, members: int = 7, rows: int = 11, width: int = 3) -> Stack:
    rng = np.random.default_rng(seed)
    evidence = rng.integers(0, 5, (members, rows)).astype(float)
    precision = evidence[:, :, None] * rng.uniform(0.1, 2.0, (members, 1, width))
    values = rng.normal(size=(members, rows, width)) * (evidence > 0)[:, :, None]
    return Stack(values, precision, evidence)


def test_the_mean_weighs_by_precision():
    assert robust.weighted_mean(one_row([1.0, 4.0], [2.0, 1.0])).item() == pytest.approx(2.0)


def test_the_average_weighs_by_evidence_whatever_the_curvature():
    stack = one_row([1.0, 4.0])
    stack = Stack(
        stack.values, stack.precision * np.array([9.0, 1.0])[:, None, None], stack.evidence
    )
    assert robust.evidence_mean(stack).item() == pytest.approx(2.5)
    assert robust.weighted_mean(stack).item() == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("values", "weights", "median"),
    [
        ([3.0, 1.0, 2.0], [1, 1, 1], 2.0),
        ([1.0, 2.0], [1, 1], 1.5),
        ([1.0, 2.0], [1, 3], 2.0),
        ([1.0, 2.0, 9.0], [1, 1, 2], 5.5),
        ([1.0, 2.0, 9.0], [2, 2, 1], 2.0),
        ([7.0, 100.0], [1, 0], 7.0),
    ],
)
def test_the_weighted_median_has_half_of_the_weight_on_either_side(values, weights, median):
    assert robust.weighted_median(one_row(values, weights)).item() == pytest.approx(median)


def test_with_equal_weights_the_median_is_the_plain_one():
    stack = some_stack(1)
    stack = Stack(
        stack.values, np.repeat(stack.present[:, :, None], 3, axis=2) * 1.0, stack.evidence
    )
    found = robust.weighted_median(stack)
    for row, column in itertools.product(range(11), range(3)):
        values = stack.values[stack.present[:, row], row, column]
        assert found[row, column] == pytest.approx(statistics.median(values))


def test_a_minority_cannot_move_the_median_beyond_the_others():
    honest = [1.0, 2.0, 3.0]
    assert 1.0 <= robust.weighted_median(one_row([*honest, 1e9, -1e9])).item() <= 3.0


def test_the_trimmed_mean_drops_the_ends():
    assert robust.trimmed_mean(one_row([1, 2, 3, 4, 1000]), 0.2).item() == pytest.approx(3.0)
    assert robust.trimmed_mean(one_row([1, 2, 3, 4, 1000]), 0.0).item() == pytest.approx(202.0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_trimming_always_leaves_somebody(count):
    found = robust.trimmed_mean(one_row([float(n) for n in range(count)]), 0.49).item()
    assert found == pytest.approx((count - 1) / 2)


def test_the_trimmed_mean_agrees_with_a_loop():
    stack = some_stack(2)
    found = robust.trimmed_mean(stack, 0.25)
    for row, column in itertools.product(range(11), range(3)):
        who = np.flatnonzero(stack.precision[:, row, column] > 0)
        pairs = sorted((stack.values[m, row, column], stack.precision[m, row, column]) for m in who)
        cut = min(int(np.ceil(0.25 * len(pairs))), (len(pairs) - 1) // 2)
        kept = pairs[cut : len(pairs) - cut]
        expected = sum(v * w for v, w in kept) / sum(w for _, w in kept)
        assert found[row, column] == pytest.approx(expected)


def test_clipping_takes_the_mean_of_those_that_are_near():
    near = one_row([1.0, 2.0, 3.0])
    assert robust.centred_clip(near, 10.0).item() == pytest.approx(2.0)


def test_clipping_bounds_what_one_far_away_member_can_do():
    honest = [1.0, 2.0, 3.0, 4.0]
    far = robust.centred_clip(one_row([*honest, 1e3]), 1.0).item()
    farther = robust.centred_clip(one_row([*honest, 1e9]), 1.0).item()
    assert far == pytest.approx(farther, abs=1e-3)
    assert 1.0 <= farther <= 4.0


def test_members_without_a_row_have_no_part_in_it():
    for rule in (
        robust.weighted_mean,
        robust.evidence_mean,
        robust.weighted_median,
        lambda s: robust.trimmed_mean(s, 0.2),
        lambda s: robust.centred_clip(s, 1.0),
    ):
        with_absent = rule(one_row([1.0, 2.0, 77.0], [1, 2, 0]))
        assert with_absent.item() == pytest.approx(rule(one_row([1.0, 2.0], [1, 2])).item())


def test_where_nobody_has_a_row_the_centre_is_zero_and_not_known():
    nothing = one_row([5.0], [0.0])
    for rule in (robust.weighted_mean, robust.weighted_median, lambda s: robust.centred_clip(s, 1)):
        assert rule(nothing).item() == 0.0
    _, known = robust.shrunk(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
    assert not known.item()


def test_distances_are_over_the_rows_that_both_have():
    stack = some_stack(3)
    squared, shared = robust.distances(stack)
    for p, q in itertools.product(range(7), range(7)):
        both = stack.present[p] & stack.present[q]
        away = stack.values[p, both] - stack.values[q, both]
        assert squared[p, q] == pytest.approx((away**2).sum(), abs=1e-9)
        assert shared[p, q] == 3 * both.sum()


def test_krum_picks_a_member_amid_the_crowd():
    stack = one_row([1.0, 1.1, 1.2, 1.3, 50.0])
    chosen = robust.krum(*robust.distances(stack), hostile=1, chosen=1)
    assert chosen.tolist() in ([1], [2])
    kept = robust.krum(*robust.distances(stack), hostile=1, chosen=4)
    assert kept.tolist() == [0, 1, 2, 3]


def test_krum_scores_add_up_the_nearest_only():
    stack = one_row([0.0, 1.0, 3.0, 100.0])
    scores = robust.krum_scores(*robust.distances(stack), hostile=0)
    assert scores.tolist() == [1 + 9, 1 + 4, 4 + 9, 97**2 + 99**2]


def test_a_member_that_shares_no_row_with_anybody_is_no_candidate():
    values = np.zeros((4, 2, 1))
    evidence = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=float)
    stack = Stack(values, evidence[:, :, None], evidence)
    assert 3 not in robust.krum(*robust.distances(stack), hostile=1, chosen=3)


@pytest.mark.parametrize(("members", "hostile"), [(1, 0), (2, 0), (3, 1), (10, 2), (25, 5)])
def test_a_rule_withstands_at_most_a_minority(members, hostile):
    assert robust.hostile_members(members, 0.2) == hostile


def test_stacks_put_rows_where_they_belong_part_by_part(monkeypatch):
    monkeypatch.setattr("openfl.aggregation.robust_view.MAX_CELLS", 8)
    rng = np.random.default_rng(0)
    members = []
    for _ in range(2):
        keys = np.sort(rng.choice(20, 9, replace=False)).astype(np.uint64)
        values = rng.normal(size=(9, 2)).astype(np.float32)
        members.append(MemberRows(keys, values, np.full(9, 3, np.uint32), np.full((9, 2), 6.0)))
    keys = np.unique(np.concatenate([m.keys for m in members]))
    parts = list(stacks(members, keys, 2))
    assert len(parts) > 2
    for n, member in enumerate(members):
        values = np.concatenate([stack.values[n] for _, stack in parts])
        evidence = np.concatenate([stack.evidence[n] for _, stack in parts])
        has = np.isin(keys, member.keys)
        assert np.array_equal(values[has], member.values)
        assert not values[~has].any()
        assert np.array_equal(evidence, np.where(has, 3, 0))
