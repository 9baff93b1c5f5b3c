"""Every kind of event that is told is in the table, and every kind in the table is told."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from openfl.core.event_kinds import EVENT_KINDS, SECTIONS, events_markdown
from openfl.core.telemetry import NodeEvent
from openfl.learning.remarks import Remark
from openfl.node.beginning import Beginning
from openfl.node.event_log import EventLog
from openfl.node.notices import LASTING, NOT_OF_THE_NEXT_GROUP

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("openfl", "cli")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "event_kinds.py"
)
KIND_IS_ARGUMENT = {"tell": 1, "_tell": 1, "Tell": 1, "Remark": 1, "_say": 1, "NodeEvent": 2}
"""Callable -> where its arguments name the kind; the level is in front of it."""


def constants(tree: ast.AST) -> dict[str, str]:
    """The texts that a module gives names to."""
    return {
        node.targets[0].id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def told_in(source: str) -> Iterator[tuple[int, str, str | None, set[str]]]:
    """(line, kind, level where it stands there, names of data fields that stand there)."""
    tree = ast.parse(source)
    known = constants(tree)
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else None
        name = call.func.id if isinstance(call.func, ast.Name) else name
        place = KIND_IS_ARGUMENT.get(name or "")
        if place is None or len(call.args) <= place + 1:
            continue
        level, kind = call.args[place - 1], call.args[place]
        if isinstance(kind, ast.Constant):
            word = kind.value
        elif isinstance(kind, ast.Name) and kind.id in known:
            word = known[kind.id]
        else:
            continue  # handed on from where it is told
        fields = {
            key.value
            for argument in call.args[place + 2 :]
            if isinstance(argument, ast.Dict)
            for key in argument.keys
            if isinstance(key, ast.Constant)
        }
        yield call.lineno, word, level.value if isinstance(level, ast.Constant) else None, fields


def everything_told() -> Iterator[tuple[str, str, str | None, set[str]]]:
    for path in SOURCES:
        for line, kind, level, fields in told_in(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(ROOT)}:{line}", kind, level, fields


def test_what_is_told_is_in_the_table_with_its_level_and_fields() -> None:
    wrong = [
        f"{where}: {kind} ({level}) {sorted(fields)}"
        for where, kind, level, fields in everything_told()
        if kind not in EVENT_KINDS
        or level not in (None, *EVENT_KINDS[kind].levels)
        or not fields <= {*EVENT_KINDS[kind].data}
    ]
    assert wrong == []


def test_what_is_in_the_table_is_told() -> None:
    told = {kind for _, kind, _, _ in everything_told()}
    assert {*EVENT_KINDS} - told == {"remark"}  # chosen by `Beginning` for kinds of others
    assert '"remark"' in (ROOT / "openfl/node/beginning.py").read_text(encoding="utf-8")


def test_the_search_finds_what_is_told_under_another_name() -> None:
    source = 'KIND = "deaf"\nlog.tell("info", KIND, text, {"peer": 1})\nTell(level, "x", "y")\n'
    assert [*told_in(source)] == [(2, "deaf", "info", {"peer"}), (3, "x", None, set())]


def test_no_kind_stands_in_the_table_twice() -> None:
    assert sum(len(kinds) for kinds in SECTIONS.values()) == len(EVENT_KINDS)


def test_notices_are_of_known_kinds() -> None:
    named = {*LASTING, *NOT_OF_THE_NEXT_GROUP, *LASTING.values()} - {""}
    assert named <= {*EVENT_KINDS}


def test_an_event_of_an_unknown_kind_is_a_bug() -> None:
    told: list[NodeEvent] = []
    log = EventLog(lambda: 1.0, told.append)
    log.tell("info", "round", "round 1")
    with pytest.raises(ValueError, match="'rounds' is no kind of event"):
        log.tell("info", "rounds", "round 1")
    assert [event.kind for event in told] == ["round"]


def test_a_remark_of_a_kind_of_ones_own_is_told_as_a_remark() -> None:
    @dataclass
    class Talkative:
        skipped_rows: int = 0

        def remarks(self) -> tuple[Remark, ...]:
            mine = Remark("warning", "too-cold", "it was cold", {"degrees": -4})
            return (mine, Remark("info", "data", "3 examples", {"examples": 3}))

    told: list[NodeEvent] = []
    nothing: Any = None  # of its parts, telling remarks needs the workload and the log
    workload: Any = Talkative()
    log = EventLog(lambda: 1.0, told.append)
    beginning = Beginning(nothing, workload, nothing, nothing, nothing, nothing, log, None)
    beginning.tell_remarks()
    assert [(event.kind, dict(event.data)) for event in told] == [
        ("remark", {"kind": "too-cold", "degrees": -4}),
        ("data", {"examples": 3}),
    ]


def test_the_document_is_up_to_date() -> None:
    written = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert written == events_markdown(), "run `make docs-events`"
