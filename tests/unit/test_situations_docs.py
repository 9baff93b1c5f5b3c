"""Every row of a table of situations in the documents names a test that is there.

A table with the head `| kind | situation | what the user sees | test |` names one test
or more in its last cell, as `tests/path.py::test_name`. Rows go into docs/reliability.md, or,
where a stranger is behind the situation, into docs/security.md.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD = "| kind | situation | what the user sees | test |"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables with that head."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        inside = line == HEAD or (inside and line.startswith("|"))
        if inside and line != HEAD and not re.fullmatch(r"[|\s:-]+", line):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.append([cell.strip() for cell in cells])
    return found


@cache
def functions_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def problem(cells: list[str]) -> str | None:
    """What is wrong with a row; None: nothing."""
    if len(cells) != 4 or not all(cells):
        return "a row has four cells, and none is empty"
    named = NAMED.findall(cells[3])
    if not named or NAMED.sub("", cells[3]).strip(" ,"):
        return "the last cell must be `tests/path.py::test_name`, or several of these"
    for name, test in named:
        if not (ROOT / name).is_file() or test not in functions_in(ROOT / name):
            return f"there is no test {name}::{test}"
    return None


FOUND = [
    (f"{path.name}: {' | '.join(cells)}", cells)
    for path in sorted((ROOT / "docs").glob("*.md"))
    for cells in rows(path.read_text(encoding="utf-8"))
]


def test_the_table_is_there_and_each_of_its_tests_exists() -> None:
    assert len(FOUND) >= 3
    assert [f"{name}: {problem(cells)}" for name, cells in FOUND if problem(cells)] == []


HERE = "tests/unit/test_situations_docs.py"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (f"| a | b | c | `{HERE}::test_a_row_must_name_tests_that_exist` |", None),
        (f"| a | b | c | `{HERE}::test_that_nobody_wrote` |", "no test"),
        ("| a | b | c | `tests/unit/test_none.py::test_a` |", "no test"),
        (f"| a | b | c | `{HERE}::test_a_row_must_name_tests_that_exist`, later |", "last cell"),
        ("| a | b | c | test_a_row_must_name_tests_that_exist |", "last cell"),
        ("| a | b | c | |", "none is empty"),
        (f"| a | b | `{HERE}::test_a_row_must_name_tests_that_exist` |", "four cells"),
    ],
)
def test_a_row_must_name_tests_that_exist(row: str, complaint: str | None) -> None:
    (cells,) = rows(f"{HEAD}\n|---|---|---|---|\n{row}\n\n| another | table |\n")
    assert complaint in problem(cells) if complaint else problem(cells) is None  # type: ignore[operator]
