from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from openfl.aggregation.delta import Delta
from openfl.core.errors import InvalidContribution
from openfl.group.validation import validate_delta
from openfl.wire.limits import LIMITS
from tests.protocol_samples import CHARTER, HALF, ITEMS, MEAN, block, delta


def of_block(**changes: Any) -> Delta:
    return dataclasses.replace(delta(), blocks=(dataclasses.replace(block(), **changes),))


@pytest.mark.parametrize(
    "good",
    [
        delta(),
        delta(blocks=()),
        delta(blocks=(block(ITEMS), block(MEAN, keys=[1]), block(HALF, keys=[0, 65535]))),
        of_block(evidence=np.array([1, 2, 1_000_000], dtype=np.uint32)),
        of_block(curvature=np.array([0, 1, 1000], dtype=np.float32)),
        of_block(scales=np.full(3, 100 / 128, dtype=np.float16)),
    ],
)
def test_a_delta_within_its_charter_is_valid(good: Delta) -> None:
    validate_delta(good, CHARTER)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (dataclasses.replace(delta(), group_id="0" * 32), "of group"),
        (dataclasses.replace(delta(), epoch=0), "count from 1"),
        (dataclasses.replace(delta(), seqno=0), "count from 1"),
        (of_block(table="users"), "no table 'users'"),
        (dataclasses.replace(delta(), blocks=(block(), block())), "twice"),
        (of_block(table="half"), "values are int8"),
        (dataclasses.replace(delta(), blocks=(block(keys=[]),)), "without rows"),
        (of_block(codes=np.zeros((3, 2), dtype=np.int8)), "not 3 wide"),
        (of_block(keys=np.array([5, 3, 9], dtype=np.uint64)), "not ascending"),
        (of_block(keys=np.array([3, 3, 9], dtype=np.uint64)), "not ascending"),
        (delta(blocks=(block(MEAN, keys=[2]),)), "beyond 1 bits"),
        (delta(blocks=(block(HALF, keys=[65536]),)), "beyond 16 bits"),
        (
            of_block(
                codes=np.full((3, 3), 127, dtype=np.int8),
                scales=np.full(3, 1.0, dtype=np.float16),
            ),
            "not within",
        ),
        (of_block(scales=np.full(3, np.nan, dtype=np.float16)), "not within"),
        (of_block(evidence=np.array([1, 0, 1], dtype=np.uint32)), "evidence"),
        (of_block(evidence=np.array([1, 1_000_001, 1], dtype=np.uint32)), "evidence"),
        (of_block(curvature=np.array([0, -1, 0], dtype=np.float32)), "curvature"),
        (of_block(curvature=np.array([0, 1001, 0], dtype=np.float32)), "curvature"),
        (of_block(curvature=np.array([0, np.nan, 0], dtype=np.float32)), "curvature"),
    ],
)
def test_a_delta_that_breaks_its_charter_is_invalid(bad: Delta, says: str) -> None:
    with pytest.raises(InvalidContribution, match=says):
        validate_delta(bad, CHARTER)


def test_rows_are_counted_over_all_tables() -> None:
    tight = dataclasses.replace(LIMITS, max_delta_rows=4)
    validate_delta(delta(blocks=(block(), block(MEAN, keys=[0]))), CHARTER, tight)
    with pytest.raises(InvalidContribution, match="more than 4 rows"):
        validate_delta(delta(blocks=(block(), block(MEAN, keys=[0, 1]))), CHARTER, tight)
