"""The charter of a group that learns from plays, from friends and strangers."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import ConfigError, GroupError
from openfl.learning.implicit.charter import (
    ITEMS,
    LISTENERS,
    PLAYS,
    implicit_charter,
    implicit_parameters,
)
from openfl.learning.rating.charter import rating_charter, rating_parameters
from openfl.wire.charters import charter_from_plain, charter_problem

GOOD = implicit_charter("plays", factors=3)


def with_hyperparameter(name: str, value: Any) -> Charter:
    return dataclasses.replace(GOOD, hyperparameters={**GOOD.hyperparameters, name: value})


def test_what_was_put_in_comes_out() -> None:
    charter = implicit_charter("x", 5, 2, 7, 1.2, 3, 0.1, seed=9)
    found = implicit_parameters(charter)
    assert dataclasses.astuple(found) == (5, 2.0, 7.0, 1.2, 3.0, 0.1, "int8", "opaque")
    assert charter.seed == 9
    coarse = implicit_charter("x", 5, encoding="int4")
    assert implicit_parameters(coarse).encoding == coarse.tables[0].encoding == "int4"


@pytest.mark.parametrize("factors", [1, 16, 64])
def test_its_tables_are_small_enough_for_the_wire(factors: int) -> None:
    charter = implicit_charter("x", factors)
    assert charter_problem(charter) is None
    assert charter_from_plain(charter.to_plain()) == charter
    triangle = factors * (factors + 1) // 2
    assert [charter.table(t).width for t in (ITEMS, LISTENERS, PLAYS)] == [
        factors,
        triangle,
        triangle + 1,
    ]


@pytest.mark.parametrize("name", ["factors", "alpha", "plays_limit", "damping", "prior"])
@pytest.mark.parametrize("value", [0, -1, 1e9, math.nan])
def test_parameters_out_of_range_are_refused_by_founders_and_joiners(name: str, value: Any) -> None:
    if name == "factors":
        value = 0 if value != value else int(value)
    with pytest.raises(ConfigError, match=name):
        implicit_charter("x", **{name: value})
    with pytest.raises(GroupError, match=f"not usable: {name}"):
        implicit_parameters(with_hyperparameter(name, value))


@pytest.mark.parametrize(
    ("charter", "complaint"),
    [
        (with_hyperparameter("alpha", "1"), "malformed"),
        (with_hyperparameter("factors", True), "malformed"),
        (with_hyperparameter("extra", 1), "unknown parameters: extra"),
        (with_hyperparameter("factors", 4), "its tables are not"),
        (dataclasses.replace(GOOD, hyperparameters={}), "lacks factors"),
        (dataclasses.replace(GOOD, tables=GOOD.tables[:2]), "its tables are not"),
        (dataclasses.replace(GOOD, parent=GroupId("0" * 32)), "parent"),
    ],
)
def test_a_strangers_charter_is_refused_with_the_reason(charter: Charter, complaint: str) -> None:
    implicit_parameters(GOOD)
    with pytest.raises(GroupError, match=complaint):
        implicit_parameters(charter)


def test_the_two_kinds_refuse_each_other_and_say_what_to_set() -> None:
    with pytest.raises(GroupError, match=r'learns "implicit"; .* learns "rating" \(task.kind\)'):
        rating_parameters(GOOD)
    with pytest.raises(GroupError, match=r'learns "rating"; .* learns "implicit" \(task.kind\)'):
        implicit_parameters(rating_charter("x"))
