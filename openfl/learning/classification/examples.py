"""Labelled examples from a CSV file: one column holds the class, the numeric others describe it.

Columns are known by their names (in lower case) and held in the order of the names, so that two
files with the same columns mean the same whatever the order of theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openfl.core.errors import DataError
from openfl.learning.csv_dialect import columns_found, quoted
from openfl.learning.csv_table import (
    BadRows,
    Columns,
    Table,
    canonical,
    column_chunks,
    column_names,
    not_a_number,
    read_table,
    rows_with_lines,
    to_number,
)
from openfl.learning.splitting import Split

MAX_CLASS_BYTES = 32
"""The name of a class travels in a row of so many bytes."""
MAX_FEATURE = 1e6
"""Largest |value| of a feature: beyond it the group's mean could not be told exactly."""
MAX_FEATURES = 1024

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """`values[n, f]` describes example n, which is of class `classes[label_index[n]]`.

    features: names of the columns of `values`, ascending. classes: ascending. ignored: columns of
    the file that hold no numbers. skipped: rows of the file that could not be used, and were left
    out because the owner said so. The arrays are made read-only.
    """

    features: tuple[str, ...]
    classes: tuple[str, ...]
    values: Matrix
    label_index: NDArray[np.int32]
    ignored: tuple[str, ...] = ()
    source: str = ""
    skipped: int = 0

    def __post_init__(self) -> None:
        for array in (self.values, self.label_index):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.values)


def only_examples(data: Labelled, chosen: NDArray[np.bool_]) -> Labelled:
    """The examples marked in `chosen` (bool[n]), with the classes that occur among them."""
    labels, index = np.unique(data.label_index[chosen], return_inverse=True)
    return replace(
        data,
        classes=tuple(data.classes[n] for n in labels),
        values=data.values[chosen],
        label_index=index.astype(np.int32),
        skipped=0,
    )


def load_labelled(
    path: Path | str,
    label_column: str = "label",
    feature_columns: Sequence[str] = (),
    skip_bad_rows: bool = False,
) -> Labelled:
    """The examples in a CSV file (UTF-8, with a header); `feature_columns`: only these (default:
    all numeric columns but the label).

    A column in which no value is a number is left out. DataError names the file, and the line,
    column and value of each row that is wrong (unless they are to be skipped).
    """
    path = Path(path)
    names = column_names(path)
    if not names:
        raise DataError(f"{path}: the file is empty; its first line must name its columns")
    label = _column_called(label_column, names)
    if label not in names:
        raise DataError(
            f"{path}:1: there is no column {quoted(label)} to learn {columns_found(path, names)};"
            " name it with data.label_column"
        )
    wanted = [_column_called(name, names) for name in feature_columns]
    if label in wanted:
        raise DataError(f"{path}:1: column {quoted(label)} is the label; it cannot be a feature")
    columns = sorted(set(wanted) or set(names) - {label, ""})
    (values, labels, ignored), skipped = _read(path, columns, label, bool(wanted), skip_bad_rows)
    features = tuple(name for name in columns if name not in ignored)
    if not features:
        raise DataError(f"{path}: no column but {quoted(label)} holds numbers to learn from")
    if len(features) > MAX_FEATURES:
        raise DataError(
            f"{path}: {len(features)} feature columns; at most {MAX_FEATURES}: choose with"
            " data.feature_columns"
        )
    classes, label_index = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    return Labelled(
        features,
        tuple(str(name) for name in classes),
        values,
        label_index.astype(np.int32),
        ignored,
        str(path),
        skipped,
    )


def load_features(
    path: Path | str, features: Sequence[str], label_column: str
) -> tuple[Matrix, tuple[str, ...] | None]:
    """(float64[n, f] of the columns `features`, the labels if the file has that column).

    A label may be empty here. DataError as `load_labelled`.
    """
    path = Path(path)
    names = column_names(path)
    label = _column_called(label_column, names)

    def take(chunks: Iterator[Columns]) -> tuple[list[Matrix], list[str]]:
        parts: list[Matrix] = []
        labels: list[str] = []
        for *columns, label_values in chunks:
            numbers = [_numbers(column) for column in columns]
            if any(column is None for column in numbers):
                raise BadRows
            parts.append(np.array(numbers, dtype=np.float64).T)
            labels.extend(label_values)
        return parts, labels

    def problem(row: Sequence[str]) -> str | None:
        return _row_problem(row, features, None)

    # Nothing is skipped here: an answer for each row is what was asked for.
    table = Table(path, features, (label,), problem, may_skip=False)
    (parts, labels), _ = read_table(table, take, skip=False)
    if not parts:
        raise DataError(f"{path}: the file has a header but no examples")
    return np.concatenate(parts), tuple(labels) if label in names else None


