"""`OscillationDamping`: rows that swing to and fro step from a point between."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.learning.factorization.oscillation import OscillationDamping


def after(*positions: list[list[float]]) -> np.ndarray:
    """Where the next step starts, after the rows were at these positions."""
    damping = OscillationDamping()
    for rows in positions:
        start = damping.start_from(np.array(rows, dtype=np.float64))
    return start


def test_the_first_two_rounds_start_where_the_rows_are() -> None:
    assert after([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    assert after([[1.0, 2.0]], [[3.0, 1.0]]).tolist() == [[3.0, 1.0]]


def test_a_row_that_goes_on_is_left_where_it_is() -> None:
    assert after([[0.0]], [[1.0]], [[1.5]]).tolist() == [[1.5]]


def test_a_row_that_turns_back_steps_from_the_point_it_swings_about() -> None:
    # 0, 1, 0.5, 0.75, ... is on its way to 2/3.
    assert after([[0.0]], [[1.0]], [[0.5]]) == pytest.approx(np.array([[2 / 3]]))


def test_a_growing_swing_is_never_taken_back_beyond_its_middle() -> None:
    assert after([[0.0]], [[1.0]], [[-3.0]]).tolist() == [[-1.0]]


def test_each_row_is_judged_by_itself() -> None:
    start = after([[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]])
    assert start.tolist() == [[0.5, 0.0], [2.0, 0.0]]


def test_a_row_that_rested_or_rests_starts_where_it_is() -> None:
    assert after([[1.0]], [[1.0]], [[2.0]]).tolist() == [[2.0]]
    assert after([[0.0]], [[1.0]], [[1.0]]).tolist() == [[1.0]]
