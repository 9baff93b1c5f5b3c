"""`/openfl/peers/1`: a peer tells which members of a group it is connected to, and where they are.

Request: canonical CBOR `[1, group id]`, the group id being 32 lower-case hex digits, or null for
peers of any group. Answer: `[1, [[peer id, [multiaddr, ...]], ...]]`. What a peer tells is a hint:
whoever is dialled must prove its peer id, so a lie costs a failed dial.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import cbor2

from openfl.core.contribution import GroupId, PeerId
from openfl.core.errors import DecodeError
from openfl.network.base import Network, PeerAddress
from openfl.wire.names import PEERS_PROTOCOL

VERSION = 1
MAX_REQUEST_BYTES = 128
MAX_ANSWER_BYTES = 32 * 1024
MAX_PEERS = 32
MAX_ADDRESSES = 8
MAX_ADDRESS_CHARACTERS = 160
MAX_ITEMS = 2 + MAX_PEERS * (3 + MAX_ADDRESSES)
_NULL = 0xF6
_GROUP_ID = re.compile(r"[0-9a-f]{32}\Z")
_PEER_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,64}\Z")


class PeerExchange:
    """Answers for this node and asks others. `members` gives the connected members of a group."""

    def __init__(
        self, network: Network, members: Callable[[GroupId | None], frozenset[PeerId]]
    ) -> None:
        self._network = network
        self._members = members
        network.set_handler(PEERS_PROTOCOL, self._answer, MAX_REQUEST_BYTES)

    async def ask(self, peer_id: PeerId, group_id: GroupId | None) -> tuple[PeerAddress, ...]:
        """What the peer tells; RemoteError when it does not answer or answers nonsense."""
        answer = await self._network.request(
            peer_id, PEERS_PROTOCOL, encode_request(group_id), MAX_ANSWER_BYTES
        )
        try:
            return decode_answer(answer)
        except DecodeError:
            self._network.penalize(peer_id, "peer-exchange-malformed")
            raise

    async def _answer(self, asker: PeerId, request: bytes) -> bytes:
        members = self._members(decode_request(request)).difference([asker])
        peers = [
            PeerAddress(peer.peer_id, peer.multiaddrs)
            for peer in self._network.peers()
            if peer.peer_id in members and peer.multiaddrs
        ]
        return encode_answer(peers)


def encode_request(group_id: GroupId | None) -> bytes:
    """The bytes of a request; None asks for peers of any group."""
    return cbor2.dumps([VERSION, group_id], canonical=True)


def decode_request(data: bytes) -> GroupId | None:
    """DecodeError for anything but one canonical request."""
    match _decode(data, MAX_REQUEST_BYTES):
        case [1, None]:
            return None
        case [1, str(group_id)] if _GROUP_ID.match(group_id):
            return GroupId(group_id)
    raise DecodeError("not a request for peers")


def encode_answer(peers: list[PeerAddress]) -> bytes:
    """At most `MAX_PEERS` peers with `MAX_ADDRESSES` addresses each; the rest is left out."""
    body = [
        [peer.peer_id, [a for a in peer.multiaddrs if _is_address(a)][:MAX_ADDRESSES]]
        for peer in peers[:MAX_PEERS]
    ]
    while True:
        encoded = cbor2.dumps([VERSION, body], canonical=True)
        if len(encoded) <= MAX_ANSWER_BYTES:
            return encoded
        body.pop()


def decode_answer(data: bytes) -> tuple[PeerAddress, ...]:
    """DecodeError for anything but one canonical answer within the bounds."""
    match _decode(data, MAX_ANSWER_BYTES):
        case [1, list(entries)] if len(entries) <= MAX_PEERS:
            return tuple(map(_decode_peer, entries))
    raise DecodeError("not a list of peers")


def _decode_peer(entry: Any) -> PeerAddress:
    match entry:
        case [str(peer_id), list(addresses)] if (
            _PEER_ID.match(peer_id)
            and len(addresses) <= MAX_ADDRESSES
            and all(map(_is_address, addresses))
        ):
            return PeerAddress(PeerId(peer_id), tuple(addresses))
    raise DecodeError("not a peer with its addresses")


def _is_address(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.startswith("/")
        and len(value) <= MAX_ADDRESS_CHARACTERS
        and value.isascii()
        and value.isprintable()
    )


def _decode(data: bytes, max_bytes: int) -> Any:
    if len(data) > max_bytes:
        raise DecodeError(f"{len(data)} bytes, allowed are {max_bytes}")
    _refuse_elaborate(data)
    try:
        value = cbor2.loads(data)
        # One value has one canonical encoding: whatever re-encodes differently had trailing bytes,
        # duplicate keys, indefinite lengths, tags or overlong numbers.
        canonical = cbor2.dumps(value, canonical=True)
    except Exception as error:  # cbor2 raises its own kinds, and recursion and type errors
        raise DecodeError(f"not CBOR: {error}") from error
    if canonical != data:
        raise DecodeError("not in canonical form")
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise DecodeError("without a version")  # True == 1 == 1.0
    return value


def _refuse_elaborate(data: bytes) -> None:
    """DecodeError unless `data` has only numbers, texts, lists and null, and few of them.

    Before cbor2 sees it: cbor2 follows references (tags 28 and 29), so that lists of lists in 204
    bytes have millions of items when they are written out.
    """
    at = items = 0
    while at < len(data):
        items += 1
        major, info = data[at] >> 5, data[at] & 31
        if items > MAX_ITEMS or (major not in (0, 3, 4) and data[at] != _NULL):
            raise DecodeError("not a list of texts and numbers")
        at += 1
        if major == 7:
            continue
        size = 0 if info < 24 else 1 << (info - 24)
        if size > 8:
            raise DecodeError("an indefinite length or a reserved head")
        argument = int.from_bytes(data[at : at + size], "big") if size else info
        at += size + (argument if major == 3 else 0)
