from __future__ import annotations

import math

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.core.errors import DecodeError
from openfl.wire import cbor, tensors
from openfl.wire.cbor import Tagged, decode, encode
from openfl.wire.limits import LIMITS
from tests.vectors.make import CBOR_REFUSED

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.binary(max_size=40)
    | st.builds(Tagged, st.sampled_from(sorted(tensors.ARRAY_TAGS)), st.binary(max_size=20)),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=30), inner, max_size=5)
    ),
    max_leaves=12,
)


def depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 if isinstance(value, Tagged) else 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_what_is_not_finite_is_refused_where_it_is_made(value: float) -> None:
    for message in (value, [1, value], {"fit": {"error": value}}, {"a": [(value,)]}):
        with pytest.raises(ValueError, match="not a finite number"):
            encode(message)


@settings(deadline=None)
@given(plain_values)
def test_what_is_encoded_decodes_to_itself(value: object) -> None:
    if depth(value) > LIMITS.max_depth:
        return
    data = encode(value)
    decoded = decode(data, len(data), tensors.ARRAY_TAGS)
    assert decoded == value
    assert encode(decoded) == data


@settings(deadline=None)
@given(plain_values)
def test_an_independent_decoder_agrees(value: object) -> None:
    def untag(item: object) -> object:
        if isinstance(item, cbor2.CBORTag):
            return Tagged(item.tag, item.value)
        if isinstance(item, list):
            return [untag(i) for i in item]
        if isinstance(item, dict):
            return {k: untag(v) for k, v in item.items()}
        return item

    assert untag(cbor2.loads(encode(value))) == value


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_whatever_is_accepted_has_exactly_one_encoding(data: bytes) -> None:
    try:
        value = decode(data, 60, tensors.ARRAY_TAGS)
    except DecodeError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("name", CBOR_REFUSED)
def test_what_strict_cbor_forbids_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(CBOR_REFUSED[name]), 1000, tensors.ARRAY_TAGS)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1818", 24),
        ("190100", 256),
        ("1a00010000", 65536),
        ("1b0000000100000000", 2**32),
        ("1b7fffffffffffffff", 2**63 - 1),
        ("3b7fffffffffffffff", -(2**63)),
        ("a2616101616202", {"a": 1, "b": 2}),
        ("a261620262610101", {"b": 2, "a\x01": 1}),
        ("d8484161", Tagged(72, b"a")),
        ("81" * 8 + "01", [[[[[[[[1]]]]]]]]),
        ("f93e00", 1.5),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f98000", -0.0),
    ],
)
def test_the_strict_twin_of_each_is_accepted(data: str, value: object) -> None:
    decoded = decode(bytes.fromhex(data), 1000, tensors.ARRAY_TAGS)
    assert decoded == value
    if value == 0.0:
        assert math.copysign(1, decoded) == -1


def test_size_is_checked_before_anything_else() -> None:
    assert decode(b"\x41a", 2) == b"a"
    with pytest.raises(DecodeError, match="2 bytes where 1"):
        decode(b"\x41a", 1)


def test_tags_are_only_allowed_where_they_are_asked_for() -> None:
    with pytest.raises(DecodeError, match="tag 72"):
        decode(bytes.fromhex("d8484161"), 10)


def test_items_are_counted_before_they_are_built() -> None:
    data = encode([0] * 10)
    assert decode(data, 100, max_items=11) == [0] * 10
    with pytest.raises(DecodeError):
        decode(data, 100, max_items=10)


def test_what_has_no_place_in_a_message_cannot_be_encoded() -> None:
    with pytest.raises((TypeError, cbor2.CBOREncodeError)):
        encode({"a": object()})


# --- typed arrays and keys ------------------------------------------------------------------------

sorted_keys = st.lists(
    st.integers(0, 2**64 - 1) | st.integers(0, 300), max_size=60, unique=True
).map(sorted)


@given(sorted_keys)
def test_keys_survive_the_wire(keys: list[int]) -> None:
    array = np.array(keys, dtype=np.uint64)
    data = tensors.encode_keys(array)
    assert tensors.decode_keys(data, 60).tolist() == keys


@given(st.binary(max_size=80))
def test_whatever_keys_are_accepted_have_exactly_one_encoding(data: bytes) -> None:
    try:
        keys = tensors.decode_keys(data, 80)
    except DecodeError:
        return
    assert keys.dtype == np.uint64
    assert (keys[1:] > keys[:-1]).all()
    assert tensors.encode_keys(keys) == data


def test_more_keys_than_allowed_are_refused_before_they_are_built() -> None:
    data = tensors.encode_keys(np.arange(100, dtype=np.uint64))
    assert len(tensors.decode_keys(data, 100)) == 100
    with pytest.raises(DecodeError, match="100 rows where 99"):
        tensors.decode_keys(data, 99)


def test_dense_keys_take_one_byte_each() -> None:
    assert len(tensors.encode_keys(np.arange(1000, dtype=np.uint64))) == 1000


@pytest.mark.parametrize(
    ("most", "tag"),
    [
        (255, tensors.UINT8),
        (256, tensors.UINT16),
        (65535, tensors.UINT16),
        (65536, tensors.UINT32),
        (2**32 - 1, tensors.UINT32),
    ],
)
def test_counts_travel_in_the_smallest_type_that_holds_them(most: int, tag: int) -> None:
    counts = np.array([1, most], dtype=np.uint32)
    tagged = tensors.encode_counts(counts)
    assert tagged.tag == tag
    assert tensors.decode_counts(tagged, 2).tolist() == counts.tolist()


def test_equal_counts_travel_once() -> None:
    tagged = tensors.encode_counts(np.full(100, 7, dtype=np.uint32))
    assert tagged == Tagged(tensors.UINT8, b"\x07")
    assert tensors.decode_counts(tagged, 100).tolist() == [7] * 100
    with pytest.raises(DecodeError):
        tensors.decode_counts(Tagged(tensors.UINT8, b"\x07\x07"), 100)
    with pytest.raises(DecodeError):
        tensors.decode_counts(Tagged(tensors.UINT8, b""), 100)


def test_no_rows_have_no_counts() -> None:
    tagged = tensors.encode_counts(np.zeros(0, dtype=np.uint32))
    assert tagged.data == b""
    assert len(tensors.decode_counts(tagged, 0)) == 0


def test_arrays_are_little_endian_whatever_the_machine() -> None:
    tagged = tensors.encode_array(np.array([1.0], dtype=">f4"), tensors.FLOAT32)
    assert tagged.data == bytes.fromhex("0000803f")
    assert tensors.decode_array(tagged, (tensors.FLOAT32,))[0] == 1.0
    assert cbor.encode(tagged).hex() == "d855440000803f"
