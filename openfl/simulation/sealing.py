"""Identities and envelopes without cryptography: for simulations, where nobody forges anything.

The envelope has the form and the size of a real one (libp2p RFC 0002 by protobuf: public key,
payload type, payload, 64 bytes of signature), so that published bytes are counted as real nodes
count them. In place of the signature stand two SHA-256 over what would be signed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TypeVar

from openfl.aggregation.delta import Delta
from openfl.core.contribution import Charter, GroupCard, PeerId
from openfl.core.errors import InvalidSignature
from openfl.group.reader import StrictReader
from openfl.network.base import Sealer
from openfl.wire import messages as wire

_PEER_PREFIX = bytes.fromhex("002408011220")
_KEY_FIELD = bytes.fromhex("0a2408011220")
"""Field 1 of the envelope, 36 bytes: a public key of type Ed25519 with 32 bytes of data."""
_SIGNATURE_HEAD = bytes.fromhex("2a40")
_MEMORY = 4096

K = TypeVar("K")
V = TypeVar("V")


class StandInSealer:
    """A `Sealer` whose identity follows from `seed` and `number`."""

    def __init__(self, seed: int, number: int) -> None:
        self._key = hashlib.sha256(f"openfl/simulated/{seed}/{number}".encode()).digest()
        self._peer_id = wire.peer_id_from_bytes(_PEER_PREFIX + self._key)

    @property
    def peer_id(self) -> PeerId:
        """It follows from `seed` and `number`."""
        return self._peer_id

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        """An envelope as large as a real one, with a digest in the place of its signature."""
        body = (
            _KEY_FIELD
            + self._key
            + b"\x12"
            + _varint(len(payload_type))
            + payload_type
            + b"\x1a"
            + _varint(len(payload))
            + payload
        )
        return body + _SIGNATURE_HEAD + _stand_in(body)

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        """InvalidSignature: another type, or changed since it was sealed."""
        head = len(_KEY_FIELD)
        key = envelope[head : head + 32]
        rest = envelope[head + 32 : -66]
        kind = b"\x12" + _varint(len(payload_type)) + payload_type + b"\x1a"
        if not envelope.startswith(_KEY_FIELD) or not rest.startswith(kind):
            raise InvalidSignature("not an envelope of this kind")
        size, start = _read_varint(rest, len(kind))
        payload = rest[start:]
        signature = _SIGNATURE_HEAD + _stand_in(envelope[:-66])
        if len(payload) != size or not envelope.endswith(signature):
            raise InvalidSignature("the envelope does not verify")
        return wire.peer_id_from_bytes(_PEER_PREFIX + key), payload


class OnceReader(StrictReader):
    """Reads each message once for all members that hear it (`network.wire = "once"`).

    Results are frozen, so sharing them is invisible. The messages read last are remembered; what
    is refused is refused anew each time.
    """

    def __init__(self) -> None:
        self._gossip: OrderedDict[bytes, wire.GossipPayload] = OrderedDict()
        self._deltas: OrderedDict[bytes, Delta] = OrderedDict()
        self._valid: OrderedDict[bytes, None] = OrderedDict()
        self._cards: OrderedDict[tuple[bytes, PeerId], GroupCard] = OrderedDict()

    def gossip(self, payload: bytes) -> wire.GossipPayload:
        """As StrictReader; the same object for all who read the same bytes."""
        found = self._gossip.get(payload)
        if found is None:
            found = super().gossip(payload)
            _remember(self._gossip, payload, found)
        return found

    def delta(self, body: bytes) -> Delta:
        """As StrictReader; the same object for all who read the same bytes."""
        found = self._deltas.get(body)
        if found is None:
            found = super().delta(body)
            _remember(self._deltas, body, found)
        return found

    def card(self, body: bytes, issuer: PeerId) -> GroupCard:
        """A group's card; DecodeError. The same object for all who read the same bytes."""
        found = self._cards.get((body, issuer))
        if found is None:
            found = wire.decode_card(body, issuer)
            _remember(self._cards, (body, issuer), found)
        return found

    def validate(self, delta: Delta, charter: Charter) -> None:
        """As StrictReader, but once for each delta."""
        if delta.digest not in self._valid:
            super().validate(delta, charter)
            _remember(self._valid, delta.digest, None)


def _remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    memory[key] = value
    if len(memory) > _MEMORY:
        memory.popitem(last=False)


def _stand_in(body: bytes) -> bytes:
    first = hashlib.sha256(body).digest()
    return first + hashlib.sha256(first).digest()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """(value, position behind it)."""
    value = shift = 0
    while start < len(data) and shift < 35:
        octet = data[start]
        start += 1
        value |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, start
    raise InvalidSignature("the envelope ends inside a length")


class OnceSealer:
    """Opens each envelope once for all members (`network.wire = "once"`); `memory` is shared."""

    def __init__(
        self, inner: Sealer, memory: OrderedDict[bytes, tuple[bytes, PeerId, bytes]]
    ) -> None:
        self._inner = inner
        self._memory = memory

    @property
    def peer_id(self) -> PeerId:
        """That of the sealer inside."""
        return self._inner.peer_id

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        """By the sealer inside."""
        return self._inner.seal(payload_type, payload)

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        """By the sealer inside, unless it was opened before; InvalidSignature."""
        found = self._memory.get(envelope)
        if found is not None and found[0] == payload_type:
            return found[1], found[2]
        author, payload = self._inner.open(payload_type, envelope)
        _remember(self._memory, envelope, (payload_type, author, payload))
        return author, payload
