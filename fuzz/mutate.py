"""A mutator that knows CBOR: it changes the decoded structure, and so gets past the first checks.

libFuzzer's own mutators, which change bytes, find what this one does not: `make fuzz` runs both.
"""

from __future__ import annotations

import random
from typing import Any

from openfl.core.errors import DecodeError
from openfl.wire import cbor
from openfl.wire.cbor import Tagged
from openfl.wire.tensors import ARRAY_TAGS

ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 23, 24, 255, 2**31, 2**63 - 1, 2**63, -(2**63), 0.0, -1.5, 1e300,
    float("nan"), float("inf"), "", "t", "delta", "leave", "x" * 70, b"", b"\0", bytes(16),
    bytes(38), [], [[]], {}, Tagged(72, b"\x80"), Tagged(85, b"\0\0\xc0\x7f"),
    Tagged(84, b"\0\x7c"), Tagged(64, b"\0"),
)  # fmt: skip


def disturbed(value: Any, rng: random.Random) -> Any:
    """`value` with one thing in it replaced, removed, added, or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        changed = dict(value)
        key = rng.choice(list(changed))
        choice = rng.random()
        if choice < 0.1:
            del changed[key]
        elif choice < 0.15:
            changed[rng.choice(("", "t", f"{key}x"))] = rng.choice(ODD)
        else:
            changed[key] = disturbed(changed[key], rng)
        return changed
    if isinstance(value, list | tuple) and value and rng.random() < 0.85:
        items = list(value)
        at = rng.randrange(len(items))
        choice = rng.random()
        if choice < 0.1:
            del items[at]
        elif choice < 0.25:
            items.insert(at, items[at])
        else:
            items[at] = disturbed(items[at], rng)
        return items
    if isinstance(value, Tagged) and rng.random() < 0.8:
        tag = rng.choice((value.tag, value.tag, 64, 69, 70, 72, 84, 85))
        return Tagged(tag, bent(value.data, rng) if rng.random() < 0.7 else value.data)
    if isinstance(value, bytes) and rng.random() < 0.8:
        return bent(value, rng)
    if isinstance(value, int) and rng.random() < 0.6:
        return value + rng.choice((-1, 1, 7, 256, 2**32))
    return rng.choice(ODD)


def bent(data: bytes, rng: random.Random) -> bytes:
    """`data` with a few bytes changed, removed, added, or repeated."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0 | 1 if at < len(changed):
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 3:
                del changed[at : at + rng.randrange(1, 9)]
            case 4:
                changed[at:at] = changed[at : at + rng.randrange(1, 40)]
            case _:
                changed[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(changed)


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """A custom mutator for atheris, for inputs that are one byte and CBOR."""
    rng = random.Random(seed)
    changed = b""
    if len(data) > 1 and rng.random() < 0.8:
        try:
            plain = cbor.decode(data[1:], len(data), ARRAY_TAGS)
            changed = data[:1] + cbor.encode(disturbed(plain, rng))
        except (DecodeError, ValueError, OverflowError):
            changed = b""  # what is no CBOR is changed byte by byte
    return (changed or bent(data, rng))[:max_size]
