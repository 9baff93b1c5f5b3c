"""How much of the judge's own register is out of the model that others are judged at."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.aggregation.withdrawal import partly_without
from openfl.core.contribution import Charter, TableSchema
from openfl.core.model_view import DenseModel, DenseTable

CHARTER = Charter(
    "w",
    "mean",
    (
        TableSchema("t", 2, (0.1, 0.1), (0.0, 0.0), (0.0, 0.0), "float32"),
        TableSchema("u", 1, (0.1,), (0.0,), (0.0,), "float32"),
    ),
)


def _model(**tables: dict[int, tuple[list[float], float]]) -> DenseModel:
    """By table: key -> (row, evidence)."""
    return DenseModel(
        CHARTER,
        {
            name: DenseTable(
                np.array(sorted(rows), dtype=np.uint64),
                np.array([rows[key][0] for key in sorted(rows)], dtype=np.float32),
                np.array([rows[key][1] for key in sorted(rows)], dtype=np.float64),
            )
            for name, rows in tables.items()
        },
    )


def test_of_a_row_as_much_is_withdrawn_as_others_hold_of_it() -> None:
    """Three quarters of the evidence are the judge's in row 1, none in 2, nearly none in 3."""
    without = _model(t={1: ([0.0, 4.0], 1.0), 2: ([5.0, 5.0], 7.0), 3: ([1.0, 0.0], 99.0)})
    full = _model(t={1: ([8.0, 0.0], 4.0), 2: ([5.0, 5.0], 7.0), 3: ([2.0, 0.0], 100.0)})
    rows = partly_without(without, full).tables["t"].rows
    assert rows == pytest.approx(np.array([[6.0, 1.0], [5.0, 5.0], [1.01, 0.0]]))


def test_what_the_judge_alone_tells_of_stays_out() -> None:
    """Rows and tables that nobody else has are not in the model without it, nor in this one."""
    without = _model(t={2: ([1.0, 1.0], 3.0)})
    full = _model(t={1: ([9.0, 9.0], 1.0), 2: ([1.0, 1.0], 3.0)}, u={1: ([9.0], 1.0)})
    model = partly_without(without, full)
    assert list(model.tables) == ["t"]
    assert model.keys("t").tolist() == [2]
    assert model.evidence("t", model.keys("t")).tolist() == [3.0]


def test_evidence_that_rounding_took_away_is_none_of_the_judges() -> None:
    """Evidence is a sum that others' departures are taken from: it may be a little too small."""
    without, full = _model(u={1: ([1.0], 3.0)}), _model(u={1: ([2.0], 2.9999)})
    assert partly_without(without, full).tables["u"].rows.tolist() == [[1.0]]
