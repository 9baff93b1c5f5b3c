"""The arithmetic of many small ridge fits, against each of them written out."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.learning.ridge import (
    BLOCK_CELLS,
    FEW,
    MAX_TOGETHER,
    diagonal_of,
    last_column_of,
    normal_equations,
    normal_sums,
    products_with,
    solve_sums,
    sparse_pair,
    squares,
)


def some_ratings(
    users: int, items: int, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(users, items, values), in no order; pairs may occur twice, and users 0 and 2 have none."""
    draw = np.random.default_rng(seed)
    user = draw.integers(3, users, count)
    user[:1] = 1  # one has a single rating
    return user, draw.integers(0, items, count), draw.normal(size=count)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_are_those_rating_by_rating(dtype: type) -> None:
    draw = np.random.default_rng(1)
    user, item, value = some_ratings(30, 12, 200)
    pattern, targets = sparse_pair(user, item, value, (30, 12), dtype)
    features, offsets = draw.normal(size=(12, 5)), draw.normal(size=12)
    gram, moment = np.zeros((30, 5, 5)), np.zeros((30, 5))
    for u, i, v in zip(user, item, value, strict=True):
        gram[u] += np.outer(features[i], features[i])
        moment[u] += (v - offsets[i]) * features[i]
    assert not gram[0].any()
    near = {"abs": 1e-9} if dtype is np.float64 else {"abs": 2e-4}
    found, their_moment = normal_equations(pattern, targets, features, offsets)
    assert found == pytest.approx(gram, **near)
    assert their_moment == pytest.approx(moment, **near)

    triangle, again = normal_sums(pattern, targets, features, offsets)
    assert triangle.dtype == again.dtype == dtype
    assert np.array_equal(squares(triangle, 5), found)
    assert np.array_equal(diagonal_of(triangle), np.einsum("maa->ma", found))
    assert np.array_equal(last_column_of(triangle), found[:, :, -1])
    vectors = draw.normal(size=(30, 5))
    expected = np.array([one @ vector for one, vector in zip(gram, vectors, strict=True)])
    assert products_with(triangle, vectors) == pytest.approx(expected, abs=1e-3)


def test_a_sparse_pair_keeps_pairs_that_occur_twice_and_the_order_within_a_row() -> None:
    rows, columns = np.array([2, 0, 2, 2, 0]), np.array([1, 3, 0, 1, 3])
    ones, values = sparse_pair(rows, columns, np.array([1.0, 2, 3, 4, 5]), (4, 5))
    assert list(ones.indptr) == list(values.indptr) == [0, 2, 2, 5, 5]
    assert list(values.indices) == [3, 3, 1, 0, 1]
    assert list(values.data) == [2, 5, 1, 3, 4]
    assert list(ones.data) == [1] * 5


@pytest.mark.parametrize("width", [1, 2, 9, MAX_TOGETHER, MAX_TOGETHER + 1])
@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, 700])
@pytest.mark.parametrize("shaped", [False, True])
def test_systems_are_solved_as_one_by_one(width: int, count: int, shaped: bool) -> None:
    draw = np.random.default_rng(width + count)
    half = draw.normal(size=(count, width, 3))
    half[: count // 2] = 0  # as of users without ratings
    gram = half @ half.transpose(0, 2, 1)
    upper, lower = np.triu_indices(width)
    moment, ridge = draw.normal(size=(count, width)), draw.uniform(0.1, 9, (count, width))
    common, shape = None, None
    if shaped:
        common = np.cov(draw.normal(size=(width, 2 * width + 2))).reshape(width, width)
        shape = np.eye(width) + np.outer(*2 * [draw.normal(size=width)])
    expected = []
    for one, right, held in zip(gram, moment, ridge, strict=True):
        root = np.diag(np.sqrt(held))
        held_by = np.diag(held) if shape is None else root @ shape @ root
        whole = one + held_by + (0 if common is None else common)
        expected.append(np.linalg.solve(whole, right))
    given = moment.copy()
    found = solve_sums(gram[:, upper, lower], moment, ridge, common, shape)
    assert np.array_equal(moment, given)
    assert found.shape == (count, width)
    assert found == pytest.approx(np.array(expected).reshape(count, width), rel=1e-8, abs=1e-10)
    again = solve_sums(gram[:, upper, lower], moment, ridge, common, shape)
    assert np.array_equal(found, again), "not the same bits again"


def test_blocks_do_not_show() -> None:
    """More systems than one block has: each is solved as if it stood in a block by itself."""
    width, draw = 9, np.random.default_rng(0)
    count = 3 * (BLOCK_CELLS // width**2) + 7
    triangle = np.zeros((count, width * (width + 1) // 2), dtype=np.float32)
    moment = draw.normal(size=(count, width)).astype(np.float32)
    ridge = draw.uniform(1, 2, (count, width))
    assert solve_sums(triangle, moment, ridge) == pytest.approx(moment / ridge, rel=1e-12)


def test_single_precision_is_safe_for_an_item_that_many_have_rated() -> None:
    """The most rated of 100,000 people, all of one taste, with the least ridge it is used for."""
    draw = np.random.default_rng(0)
    count = 100_000
    user, item = np.arange(count), np.zeros(count, dtype=int)
    features = np.column_stack((0.5 + 0.3 * draw.normal(size=(count, 8)), np.ones(count)))
    value = features @ draw.normal(size=9) + draw.normal(size=count)
    solved = []
    for dtype in (np.float64, np.float32):
        pattern, targets = sparse_pair(user, item, value, (count, 1), dtype)
        sums = normal_sums(pattern.T, targets.T, features, np.zeros(count))
        solved.append(solve_sums(*sums, np.full((1, 9), 0.5)))
    assert solved[1] == pytest.approx(solved[0], abs=2e-3)
