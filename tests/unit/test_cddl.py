"""The CDDL in docs/protocol.md is a schema that other tools can read, and says what we send."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pycddl
import pytest

ROOT = Path(__file__).parents[2]
RULES = {
    "delta": "delta-body",
    "leave": "leave-body",
    "card": "card-body",
    "invitation": "invitation-body",
    "gossip": "gossip",
    "directory": "directory",
    "snapshot-request": "request",
    "pull-request": "request",
    "groups-request": "groups-request",
    "items-answer": "items-answer / refusal",
    "summary-request": "summary-request",
    "summary-answer": "summary-answer / refusal",
    "cards-answer": "cards-answer / refusal",
    "labels-request": "labels-request",
    "labels-answer": "labels-answer / refusal",
}
BEYOND_CDDL = {
    "trailing": "the tool stops at the end of the first item",
    "shape": "lengths that depend on each other",
    "range": "numbers within a byte string",
    "half": "the inside of a byte string",
    "code": "the inside of a byte string",
    "four bits": "the inside of a byte string",
    "scales": "a field that depends on another",
    "peer id": "the inside of a byte string",
    "repeated": "equal entries",
    "size": "the least size of an envelope",
    "each of its versions": "lengths that depend on each other",
    "opinion": "lengths and values that depend on each other",
    "unknown field": "the tool takes any map for an empty one",
    "charter": "bounds and distinct names, in words",
    "rows": "the inside of a byte string",
    "inside a number": "the inside of a byte string",
    "ascend": "the order of entries",
    "long text": "a size in characters, not bytes",
    "printed": "classes of characters, in words",
}
"""Words of `why` in refused.json -> why no schema tells such a message from a good one."""


def vectors(name: str) -> list[dict[str, Any]]:
    found = json.loads((ROOT / "tests" / "vectors" / name).read_text(encoding="utf-8"))
    return [vector for vector in found if vector["kind"] in RULES]


@cache
def schema(kind: str) -> Any:
    text = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rules = "\n".join(re.findall(r"```cddl\n(.*?)```", text, re.DOTALL))
    return pycddl.Schema(f"message = {RULES[kind]}\n{rules}")


@pytest.mark.parametrize("vector", vectors("accepted.json"), ids=lambda v: v["name"])
def test_every_accepted_vector_is_valid_by_the_schema(vector: dict[str, Any]) -> None:
    schema(vector["kind"]).validate_cbor(bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize(
    "vector",
    [vector for vector in vectors("refused.json") if vector["why"] not in BEYOND_CDDL],
    ids=lambda v: v["name"],
)
def test_the_schema_refuses_what_a_schema_can_refuse(vector: dict[str, Any]) -> None:
    with pytest.raises(pycddl.ValidationError):
        schema(vector["kind"]).validate_cbor(bytes.fromhex(vector["hex"]))
