"""The codec of `/openfl/peers/1`: strict both ways, whatever bytes come."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.contribution import GroupId, PeerId
from openfl.core.errors import DecodeError
from openfl.discovery.peer_exchange import (
    MAX_ADDRESSES,
    MAX_ANSWER_BYTES,
    MAX_PEERS,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from openfl.network.base import PeerAddress

GROUP = GroupId("0123456789abcdef" * 2)
PEER = PeerId("12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n")
ADDRESS = "/ip4/192.0.2.7/tcp/4001"


@pytest.mark.parametrize("group", [GROUP, None])
def test_a_request_is_read_as_it_was_written(group: GroupId | None) -> None:
    assert decode_request(encode_request(group)) == group


def test_an_answer_is_read_as_it_was_written() -> None:
    peers = [PeerAddress(PEER, (ADDRESS, "/ip6/::1/tcp/1")), PeerAddress(PEER, ())]
    assert decode_answer(encode_answer(peers)) == tuple(peers)


def test_what_does_not_fit_into_an_answer_is_left_out() -> None:
    long = "/dns4/" + "x" * 130 + "/tcp/1"
    peers = [PeerAddress(PEER, (long,) * 20)] * 100
    encoded = encode_answer(peers)
    assert len(encoded) <= MAX_ANSWER_BYTES
    decoded = decode_answer(encoded)
    assert 0 < len(decoded) <= MAX_PEERS
    assert all(len(peer.multiaddrs) == MAX_ADDRESSES for peer in decoded)


@pytest.mark.parametrize(
    "value",
    [
        [2, GROUP],
        [True, GROUP],
        [1.0, GROUP],
        [1, GROUP.upper()],
        [1, GROUP + "0"],
        [1, GROUP + "\n"],
        [1, GROUP.encode()],
        [1],
        [1, None, None],
        {1: None},
        None,
    ],
)
def test_another_value_is_no_request(value: Any) -> None:
    with pytest.raises(DecodeError):
        decode_request(cbor2.dumps(value, canonical=True))


@pytest.mark.parametrize(
    "entry",
    [
        [PEER],
        [PEER, ADDRESS],
        [PEER, [ADDRESS], 0],
        [PEER, [ADDRESS.encode()]],
        [PEER, ["192.0.2.7:4001"]],
        [PEER, [ADDRESS + "\n"]],
        [PEER, ["/" + "x" * 160]],
        [PEER, ["/ip4/é"]],
        [PEER, [ADDRESS] * (MAX_ADDRESSES + 1)],
        ["0" * 52, [ADDRESS]],
        ["short", [ADDRESS]],
        [PEER.encode(), [ADDRESS]],
        None,
    ],
)
def test_another_entry_is_no_peer(entry: Any) -> None:
    with pytest.raises(DecodeError):
        decode_answer(cbor2.dumps([1, [entry]], canonical=True))


def test_too_many_peers_are_refused() -> None:
    entries = [[PEER, [ADDRESS]]] * (MAX_PEERS + 1)
    with pytest.raises(DecodeError):
        decode_answer(cbor2.dumps([1, entries], canonical=True))


@pytest.mark.parametrize(
    "data",
    [
        encode_request(GROUP) + b"\x00",
        encode_request(GROUP)[:-1],
        b"\x9f\x01\xf6\xff",  # an array of indefinite length
        b"\x82\x18\x01\xf6",  # 1 in two bytes
        b"\xd9\xd9\xf7\x82\x01\xf6",  # tagged
        b"",
        b"\x81" * 128,
        b"\x00" * 129,
    ],
    ids=["trailing", "cut", "indefinite", "overlong", "tagged", "empty", "deep", "large"],
)
def test_another_encoding_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_request(data)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        try:
            decode(data)
        except DecodeError:
            continue


def laughs(levels: int) -> bytes:
    """Lists that hold the list before them twice, by reference (tags 28 and 29): a "billion
    laughs" of 2 ** levels items when it is written out."""
    lists = [b"\xd8\x1c\x82\x00\x00"]
    for number in range(levels):
        reference = b"\xd8\x1d" + cbor2.dumps(number)
        lists.append(b"\xd8\x1c\x82" + reference + reference)
    return b"\x98" + bytes([len(lists)]) + b"".join(lists)


def test_lists_that_grow_when_written_out_are_refused_before_that() -> None:
    assert len(laughs(60)) < MAX_ANSWER_BYTES  # 2 ** 60 items
    with pytest.raises(DecodeError, match="texts and numbers"):
        decode_answer(laughs(60))


@pytest.mark.parametrize("data", [b"\x9f\xff", b"\x82\x01\x7f\xff", b"\x82\x01\x1c"])
def test_indefinite_lengths_and_reserved_heads_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_answer(data)
