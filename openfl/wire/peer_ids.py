"""Peer ids in their binary form: the identity multihash of an Ed25519 public key, 38 bytes.

Members of a group have Ed25519 keys, so that the peer id *is* the key (libp2p peer id
specification, keys of at most 42 bytes are inlined) and whoever signs can be named from the
signature alone.
"""

from __future__ import annotations

from functools import lru_cache

import base58

from openfl.core.contribution import PeerId
from openfl.core.errors import DecodeError

PEER_ID_BYTES = 38
_PREFIX = bytes.fromhex("0024" + "08011220")
"""Identity multihash of 36 bytes; protobuf PublicKey: type Ed25519, 32 bytes of data."""
_MAX_TEXT = 60


@lru_cache(maxsize=16_384)
def peer_id_from_bytes(data: bytes) -> PeerId:
    """The text form; DecodeError unless `data` is the id of an Ed25519 key."""
    if len(data) != PEER_ID_BYTES or not data.startswith(_PREFIX):
        raise DecodeError("not the peer id of an Ed25519 key")
    return PeerId(base58.b58encode(data).decode("ascii"))


@lru_cache(maxsize=16_384)
def peer_id_to_bytes(peer_id: PeerId) -> bytes:
    """The binary form; DecodeError unless `peer_id` is the base58 text of an Ed25519 key's id."""
    if len(peer_id) > _MAX_TEXT:
        raise DecodeError("not a peer id: too long")
    try:
        data: bytes = base58.b58decode(peer_id.encode("ascii"))
    except ValueError as error:
        raise DecodeError(f"not a peer id: {peer_id[:_MAX_TEXT]!r}") from error
    peer_id_from_bytes(data)
    return data
