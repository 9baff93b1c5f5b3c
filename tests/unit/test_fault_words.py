"""Every fault that is counted anywhere has words, and none has words that is not counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from openfl.core.fault_words import FAMILY_WORDS, FAULT_WORDS, fault_words
from openfl.core.names import is_unseen
from openfl.network.access_list import REASONS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for room in ("group", "network", "node", "switching")
    for path in (ROOT / "openfl" / room).rglob("*.py")
)
COUNTING = {"count": 0, "_count": 0, "against": 1, "_blame": 1}
"""Method -> where its arguments name the fault."""


def texts(node: ast.AST) -> Iterator[str]:
    """The texts that an expression may be, each up to what is filled in."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str() as text), *_]):
            yield text
        case ast.BoolOp(values=values):
            for value in values:
                yield from texts(value)


def counted_in(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name), args=args) if name in COUNTING:
                if len(args) > COUNTING[name]:
                    yield from texts(args[COUNTING[name]])
            case ast.Subscript(value=ast.Attribute(attr="faults" | "_faults"), slice=key):
                yield from texts(key)
                if isinstance(key, ast.Name) and key.id in constants:
                    yield str(constants[key.id])
            case ast.FunctionDef(name="fault_name"):
                returned = (line.value for line in ast.walk(node) if isinstance(line, ast.Return))
                for value in returned:
                    if value is not None:
                        yield from texts(value)
            case ast.AnnAssign(target=ast.Name(id="_PASSED_OVER"), value=ast.Dict(values=values)):
                for value in values:
                    yield from texts(value)


def all_counted() -> set[str]:
    found = {name for path in SOURCES for name in counted_in(path.read_text(encoding="utf-8"))}
    return {*found, *REASONS}


def test_the_search_finds_faults_of_every_form() -> None:
    assert {
        "identify-failed",  # faults.count
        "dht-slow",  # faults.against
        "card-rate",  # self.faults[...] +=
        "labels-collision",  # by a constant
        "card-version",  # by the kind of an error
        "undecodable",
        "connection-refused",  # one of two
        "peer-denied",
        "penalized-",  # families
        "was-refused-",
        "outgoing-queue-full",  # session.count
    } <= all_counted()


def test_every_fault_that_is_counted_has_words() -> None:
    named = FAULT_WORDS.keys() | FAMILY_WORDS.keys()
    assert all_counted() - named == set()


def test_there_are_no_words_for_what_is_not_counted() -> None:
    counted = all_counted()
    assert FAULT_WORDS.keys() - counted == set()
    assert FAMILY_WORDS.keys() - counted == set()


def test_every_reason_why_a_contribution_is_refused_has_words() -> None:
    reasons = {
        reason
        for path in (ROOT / "openfl" / "aggregation").rglob("*.py")
        for reason in re.findall(r"\brefused\(\s*\"([a-z-]+)\"", path.read_text(encoding="utf-8"))
    }
    assert len(reasons) > 6
    for reason in reasons:
        words = fault_words(f"refused-{reason}")
        assert words.startswith("a contribution was refused: ")
        assert reason not in words or "-" not in reason


@pytest.mark.parametrize("words", [*FAULT_WORDS.values(), *FAMILY_WORDS.values()])
def test_words_are_one_short_line_of_plain_text(words: str) -> None:
    assert not any(is_unseen(character) for character in words)
    assert 10 < len(words) <= 75
    assert not words.endswith(".")
    assert not re.search(r"\d", words)


def test_what_is_not_known_is_told_by_its_name() -> None:
    assert fault_words("of-a-later-version") == "of a later version"
    assert fault_words("penalized-labels-false").startswith("a peer broke the rules: a false name")
    told = "a peer broke the rules: not CBOR at byte 7"
    assert fault_words("penalized-not CBOR at byte 7") == told
    assert fault_words("was-refused-busy") == "a member refused to answer: it has too much to do"
    assert fault_words("relay-refused-no-reservation").endswith("a peer: no reservation")
