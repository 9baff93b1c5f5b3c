"""RMSE and ranking metrics against cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from openfl.learning import metrics
from openfl.learning.metrics import best_columns, mean_with_error, ndcg, rank, recall, rmse

LOG3 = 1 / math.log2(3)


def table(*rows: list[float]) -> sp.csr_array:
    return sp.csr_array(np.array(rows, dtype=float))


def test_rmse_and_its_error_are_those_of_the_squares() -> None:
    value, error = rmse(np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, 4.0]))  # 0, 4, 1
    assert value == pytest.approx(math.sqrt(5 / 3))
    spread = math.sqrt(((0 - 5 / 3) ** 2 + (4 - 5 / 3) ** 2 + (1 - 5 / 3) ** 2) / 2)
    assert error == pytest.approx(spread / math.sqrt(3) / (2 * value))


def test_rmse_of_one_example_has_a_finite_error_and_of_none_nothing() -> None:
    assert rmse(np.array([1.0]), np.array([3.0])) == (2.0, 2.0)
    assert rmse(np.array([3.0]), np.array([3.0])) == (0.0, 0.0)
    assert all(math.isnan(number) for number in rmse(np.empty(0), np.empty(0)))


def test_a_mean_of_one_example_has_a_finite_error_and_of_none_nothing() -> None:
    mean, error = mean_with_error(np.array([1.0, 2.0, 6.0]))
    assert (mean, error) == (3.0, pytest.approx(math.sqrt(7 / 3)))
    assert mean_with_error(np.array([2.0])) == (2.0, 2.0)
    assert mean_with_error(np.array([-2.0])) == (-2.0, 2.0)
    assert all(math.isnan(number) for number in mean_with_error(np.empty(0)))


def test_the_best_columns_come_best_first_and_ties_go_to_the_smaller() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.9], [1.0, 1.0, 1.0, 1.0], [0.0, -1.0, 2.0, 1.0]])
    assert best_columns(scores, 2).tolist() == [[1, 3], [0, 1], [2, 3]]
    assert best_columns(scores, 9).tolist() == [[1, 3, 2, 0], [0, 1, 2, 3], [2, 3, 0, 1]]


def test_the_best_columns_are_those_of_a_stable_sort() -> None:
    scores = np.random.default_rng(0).integers(0, 6, size=(50, 40)).astype(float)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert np.array_equal(best_columns(scores, 10), expected)


def test_ndcg_by_hand() -> None:
    hits = np.array([[True, False, True], [False, True, False], [True, True, True], [False] * 3])
    found = ndcg(hits, np.array([2, 1, 5, 1]), top=3)
    assert found == pytest.approx([(1 + 0.5) / (1 + LOG3), LOG3, 1.0, 0.0])


def test_ndcg_of_a_list_shorter_than_asked_for_is_measured_against_a_full_one() -> None:
    assert ndcg(np.array([[True]]), np.array([2]), top=3) == pytest.approx([1 / (1 + LOG3)])


def test_recall_is_the_part_of_all_that_was_to_be_found() -> None:
    hits = np.array([[True, False, True], [False, True, False]])
    assert recall(hits, np.array([4, 1])).tolist() == [0.5, 1.0]


FALLING = [5.0, 4.0, 3.0, 2.0, 1.0]
SCORES = np.array([FALLING, FALLING[::-1], FALLING])
SEEN = table([1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0])
HELD = table([0, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0])


def test_a_report_by_hand() -> None:
    """User 0 is offered 1, 2 and hits second; user 1 3, 2 and hits first; user 2 has no figure."""
    report = rank(lambda start, end: SCORES[start:end], SEEN, HELD, top=2)
    second, first = LOG3 / 1, 1 / (1 + LOG3)
    assert report.ndcg == pytest.approx((second + first) / 2)
    assert report.ndcg_error == pytest.approx(abs(second - first) / math.sqrt(2) / math.sqrt(2))
    assert report.recall == pytest.approx((1 + 0.5) / 2)
    assert report.coverage == pytest.approx(3 / 5)
    assert report.users == 2


def test_without_the_songs_seen_left_out_the_report_is_another() -> None:
    report = rank(lambda start, end: SCORES[start:end], SEEN * 0, HELD, top=2)
    assert report.recall == pytest.approx((0 + 0.5) / 2)


def test_held_out_songs_that_are_no_column_count_as_missed() -> None:
    known = rank(lambda s, e: SCORES[s:e], SEEN, HELD, relevant=np.array([1, 2, 0]), top=2)
    more = rank(lambda s, e: SCORES[s:e], SEEN, HELD, relevant=np.array([2, 2, 1]), top=2)
    assert known == rank(lambda s, e: SCORES[s:e], SEEN, HELD, top=2)
    assert more.recall == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert more.users == 3


def test_a_song_seen_is_never_offered_even_when_nothing_else_is_left() -> None:
    everything = table([1, 1, 1, 1, 0])
    report = rank(lambda s, e: SCORES[:1], everything, table([0, 1, 0, 0, 1]), top=3)
    assert report.recall == pytest.approx(1 / 2)
    assert report.coverage == pytest.approx(1 / 5)


def test_one_user_alone_has_a_finite_error() -> None:
    report = rank(lambda s, e: SCORES[s:e], SEEN[:1], HELD[:1], top=2)
    assert (report.users, report.ndcg_error) == (1, 0.5)


def test_nobody_with_anything_held_out_is_no_figure() -> None:
    report = rank(lambda s, e: SCORES[s:e], SEEN, HELD * 0, relevant=np.zeros(3, int), top=2)
    assert report.users == 0
    assert math.isnan(report.ndcg)
    assert math.isnan(report.coverage)


def test_batches_do_not_change_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(37, 60))
    held = sp.csr_array((rng.random((37, 60)) < 0.05).astype(float))
    seen = sp.csr_array((rng.random((37, 60)) < 0.2).astype(float))
    whole = rank(lambda s, e: scores[s:e], seen, held)
    monkeypatch.setattr(metrics, "BATCH_CELLS", 200)
    assert rank(lambda s, e: scores[s:e], seen, held) == whole
