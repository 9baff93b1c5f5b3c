"""Any bytes give a message or DecodeError, in bounded time and memory.

Three kinds of bytes: noise; valid messages with bytes changed, cut, repeated; and valid messages
whose decoded structure was changed and encoded again, which get past the CBOR layer.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.core.errors import DecodeError, InvalidContribution
from openfl.group.validation import validate_delta
from openfl.wire import cbor, tensors
from openfl.wire import messages as wire
from openfl.wire.limits import LIMITS
from tests.vectors import make

SAMPLES = [(v["kind"], bytes.fromhex(v["hex"])) for v in make.accepted()]
KINDS = sorted(make.DECODERS)
fuzz = settings(max_examples=300, deadline=None, derandomize=True)


def outcome(kind: str, data: bytes) -> Any:
    """The message, or None when it was refused. Anything else that is raised fails the test."""
    try:
        message = make.DECODERS[kind](data)
    except DecodeError:
        return None
    if kind == "delta":
        try:
            coarse = message.group_id == make.COARSE_CHARTER.group_id
            validate_delta(message, make.COARSE_CHARTER if coarse else make.CHARTER)
        except InvalidContribution:
            return None
    return message


@fuzz
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_noise_is_a_message_or_refused(kind: str, data: bytes) -> None:
    outcome(kind, data)


def mutate(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        what = rng.randrange(6)
        if what == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif what == 1 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            del changed[at : at + rng.randrange(1, 9)]
        elif what == 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif what == 4:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)]
        else:  # a head that announces a huge length
            changed[at : at + 9] = bytes([rng.choice((0x5B, 0x7B, 0x9B, 0xBB))]) + rng.randbytes(8)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_messages_are_messages_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    accepted = 0
    for _ in range(1500):
        kind, data = rng.choice(SAMPLES)
        damaged = mutate(data, rng)
        message = outcome(kind, damaged)
        if message is not None:
            accepted += 1
            again = make.ENCODERS[kind](message)
            if kind in ("delta", "summary-answer") or kind.endswith("-request"):
                # Counts may be spelled out, versions unsorted, wishes larger than a page.
                assert make.ENCODERS[kind](make.DECODERS[kind](again)) == again
            else:
                assert again == damaged
    assert accepted > 0, "mutations that never pass test only the first check"


ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    2**63 - 1,
    -(2**63),
    0.0,
    -1.5,
    1e308,
    "",
    "t",
    "delta",
    "x" * 300,
    b"",
    b"\x00",
    bytes(16),
    bytes(38),
    [],
    [[]],
    {},
    {"t": "delta"},
    cbor.Tagged(tensors.UINT8, b"\x00"),
    cbor.Tagged(tensors.FLOAT32, bytes.fromhex("0000c07f")),
    cbor.Tagged(tensors.FLOAT16, b"\x00\x7c" * 3),
    cbor.Tagged(tensors.SINT8, b"\x80" * 15),
]


def disturb(plain: Any, rng: random.Random) -> Any:
    """`plain` with one thing in it replaced, removed, or repeated."""
    if isinstance(plain, dict) and plain and rng.random() < 0.85:
        key = rng.choice(sorted(plain))
        changed = dict(plain)
        choice = rng.random()
        if choice < 0.1:
            del changed[key]
        elif choice < 0.15:
            changed[rng.choice(("extra", key + "x", ""))] = rng.choice(ODD_VALUES)
        else:
            changed[key] = disturb(plain[key], rng)
        return changed
    if isinstance(plain, list) and plain and rng.random() < 0.85:
        at = rng.randrange(len(plain))
        changed_list = list(plain)
        choice = rng.random()
        if choice < 0.1:
            del changed_list[at]
        elif choice < 0.2:
            changed_list.append(plain[at])
        else:
            changed_list[at] = disturb(plain[at], rng)
        return changed_list
    if isinstance(plain, cbor.Tagged) and rng.random() < 0.7:
        tag = rng.choice([plain.tag, *sorted(tensors.ARRAY_TAGS)])
        return cbor.Tagged(tag, mutate(plain.data, rng) if rng.random() < 0.6 else plain.data)
    return rng.choice(ODD_VALUES)


@pytest.mark.parametrize("seed", range(8))
def test_messages_of_a_wrong_structure_are_refused_by_kind_and_field(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1500):
        kind, data = rng.choice(SAMPLES)
        if kind in ("groups-request", "keys"):
            continue
        plain = cbor.decode(data, len(data), tensors.ARRAY_TAGS)
        message = outcome(kind, cbor.encode(disturb(plain, rng)))
        if message is not None and kind == "delta":
            assert message.row_count <= LIMITS.max_delta_rows


def bombs() -> dict[str, bytes]:
    """The most expensive inputs of full size that we can think of."""
    size = LIMITS.max_delta_bytes
    plain = cbor.decode(dict(SAMPLES)["delta"], size, tensors.ARRAY_TAGS)
    one_block = {
        "table": "items",
        "keys": bytes(LIMITS.max_delta_rows),
        "values": cbor.Tagged(tensors.SINT8, bytes(LIMITS.max_delta_rows)),
        "evidence": cbor.Tagged(tensors.UINT8, b"\x01"),
        "curvature": cbor.Tagged(tensors.FLOAT32, bytes(4)),
        "scales": cbor.Tagged(tensors.FLOAT16, bytes(2 * LIMITS.max_delta_rows)),
    }
    return {
        "as many rows as fit": cbor.encode({**plain, "blocks": [one_block]})[:size],
        "nested arrays": b"\x81" * size,
        "an array of small numbers": b"\x9a" + (size - 5).to_bytes(4, "big") + bytes(size - 5),
        "an array that lies about its length": b"\x9a" + bytes([0, 0, 255, 255]) + b"\x81" * 65_000,
        "arrays of arrays of announced length": b"\x99\xff\xf0" * 9,
        "one long text": b"\x7a" + (size - 5).to_bytes(4, "big") + b"a" * (size - 5),
        "one long map": b"\xb9\x40\x00"
        + b"".join(b"\x62" + bytes([65 + n // 64, 65 + n % 64]) + b"\x00" for n in range(0x0A00)),
        "a block with very long keys": cbor.encode(
            {**plain, "blocks": [{**one_block, "keys": b"\xff" * (size // 2)}]}
        ),
        "a huge map key": b"\xa1\x7a" + (size - 7).to_bytes(4, "big") + b"k" * (size - 7) + b"\x00",
    }


@pytest.mark.parametrize("name", bombs())
def test_the_worst_messages_cost_bounded_time_and_memory(name: str) -> None:
    data = bombs()[name]
    for kind in KINDS:
        started = time.process_time()
        tracemalloc.start()
        try:
            outcome(kind, data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # About 0.1 s of the processor, with tracing; the point is that it is not minutes.
        assert time.process_time() - started < 60
        assert peak < 40 * LIMITS.max_delta_bytes


def test_a_delta_of_as_many_rows_as_allowed_is_decoded() -> None:
    # The twin of the bombs: full size alone is no reason to refuse.
    rows = LIMITS.max_delta_rows - 8
    keys = list(range(rows))
    block = make.float_block("half", "float16", keys[:1], [[0.5, 0.5]], [1])
    assert len(wire.encode_delta(make.delta(1, (block,)))) < 400
    plain = cbor.decode(dict(SAMPLES)["delta"], LIMITS.max_delta_bytes, tensors.ARRAY_TAGS)
    plain["blocks"] = [
        {
            "table": "mean",
            "keys": bytes(rows),
            "values": cbor.Tagged(tensors.SINT8, bytes(rows)),
            "evidence": cbor.Tagged(tensors.UINT8, b"\x01"),
            "curvature": cbor.Tagged(tensors.FLOAT32, bytes(4)),
            "scales": cbor.Tagged(tensors.FLOAT16, bytes(2)),
        }
    ]
    with pytest.raises(DecodeError, match="scales for"):
        wire.decode_delta(cbor.encode(plain))
    plain["blocks"][0]["values"] = cbor.Tagged(tensors.FLOAT16, bytes(2 * rows))
    del plain["blocks"][0]["scales"]
    assert wire.decode_delta(cbor.encode(plain)).row_count == rows
