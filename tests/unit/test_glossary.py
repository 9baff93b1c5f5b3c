"""The glossary: every class, module and room that it names is there, and no word stands twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| word |")
]
SOURCE = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "openfl").rglob("*.py"))
)


def test_there_are_words() -> None:
    assert len(ROWS) > 40
    words = [row[0] for row in ROWS]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_a_word_stands_for_is_in_the_code(row: list[str]) -> None:
    _, meaning, code = row
    assert meaning
    names = re.findall(r"`([^`]+)`", code)
    assert names, "where is it defined?"
    for name in names:
        if "/" in name:
            assert (ROOT / name).exists() or (ROOT / "openfl" / name).exists(), name
        else:
            assert re.search(rf"^class {name}\b|^{name} = ", SOURCE, re.MULTILINE), name
