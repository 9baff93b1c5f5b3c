"""The table of py-libp2p's defects: what it names is there, and the document is drawn from it."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from openfl.network.libp2p.defects import DEFECTS, VERSION, Defect, defects_markdown
from tests.without_workaround import find

ROOT = Path(__file__).resolve().parents[2]
NETWORK = ROOT / "openfl" / "network"
BY_ID = {defect.id: defect for defect in DEFECTS}
REFERENCE = re.compile(r"\b[Dd]efects? ((?:[a-z]+-[a-z-]+[a-z](?:, | and )?)+)")

each = pytest.mark.parametrize("defect", DEFECTS, ids=[defect.id for defect in DEFECTS])


def script() -> object:
    """scripts/defects.py as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return importlib.import_module("defects")
    finally:
        sys.path.pop(0)


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions))


def test_the_release_that_was_read_is_the_one_that_is_installed() -> None:
    assert importlib.metadata.version("libp2p") == VERSION


def test_every_id_is_given_once() -> None:
    assert len(DEFECTS) > 50
    assert len(BY_ID) == len(DEFECTS)
    assert [name for name in BY_ID if not re.fullmatch(r"[a-z]+(-[a-z]+)+", name)] == []


@each
def test_a_row_says_how_its_workaround_is_taken_away_or_why_not(defect: Defect) -> None:
    assert bool(defect.without) != bool(defect.unjudged)
    assert all((defect.where, defect.harm, defect.workaround, defect.test))


@each
def test_the_workaround_is_there_and_refers_to_the_row(defect: Defect) -> None:
    holder, name = find(defect.workaround)
    assert name
    module = defect.workaround.partition(":")[0]
    if not module.startswith("openfl."):
        module = f"openfl.network.libp2p.{module}"
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    assert defect.id in references(source), holder


@each
def test_what_is_taken_away_is_there(defect: Defect) -> None:
    for step in defect.without:
        for word in step.split()[1:]:
            if word != "for":
                find(word)


@each
def test_the_test_is_there(defect: Defect) -> None:
    path, _, name = defect.test.partition("::")
    assert name in names_in(ROOT / path)


def references(source: str) -> set[str]:
    text = re.sub(r"\n\s*#? ?", " ", source)
    return {name for found in REFERENCE.findall(text) for name in re.split(r", | and ", found)}


def test_every_reference_in_the_code_is_to_a_row() -> None:
    found = {
        name
        for path in NETWORK.rglob("*.py")
        if path.parent.name != "defects"
        for name in references(path.read_text(encoding="utf-8"))
    }
    assert found
    assert found <= BY_ID.keys()


def test_places_in_libp2p_are_told_in_the_table_alone() -> None:
    told = [
        str(path)
        for path in NETWORK.rglob("*.py")
        if path.parent.name != "defects"
        and re.search(r"\w\.py:\d|0\.8\.1", path.read_text(encoding="utf-8"))
    ]
    assert told == []


def test_the_document_is_drawn_from_the_table() -> None:
    text = (ROOT / "docs" / "py-libp2p.md").read_text(encoding="utf-8")
    assert text == defects_markdown(), "run: make docs-defects"


def test_verdicts() -> None:
    defects = script()
    passed, failed = defects.Run(True, True), defects.Run(False, True, "a KeyError")
    lost = defects.Run(False, False, "no such file")
    assert defects.verdict(passed, failed) == ("still needed", "a KeyError")
    assert defects.verdict(passed, passed)[0] == "no longer needed"
    assert defects.verdict(failed, failed)[0] == "cannot be judged"
    assert defects.verdict(lost, lost) == (
        "cannot be judged",
        "its test does not run: no such file",
    )


def test_a_workaround_that_is_needed_is_told_from_one_that_nobody_would_miss() -> None:
    defects = script()
    row = BY_ID["certificate-extensions"]
    judgement = defects.judge(row)
    assert (judgement.verdict, judgement.why[:6]) == ("still needed", "assert")
    # The same test does not miss another workaround: as if a release had mended the defect.
    mended = replace(row, without=("skip logs:take_its_log",))
    assert defects.judge(mended).verdict == "no longer needed"


def test_a_row_that_cannot_be_judged_says_why() -> None:
    defects = script()
    judgement = defects.judge(BY_ID["small-reads"])
    assert judgement.verdict == "cannot be judged"
    assert judgement.why == BY_ID["small-reads"].unjudged


def test_an_id_that_there_is_not_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script().main(["no-such-defect"])
    assert ended.value.code == 2
    assert "there is no defect no-such-defect" in capsys.readouterr().err
