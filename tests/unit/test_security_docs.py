"""docs/security.md tells the limits that the code has."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([a-z0-9_.]+)\.([A-Z_]+)` \| ([0-9.]+) \|", TEXT, re.MULTILINE)

CASES = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\|.*\|(.*)\|$", TEXT, re.MULTILINE))))
HOSTILE = {
    name
    for path in (Path(__file__).parents[1] / "hostile").glob("test_*.py")
    for name in re.findall(r"^(?:async )?def test_(\w+)", path.read_text("utf-8"), re.MULTILINE)
}


def test_every_hostile_case_is_in_the_table_and_every_test_in_the_table_exists() -> None:
    assert len(HOSTILE) > 30
    assert CASES == HOSTILE


def test_the_table_of_limits_is_there() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize(("module", "name", "value"), ROWS, ids=[row[1] for row in ROWS])
def test_a_limit_has_the_value_that_is_documented(module: str, name: str, value: str) -> None:
    assert getattr(importlib.import_module(f"openfl.{module}"), name) == float(value)
