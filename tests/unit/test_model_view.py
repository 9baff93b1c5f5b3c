"""Seeded rows and the dense model."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from openfl.core.contribution import Charter, TableSchema
from openfl.core.model_view import DenseModel, DenseTable, initial_rows


def charter(seed: int = 0, scale: float = 0.1) -> Charter:
    schema = TableSchema("items", 3, (1.0,) * 3, (0.0,) * 3, (scale, scale, 0.0))
    other = TableSchema("other", 3, (1.0,) * 3, (0.0,) * 3, (scale, scale, 0.0))
    return Charter("g", "t", (schema, other), seed=seed)


def keys(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def test_seeded_rows_are_the_same_bits_everywhere() -> None:
    rows = initial_rows(charter(), "items", keys(0, 1, 2**40 - 1, 2**64 - 1))
    assert rows.dtype == np.float32
    assert rows.astype("<f4").tobytes().hex() == GOLDEN_ROWS


def test_seeded_rows_follow_the_written_rule_in_whole_numbers() -> None:
    def mix(state: int) -> int:
        z = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    base = int.from_bytes(
        hashlib.blake2b(b"openfl/seeded-row/7/items", digest_size=8).digest(), "big"
    )
    bits = mix(mix(123456789 ^ base) ^ (2 * 0x9E3779B97F4A7C15 % 2**64))
    total = sum((bits >> shift) & 0xFFFF for shift in (0, 16, 32, 48))
    expected = (total - 131070.0) / math.sqrt(4 * (65536.0**2 - 1) / 12) * 0.1
    row = initial_rows(charter(seed=7), "items", keys(123456789))[0]
    assert row[1] == np.float32(expected)


def test_a_row_does_not_depend_on_which_others_are_asked_for() -> None:
    together = initial_rows(charter(), "items", keys(9, 3, 7, 3))
    assert np.array_equal(together[1], together[3])
    for at, key in enumerate((9, 3, 7)):
        assert np.array_equal(initial_rows(charter(), "items", keys(key))[0], together[at])


@pytest.mark.parametrize("other", [charter(seed=1), charter(seed=-1)])
def test_another_seed_gives_other_rows(other: Charter) -> None:
    assert not np.array_equal(
        initial_rows(charter(), "items", keys(5)), initial_rows(other, "items", keys(5))
    )


def test_another_table_gives_other_rows() -> None:
    assert not np.array_equal(
        initial_rows(charter(), "items", keys(5)), initial_rows(charter(), "other", keys(5))
    )


def test_seeded_columns_have_their_scale_and_do_not_correlate() -> None:
    rows = initial_rows(charter(scale=0.5), "items", np.arange(40_000, dtype=np.uint64))
    assert rows[:, :2].mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert rows[:, :2].std(axis=0) == pytest.approx([0.5, 0.5], rel=0.02)
    assert abs(np.corrcoef(rows[:, 0], rows[:, 1])[0, 1]) < 0.03
    assert np.abs(rows).max() < 3.5 * 0.5
    assert not rows[:, 2].any()


def test_no_rows_give_an_array_without_rows() -> None:
    assert initial_rows(charter(), "items", keys()).shape == (0, 3)


def test_an_unknown_table_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        initial_rows(charter(), "absent", keys(1))


def table() -> DenseTable:
    return DenseTable(
        keys(10, 20, 30),
        np.arange(9, dtype=np.float32).reshape(3, 3),
        np.array([1.0, 2.0, 3.0]),
    )


def test_a_dense_model_gives_its_rows_and_seeded_ones_for_the_rest() -> None:
    model = DenseModel(charter(), {"items": table()})
    wanted = keys(30, 5, 10, 99, 20)
    rows = model.rows("items", wanted)
    assert rows[[0, 2, 4]].tolist() == [[6, 7, 8], [0, 1, 2], [3, 4, 5]]
    seeded = initial_rows(charter(), "items", wanted)
    assert np.array_equal(rows[[1, 3]], seeded[[1, 3]])
    assert model.evidence("items", wanted).tolist() == [3, 0, 1, 0, 2]
    assert model.keys("items").tolist() == [10, 20, 30]


def test_an_empty_model_is_all_seeded_rows_without_evidence() -> None:
    model = DenseModel.empty(charter())
    assert len(model.keys("items")) == 0
    assert np.array_equal(model.rows("items", keys(4)), initial_rows(charter(), "items", keys(4)))
    assert model.evidence("items", keys(4)).tolist() == [0]


def test_the_arrays_of_a_dense_model_cannot_be_changed() -> None:
    model = DenseModel(charter(), {"items": table()})
    with pytest.raises(ValueError, match="read-only"):
        model.rows("items", model.keys("items"))[0, 0] = 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (DenseTable(keys(1, 1), np.zeros((2, 3), np.float32), np.ones(2)), "ascending"),
        (DenseTable(keys(2, 1), np.zeros((2, 3), np.float32), np.ones(2)), "ascending"),
        (DenseTable(keys(1, 2), np.zeros((2, 2), np.float32), np.ones(2)), "do not match"),
        (DenseTable(keys(1, 2), np.zeros((2, 3), np.float32), np.ones(1)), "do not match"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(changed: DenseTable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseModel(charter(), {"items": changed})


GOLDEN_ROWS = (
    "efdb843d65e449be00000000b645d3bd5a46e5bd00000000"
    "f4a45abe909fa63a00000000ea8f3bbe5c9b363e00000000"
)
