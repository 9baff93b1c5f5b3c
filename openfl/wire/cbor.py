"""Strict CBOR: exactly one encoding for each value, bounded before anything is allocated.

Encoding is cbor2's canonical form, which for our values (text keys shorter than 256 bytes) is the
core deterministic encoding of RFC 8949 section 4.2.1: shortest heads and floats, definite lengths,
map keys in ascending order of their encoding.

Decoding accepts that form and nothing else, so `encode(decode(data)) == data` for whatever is
accepted. It is written here and not left to cbor2 because each rule must hold *before* the value is
built: cbor2 keeps the last of duplicate keys, and takes indefinite lengths, trailing bytes, NaN and
integers in any width. Our messages have few items (arrays of numbers are byte strings), so a loop
in Python costs microseconds.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import cbor2

from openfl.core.errors import DecodeError
from openfl.wire.limits import LIMITS

_WIDE_FLOATS = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}
_SIMPLE = {20: False, 21: True, 22: None}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A byte string under a tag; only typed arrays (RFC 8746) are tagged in this protocol."""

    tag: int
    data: bytes


_WITHOUT_FLOATS = frozenset({int, str, bytes, bool, type(None), Tagged})


def encode(value: Any) -> bytes:
    """`value` (None, bool, int, float, str, bytes, list, tuple, dict, Tagged) as canonical CBOR.

    ValueError for a float that is not finite: no peer would accept the message, and what made it
    can be found here.
    """
    _require_finite(value)
    encoded: bytes = cbor2.dumps(value, canonical=True, default=_encode_tagged)
    return encoded


def _require_finite(value: Any, where: str = "") -> None:
    kind = type(value)
    if kind is dict:
        for key, entry in value.items():
            if type(entry) not in _WITHOUT_FLOATS:
                _require_finite(entry, f"{where}.{key}")
    elif kind is list or kind is tuple:
        for entry in value:
            if type(entry) not in _WITHOUT_FLOATS:
                _require_finite(entry, f"{where}[]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where.lstrip('.') or 'a message'} is {value}: not a finite number")


def _encode_tagged(encoder: Any, value: Any) -> None:
    if not isinstance(value, Tagged):
        raise TypeError(f"{type(value).__name__} has no place in a message")
    encoder.encode(cbor2.CBORTag(value.tag, value.data))


def decode(
    data: bytes,
    max_bytes: int,
    tags: frozenset[int] = frozenset(),
    max_items: int = LIMITS.max_items,
) -> Any:
    """The one value `data` encodes; DecodeError unless it is in the form described above.

    `tags` are the tags allowed, each over a byte string. Maps have text keys. Integers lie within
    64 signed bits. Floats are finite.
    """
    if len(data) > max_bytes:
        raise DecodeError(f"a message of {len(data)} bytes where {max_bytes} are allowed")
    reader = _Reader(bytes(data), tags, max_items)
    value = reader.item(0)
    if reader.position != len(data):
        raise DecodeError(f"{len(data) - reader.position} bytes follow the message")
    return value


class _Reader:
    """A cursor over the bytes. Recursion is bounded by `LIMITS.max_depth`."""

    __slots__ = ("_data", "_items_left", "_tags", "position")

    def __init__(self, data: bytes, tags: frozenset[int], max_items: int) -> None:
        self._data = data
        self._tags = tags
        self._items_left = max_items
        self.position = 0

    def item(self, depth: int) -> Any:
        if depth > LIMITS.max_depth:
            raise DecodeError(f"nested deeper than {LIMITS.max_depth}")
        self._items_left -= 1
        if self._items_left < 0:
            raise DecodeError("too many items")
        initial = self._take(1)[0]
        major, info = initial >> 5, initial & 31
        if major == 7:
            return self._simple(info)
        argument = self._argument(info)
        if major == 0:
            return _signed_64(argument)
        if major == 1:
            return -1 - _signed_64(argument)
        if major == 2:
            return self._take(argument)
        if major == 3:
            return self._text(argument)
        if major == 4:
            self._announce(argument)
            return [self.item(depth + 1) for _ in range(argument)]
        if major == 5:
            self._announce(2 * argument)
            return self._map(argument, depth)
        return self._tagged(argument, depth)

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise DecodeError("the message is cut short")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise DecodeError("an indefinite length or a reserved head")
        size = 1 << (info - 24)
        argument = int.from_bytes(self._take(size), "big")
        if argument < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
            raise DecodeError("an integer or length that is not in its shortest form")
        return argument

    def _announce(self, count: int) -> None:
        """Refuse a count that cannot be true, before any loop trusts it."""
        if count > self._items_left or count > len(self._data) - self.position:
            raise DecodeError("an array or map longer than the message allows")

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("text that is not UTF-8") from error

    def _map(self, count: int, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        previous = b""
        for _ in range(count):
            start = self.position
            key = self.item(depth + 1)
            if not isinstance(key, str):
                raise DecodeError("a map key that is not text")
            encoded = self._data[start : self.position]
            if encoded <= previous:
                raise DecodeError(f"map key {key[:40]!r} is repeated or out of order")
            previous = encoded
            result[key] = self.item(depth + 1)
        return result

    def _tagged(self, tag: int, depth: int) -> Tagged:
        if tag not in self._tags:
            raise DecodeError(f"tag {tag} is not allowed here")
        content = self.item(depth + 1)
        if not isinstance(content, bytes):
            raise DecodeError(f"tag {tag} without a byte string")
        return Tagged(tag, content)

    def _simple(self, info: int) -> bool | float | None:
        if info in _SIMPLE:
            return _SIMPLE[info]
        if info not in _WIDE_FLOATS:
            raise DecodeError("an unknown simple value, a break or a reserved head")
        size, form = _WIDE_FLOATS[info]
        value: float = struct.unpack(form, self._take(size))[0]
        if not math.isfinite(value):
            raise DecodeError("a number that is not finite")
        if size > 2 and _survives(value, ">e" if size == 4 else ">f"):
            raise DecodeError("a float that is not in its shortest form")
        return value


def _signed_64(argument: int) -> int:
    if argument >= 1 << 63:
        raise DecodeError("an integer beyond 64 signed bits")
    return argument


def _survives(value: float, form: str) -> bool:
    """Whether `value` is the same in the narrower float `form`."""
    try:
        narrow: float = struct.unpack(form, struct.pack(form, value))[0]
    except OverflowError:
        return False
    return narrow == value
