"""What fuzzing found worth keeping is tried again with every test run, without the fuzzer."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from fuzz import TARGETS, read_corpus


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_fails(target: str) -> None:
    module = importlib.import_module(f"fuzz.{target}")
    inputs = read_corpus(target)
    assert set(module.seeds()) <= set(inputs)
    for data in inputs:
        module.check(data)


def test_a_message_with_two_encodings_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = importlib.import_module("fuzz.decoder")
    kinds = [kind for kind, _ in decoder.DECODERS]
    tolerant = tuple((kind, lambda data: 3) for kind in kinds)
    monkeypatch.setattr(decoder, "DECODERS", tolerant)
    monkeypatch.setitem(decoder.make.ENCODERS, "leave", lambda message: b"another")
    with pytest.raises(AssertionError, match="two encodings"):
        decoder.check(bytes([kinds.index("leave")]) + b"bytes")


def test_a_replica_that_hands_out_something_else_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = importlib.import_module("fuzz.session")
    monkeypatch.setattr(session, "merge", lambda replica, item, now: None)
    with pytest.raises(AssertionError, match="hands out"):
        check_all(session)


def check_all(target: ModuleType) -> None:
    for data in target.seeds():
        target.check(data)
