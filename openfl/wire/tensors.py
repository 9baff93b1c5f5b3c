"""Arrays on the wire: RFC 8746 typed arrays, and sorted row keys as varint gaps.

A typed array is a CBOR byte string under a tag that names the element type; all are little-endian.
Shapes are not sent: they follow from the number of keys and columns of the block.

Codes of four bits go two a byte, as uint8: two's complement, the first in the low half.

Sorted uint64 keys are sent as the first key, then each gap minus one, each as LEB128 (7 bits a
byte, low bits first). Keys that are small or dense take 1-3 bytes a row instead of 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openfl.core.contribution import Keys
from openfl.core.errors import DecodeError
from openfl.wire.cbor import Tagged

UINT8, UINT16, UINT32, SINT8, FLOAT16, FLOAT32 = 64, 69, 70, 72, 84, 85
"""Tags of RFC 8746 section 2.1 (little-endian)."""

_DTYPES: dict[int, np.dtype[Any]] = {
    UINT8: np.dtype("u1"),
    UINT16: np.dtype("<u2"),
    UINT32: np.dtype("<u4"),
    SINT8: np.dtype("i1"),
    FLOAT16: np.dtype("<f2"),
    FLOAT32: np.dtype("<f4"),
}
ARRAY_TAGS = frozenset(_DTYPES)
_MAX_VARINT_BYTES = 10


def encode_array(array: NDArray[Any], tag: int) -> Tagged:
    """`array` (any shape, row by row) as a typed array; values must already fit the type."""
    return Tagged(tag, np.ascontiguousarray(array, dtype=_DTYPES[tag]).tobytes())


def decode_array(tagged: Tagged, allowed: tuple[int, ...]) -> NDArray[Any]:
    """One-dimensional, read-only, native byte order; DecodeError for another type or length."""
    if tagged.tag not in allowed:
        raise DecodeError(f"an array of type {tagged.tag} where one of {allowed} is expected")
    dtype = _DTYPES[tagged.tag]
    if len(tagged.data) % dtype.itemsize:
        raise DecodeError("an array that ends inside an element")
    array = np.frombuffer(tagged.data, dtype=dtype)
    native: NDArray[Any] = array.astype(dtype.newbyteorder("="), copy=False)
    return native


def encode_nibbles(codes: NDArray[np.int8]) -> Tagged:
    """`codes` (any shape, row by row, each within -8..7), two a byte; the last half may be unused,
    and is then 0."""
    flat = np.ascontiguousarray(codes, dtype=np.int8).reshape(-1).view(np.uint8) & 0x0F
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    return encode_array(flat[0::2] | flat[1::2] << 4, UINT8)


def decode_nibbles(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """int8[count], within -8..7; DecodeError for another number of bytes, or a last half that is
    unused and not 0."""
    if len(packed) != (count + 1) // 2:
        raise DecodeError(f"{len(packed)} bytes for {count} values of four bits")
    halves = np.empty(2 * len(packed), dtype=np.uint8)
    halves[0::2], halves[1::2] = packed & 0x0F, packed >> 4
    if halves[count:].any():
        raise DecodeError("an unused half byte that is not zero")
    # x ^ 8 - 8 extends the sign of four bits.
    return (halves[:count] ^ 8).astype(np.int8) - np.int8(8)


def encode_counts(counts: NDArray[np.uint32]) -> Tagged:
    """Counts in the smallest type that holds them; one element when all are equal."""
    if len(counts) > 1 and (counts == counts[0]).all():
        counts = counts[:1]
    most = int(counts.max(initial=0))
    tag = UINT8 if most < 1 << 8 else UINT16 if most < 1 << 16 else UINT32
    return encode_array(counts, tag)


def decode_counts(tagged: Tagged, count: int) -> NDArray[np.uint32]:
    """uint32[count]; DecodeError unless the array has `count` elements or one for all."""
    array = decode_array(tagged, (UINT8, UINT16, UINT32)).astype(np.uint32)
    if len(array) == 1 and count > 1:
        return np.full(count, array[0], dtype=np.uint32)
    if len(array) != count:
        raise DecodeError(f"{len(array)} counts for {count} rows")
    return array


def encode_keys(keys: Keys) -> bytes:
    """`keys`, uint64 and strictly ascending, as LEB128 gaps."""
    if not len(keys):
        return b""
    gaps = np.asarray(keys, dtype=np.uint64).copy()
    gaps[1:] = keys[1:] - keys[:-1] - np.uint64(1)
    # lengths[i]: one byte for each started group of 7 bits.
    lengths = np.ones(len(gaps), dtype=np.int64)
    for bits in range(7, 64, 7):
        lengths += gaps >> np.uint64(bits) > 0
    ends = np.cumsum(lengths)
    starts = ends - lengths
    data = np.zeros(int(ends[-1]), dtype=np.uint8)
    for index in range(int(lengths.max())):
        has = lengths > index
        group = (gaps[has] >> np.uint64(7 * index)) & np.uint64(0x7F)
        more = np.where(lengths[has] > index + 1, 0x80, 0).astype(np.uint8)
        data[starts[has] + index] = group.astype(np.uint8) | more
    return data.tobytes()


def decode_keys(data: bytes, max_rows: int) -> Keys:
    """uint64[n], strictly ascending by construction; DecodeError for anything not so encoded."""
    octets = np.frombuffer(data, dtype=np.uint8)
    if not len(octets):
        return np.zeros(0, dtype=np.uint64)
    ends = np.flatnonzero(octets < 0x80)
    if len(ends) > max_rows:
        raise DecodeError(f"{len(ends)} rows where {max_rows} are allowed")
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise DecodeError("row keys end inside a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > _MAX_VARINT_BYTES or (octets[ends[lengths == _MAX_VARINT_BYTES]] > 1).any():
        raise DecodeError("a row key beyond 64 bits")
    if ((octets[ends] == 0) & (lengths > 1)).any():
        raise DecodeError("a row key that is not in its shortest form")
    shifts = 7 * (np.arange(len(octets)) - np.repeat(starts, lengths))
    groups = (octets & 0x7F).astype(np.uint64) << shifts.astype(np.uint64)
    gaps = np.add.reduceat(groups, starts)
    gaps[1:] += np.uint64(1)
    keys = np.cumsum(gaps, dtype=np.uint64)
    # A sum beyond 64 bits wraps around, which a gap below 2**64 always shows as a step back.
    if (keys[1:] <= keys[:-1]).any():
        raise DecodeError("row keys beyond 64 bits")
    return keys
