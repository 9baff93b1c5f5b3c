"""Labelled examples from CSV: what is read, what is refused and with which words, the split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl.core.errors import DataError
from openfl.learning.classification.examples import (
    Labelled,
    load_features,
    load_labelled,
    split_examples,
)

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return put


def test_columns_are_held_in_the_order_of_their_names(write: Write) -> None:
    data = load_labelled(write("b,label,a\n2,yes,1\n4,no,3\n"))
    assert data.features == ("a", "b")
    assert data.values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert data.classes == ("no", "yes")
    assert data.label_index.tolist() == [1, 0]


def test_a_column_without_any_number_is_left_out_and_named(write: Write) -> None:
    data = load_labelled(write("who,a,label\nann,1,x\nbob,2,y\n"))
    assert (data.features, data.ignored) == (("a",), ("who",))


def test_a_column_with_some_numbers_is_an_error_at_the_first_that_is_none(write: Write) -> None:
    with pytest.raises(DataError, match=r"data\.csv:3: column a: \"n/a\" is not a number"):
        load_labelled(write("a,b,label\n1,5,x\nn/a,6,y\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", 'no column "label"'),
        ("a,label\n", "no examples"),
        ("", "empty"),
        ("a,label\n1,x\n,y\n", ":3: column a: is empty"),
        ("a,label\n1,x\nnan,y\n", ":3: column a"),
        ("a,label\n1_0,x\n2,y\n", ":2: column a"),
        ("a,label\n1,x\n2000000,y\n", r":3: column a: 2000000 is beyond \+-1,000,000"),
        ("a,label\n1,\n", ":2: column label: .* is empty"),
        (f"a,label\n1,{'x' * 33}\n", ":2: column label: .* longer than 32 bytes"),
        ("a,label\n1,x\n2\n", ":3: the row has 1 fields"),
        ("who,label\nann,x\n", "holds numbers"),
        ("label\nx\n", "holds numbers"),
    ],
)
def test_bad_files_are_refused_by_line_and_column(write: Write, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_labelled(write(text))


def test_all_bad_rows_are_told_in_one_go_and_can_be_left_out(write: Write) -> None:
    path = write("a,b,label\n1,2,x\n1,,x\nn/a,2,y\n3,4,\n5,6,y\n7\n")
    with pytest.raises(DataError) as caught:
        load_labelled(path)
    head, *bad = str(caught.value).split("\n")
    assert "4 of 6 rows cannot be used" in head
    assert [line.removeprefix(f"{path}:")[:2] for line in bad[:4]] == ["3:", "4:", "5:", "7:"]
    assert any("skip_bad_rows" in line for line in bad[4:])
    data = load_labelled(path, skip_bad_rows=True)
    assert (data.values.tolist(), data.skipped) == ([[1.0, 2.0], [5.0, 6.0]], 4)


def test_rows_to_predict_cannot_be_left_out(write: Write) -> None:
    with pytest.raises(DataError) as caught:
        load_features(write("a\n1\nx\ny\n"), ("a",), "label")
    assert "2 of 3 rows" in str(caught.value)
    assert "skip" not in str(caught.value)


def test_classes_and_columns_are_the_same_however_their_accents_are_encoded(write: Write) -> None:
    data = load_labelled(write("a,gro\u0308\u00dfe\n1,e\u0301\n2,\u00e9\n"), "gr\u00f6\u00dfe")
    assert data.classes == ("\u00e9",)


def test_the_label_may_have_another_name_in_any_case(write: Write) -> None:
    assert load_labelled(write("a,Species\n1,x\n"), "species").classes == ("x",)


def test_chosen_columns_are_the_only_features(write: Write) -> None:
    data = load_labelled(write("id,a,b,label\n7,1,2,x\n"), feature_columns=("B", "a"))
    assert data.features == ("a", "b")


def test_a_chosen_column_must_hold_numbers(write: Write) -> None:
    with pytest.raises(DataError, match=":2: column who"):
        load_labelled(write("who,a,label\nann,1,x\n"), feature_columns=("who", "a"))


def test_a_chosen_column_must_exist(write: Write) -> None:
    with pytest.raises(DataError, match="missing column c"):
        load_labelled(write("a,label\n1,x\n"), feature_columns=("c",))


def test_the_label_cannot_be_a_feature(write: Write) -> None:
    with pytest.raises(DataError, match="label"):
        load_labelled(write("a,label\n1,2\n"), feature_columns=("label",))


# --- rows to predict ------------------------------------------------------------------------------


def test_features_are_read_by_name_and_labels_when_there_are_some(write: Write) -> None:
    values, labels = load_features(write("label,b,x,a\nyes,2,9,1\n,4,9,3\n"), ("a", "b"), "label")
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert labels == ("yes", "")


def test_without_a_label_column_there_are_no_labels(write: Write) -> None:
    assert load_features(write("a\n1\n"), ("a",), "label")[1] is None


def test_a_missing_feature_is_named(write: Write) -> None:
    with pytest.raises(DataError, match="missing column b"):
        load_features(write("a\n1\n"), ("a", "b"), "label")


def test_a_bad_value_to_predict_from_is_named_by_line(write: Write) -> None:
    with pytest.raises(DataError, match=":3: column a"):
        load_features(write("a\n1\nx\n"), ("a",), "label")


# --- the split ------------------------------------------------------------------------------------


def some_examples(count: int) -> Labelled:
    rng = np.random.default_rng(4)
    return Labelled(
        ("a", "b"), ("x", "y"), rng.normal(size=(count, 2)), rng.integers(0, 2, count, np.int32)
    )


def part_of(data: Labelled, rows: np.ndarray) -> Labelled:
    return Labelled(data.features, data.classes, data.values[rows], data.label_index[rows])


def test_every_example_is_in_one_part_in_about_the_asked_shares() -> None:
    data = some_examples(1000)
    split = split_examples(data, 0.1, 0.2)
    parts = np.concatenate([split.train, split.validation, split.test])
    assert sorted(parts) == list(range(1000))
    assert 60 <= len(split.validation) <= 140
    assert 150 <= len(split.test) <= 250


def test_a_data_set_cut_over_nodes_is_split_as_in_one_place() -> None:
    data = some_examples(300)
    whole = set(split_examples(data).test.tolist())
    rows = np.arange(0, 300, 3)
    here = {int(rows[n]) for n in split_examples(part_of(data, rows)).test}
    assert here == whole & set(rows.tolist())
    assert here


def test_another_seed_is_another_split() -> None:
    data = some_examples(300)
    one, other = split_examples(data, seed=0), split_examples(data, seed=1)
    assert one.test.tolist() != other.test.tolist()


def test_something_is_always_left_to_train_on() -> None:
    for count in (1, 2, 3):
        assert len(split_examples(some_examples(count), 0.5, 0.49).train) >= 1


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)])
def test_fractions_that_leave_nothing_are_refused(fractions: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        split_examples(some_examples(5), *fractions)
