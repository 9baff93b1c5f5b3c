"""Invariant: any bytes are a message or a RemoteError, and a message has one encoding.

The first byte of an input chooses the decoder, the rest is what it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openfl.core.errors import InvalidContribution, RemoteError
from openfl.discovery import peer_exchange
from openfl.group.validation import validate_delta
from openfl.network.libp2p.envelope import Libp2pSealer, identity_from_seed, open_envelope
from openfl.wire import messages as wire
from tests.vectors import make

MANY_WAYS = frozenset(
    ("delta", "snapshot-request", "pull-request", "summary-request", "summary-answer")
)
"""Counts may be spelled out, versions unsorted, wishes larger than a page."""


LATER_KINDS = ("invitation", "summary-request", "summary-answer", "labels-request", "labels-answer")
"""Came to be after the corpus was begun."""


def _envelope(data: bytes) -> tuple[str, bytes]:
    return open_envelope(wire.DELTA_TYPE, data)


def _peers_request(data: bytes) -> bytes:
    return peer_exchange.encode_request(peer_exchange.decode_request(data))


DECODERS: tuple[tuple[str, Callable[[bytes], Any]], ...] = (
    *sorted(item for item in make.DECODERS.items() if item[0] not in LATER_KINDS),
    ("envelope", _envelope),
    ("peers-request", _peers_request),
    ("peers-answer", peer_exchange.decode_answer),
    *((kind, make.DECODERS[kind]) for kind in LATER_KINDS),
)
"""In a fixed order: the corpus relies on it."""


def check(data: bytes) -> None:
    """Returns, or fails with whatever is wrong."""
    if not data:
        return
    kind, decode = DECODERS[data[0] % len(DECODERS)]
    payload = data[1:]
    try:
        message = decode(payload)
    except RemoteError:
        return
    match kind:
        case "envelope":
            return
        case "peers-request":
            assert message == payload, "a request with two encodings"
        case "peers-answer":
            assert peer_exchange.encode_answer(list(message)) == payload
        case _:
            _encode_again(kind, decode, message, payload)


def _encode_again(kind: str, decode: Callable[[bytes], Any], message: Any, payload: bytes) -> None:
    encode = make.ENCODERS[kind]
    again = encode(message)
    if kind in MANY_WAYS:
        assert encode(decode(again)) == again, "an encoding that does not stay the same"
    else:
        assert again == payload, "a message with two encodings"
    if kind == "delta":
        try:
            validate_delta(message, make.CHARTER)
        except InvalidContribution:
            return
        # What passes can be merged: every value is finite.
        for block in message.blocks:
            assert abs(block.values()).max() <= make.CHARTER.table(block.table).value_limit


def seeds() -> list[bytes]:
    """The golden vectors, both kinds, and a few of what they do not have."""
    index = {kind: number for number, (kind, _) in enumerate(DECODERS)}
    found = [
        bytes([index[vector["kind"]]]) + bytes.fromhex(vector["hex"])
        for vector in [*make.accepted(), *make.refused()]
        if vector["kind"] in index
    ]
    sealer = Libp2pSealer(identity_from_seed(bytes(range(32))))
    body = wire.encode_delta(make.DELTAS["one row"])
    found.append(bytes([index["envelope"]]) + sealer.seal(wire.DELTA_TYPE, body))
    found.append(bytes([index["envelope"]]) + sealer.seal(wire.LEAVE_TYPE, b"x"))
    group = make.CHARTER.group_id
    for asked in (None, group):
        request = peer_exchange.encode_request(asked)
        found.append(bytes([index["peers-request"]]) + request)
    peers = [peer_exchange.PeerAddress(make.ANN, ("/ip4/127.0.0.1/tcp/4001",))]
    for told in ([], peers):
        found.append(bytes([index["peers-answer"]]) + peer_exchange.encode_answer(told))
    return found
