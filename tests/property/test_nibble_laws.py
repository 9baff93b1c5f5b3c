"""Codes of four bits: what is packed comes back, and nothing has two forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.errors import DecodeError
from openfl.wire import tensors

codes = st.lists(st.integers(-8, 7), max_size=65)


def packed(values: list[int]) -> bytes:
    return tensors.encode_nibbles(np.array(values, dtype=np.int8)).data


@given(codes)
def test_what_is_packed_comes_back_in_half_the_bytes(values: list[int]) -> None:
    data = packed(values)
    assert len(data) == (len(values) + 1) // 2
    octets = np.frombuffer(data, dtype=np.uint8)
    decoded = tensors.decode_nibbles(octets, len(values))
    assert decoded.dtype == np.int8
    assert decoded.tolist() == values


@given(st.binary(max_size=40), st.booleans())
def test_bytes_that_are_accepted_are_the_only_form_of_their_codes(data: bytes, odd: bool) -> None:
    count = max(0, 2 * len(data) - odd)
    try:
        decoded = tensors.decode_nibbles(np.frombuffer(data, dtype=np.uint8), count)
    except DecodeError:
        assert odd
        assert data[-1] >> 4  # the half that should be empty
        return
    assert packed(decoded.tolist()) == data


@given(codes, st.integers(-3, 3).filter(bool))
def test_another_number_of_bytes_is_refused(values: list[int], change: int) -> None:
    data = packed(values)
    longer = data + bytes(change) if change > 0 else data[:change]
    if len(longer) == len(data):
        return
    with pytest.raises(DecodeError, match="four bits"):
        tensors.decode_nibbles(np.frombuffer(longer, dtype=np.uint8), len(values))
