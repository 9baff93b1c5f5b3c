"""Names of founded groups, and fault points."""

from __future__ import annotations

import pytest

from openfl.node.fault_points import FaultPoints
from openfl.switching.events import MOVE_POINTS
from openfl.switching.seed import founded_name

TOKEN = bytes.fromhex("a03f")


def test_a_founded_group_has_the_name_of_the_old_one_and_four_hex_digits() -> None:
    assert founded_name("blues", TOKEN) == "blues-a03f"


def test_a_name_does_not_grow_with_each_founding() -> None:
    assert founded_name(founded_name("blues", TOKEN), b"\x00\x01") == "blues-0001"
    # The twin: what only looks like it stays whole.
    assert founded_name("deep-cuts", TOKEN) == "deep-cuts-a03f"


@pytest.mark.parametrize("name", ["x" * 64, "\u00e4" * 32])
def test_a_founded_name_is_never_too_long(name: str) -> None:
    assert len(founded_name(name, TOKEN).encode()) <= 64


def test_a_fault_point_acts_where_it_is_named_and_nowhere_else() -> None:
    acted: list[str] = []
    faults = FaultPoints("move-saved", lambda: acted.append("killed"))
    for point in MOVE_POINTS:
        faults.reach(point)
    assert acted == ["killed"]
    assert FaultPoints.from_environment({})._fail_at == ""
    with pytest.raises(ValueError, match="no point 'nowhere'"):
        FaultPoints.from_environment({"OPENFL_FAULT_POINT": "nowhere"})