def split_examples(
    data: Labelled, validation_fraction: float = 0.1, test_fraction: float = 0.1, seed: int = 0
) -> Split:
    """Hold out about these fractions of the examples.

    Where an example goes depends on the seed and its own content alone: a data set cut over many
    nodes is split as it would be in one place, and copies of an example stay together. At least one
    stays for training. ValueError when the fractions are negative or leave nothing.
    """
    sensible = validation_fraction >= 0 and test_fraction >= 0
    if not (sensible and validation_fraction + test_fraction < 1):
        raise ValueError("validation and test fractions must be >= 0 and their sum below 1")
    keyed = hashlib.blake2b(f"openfl/split/{seed}/example/".encode(), digest_size=8)
    draws = np.empty(len(data))
    for n, row in enumerate(np.ascontiguousarray(data.values, dtype="<f8")):
        state = keyed.copy()
        state.update(row.tobytes())
        state.update(data.classes[data.label_index[n]].encode())
        draws[n] = int.from_bytes(state.digest(), "big") / 2.0**64
    is_test = draws < test_fraction
    is_validation = ~is_test & (draws < test_fraction + validation_fraction)
    if len(data) and not (~is_test & ~is_validation).any():
        is_test[:], is_validation[:] = False, False
    return Split(
        train=np.flatnonzero(~is_test & ~is_validation),
        validation=np.flatnonzero(is_validation),
        test=np.flatnonzero(is_test),
    )


def class_name_problem(name: str) -> str | None:
    """Why a class cannot be called that; None when it can."""
    if not name:
        return "is empty"
    if len(name.encode()) > MAX_CLASS_BYTES:
        return f"is longer than {MAX_CLASS_BYTES} bytes, the most for the name of a class"
    return None if name.isprintable() else "holds characters that cannot be printed"


def _column_called(wanted: str, names: Sequence[str]) -> str:
    """The column of that name, in whichever form of Unicode its file has it."""
    wanted = wanted.strip().lower()
    return next((n for n in names if n == wanted or canonical(n) == canonical(wanted)), wanted)


_Examples = tuple[Matrix, list[str], tuple[str, ...]]
"""(float64[n, kept columns], the labels, the columns left out)"""


def _read(
    path: Path, columns: Sequence[str], label: str, all_wanted: bool, skip: bool
) -> tuple[_Examples, int]:
    """The examples, and how many bad rows were left out."""

    def take(chunks: Iterator[Columns]) -> tuple[Matrix, list[str]]:
        parts: list[Matrix] = []
        labels: list[str] = []
        for *chunk, label_values in chunks:
            numbers = [_numbers(texts) for texts in chunk]
            if any(column is None for column in numbers):
                raise BadRows
            parts.append(
                np.array(numbers, dtype=np.float64).reshape(len(chunk), len(label_values)).T
            )
            labels.extend(label_values)
        if any(class_name_problem(name) for name in set(labels)):
            raise BadRows
        if not labels:
            raise DataError(f"{path}: the file has a header but no examples")
        return np.concatenate(parts), labels

    ignored: tuple[str, ...] = ()
    if not all_wanted:
        try:
            return (*take(column_chunks(path, columns, (label,))), ignored), 0
        except BadRows:
            ignored = _without_numbers(path, columns)
    features = [name for name in columns if name not in ignored]

    def problem(row: Sequence[str]) -> str | None:
        return _row_problem(row, features, label)

    table = Table(path, features, (label,), problem, advice=_CHOOSING if features else "")
    (values, labels), skipped = read_table(table, take, skip)
    return (values, labels, ignored), skipped


_CHOOSING = "data.feature_columns chooses columns"


def _numbers(texts: tuple[str, ...]) -> Matrix | None:
    """float64 of each text; None when one of them is not a number within the bounds."""
    if "_" in "".join(texts):
        return None
    try:
        values = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None
    return values if bool((np.abs(values) <= MAX_FEATURE).all()) else None  # NaN is none either


def _without_numbers(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """Those of `columns` in which not a single value is a number."""
    numeric = [False] * len(columns)
    try:
        for chunk in column_chunks(path, columns):
            for n, texts in enumerate(chunk):
                numeric[n] = numeric[n] or any(to_number(text) is not None for text in texts)
    except BadRows:
        for _, row in rows_with_lines(path, columns):
            for n, text in enumerate(row):
                numeric[n] = numeric[n] or to_number(text) is not None
    return tuple(name for name, some in zip(columns, numeric, strict=True) if not some)


def _row_problem(row: Sequence[str], columns: Sequence[str], label: str | None) -> str | None:
    """What is wrong with the values of `columns`, and of `label`, which follows them."""
    for column, text in zip(columns, row, strict=False):
        value = to_number(text)
        if value is None:
            return f"column {column}: {not_a_number(text)}"
        if abs(value) > MAX_FEATURE:
            return (
                f"column {column}: {text} is beyond +-{MAX_FEATURE:,.0f}; give the column in"
                " another unit"
            )
    if label is not None and (problem := class_name_problem(row[-1])) is not None:
        return f"column {label}: {quoted(row[-1])} {problem}"
    return None
