"""Messages on topics: a CBOR map whose "t" says which kind it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from openfl.contribution import Evaluation, PeerId
from openfl.wire import cbor
from openfl.wire.limits import LIMITS, MAX_UINT
from openfl.wire.peer_ids import peer_id_from_bytes, peer_id_to_bytes
from openfl.wire.schema import (
    Age,
    Envelope,
    Fit,
    PeerBytes,
    Positive,
    ReplicaDigest,
    Sha256,
    Uint,
    age_to_wire,
    convert,
    fit_from_wire,
    fit_to_wire,
)


class InlineDelta(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="delta"
):
    """A delta small enough to ride along: its signed envelope."""

    envelope: Envelope


class Announce(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="announce"
):
    """A delta to be pulled. `digest` is sha-256 over its body; `size` is that of its envelope."""

    digest: Sha256
    size: Annotated[int, msgspec.Meta(ge=1, le=LIMITS.max_envelope_bytes)]
    epoch: Positive
    seqno: Positive


class LeaveNotice(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="leave"
):
    """A member's signed leave."""

    envelope: Envelope


GONE = MAX_UINT
"""The seqno in a `HeardVersion` of an author that left: ask for it, and the leave is the answer."""


@dataclass(frozen=True, slots=True)
class HeardVersion:
    """What the sender has of an author: complete up to (epoch, seqno), last heard of `age` ago.

    seqno 0: only heard of. seqno `GONE`: it left, and somebody was seen to count it still.
    """

    author: PeerId
    epoch: int
    seqno: int
    age_seconds: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Where its sender is, and what it has of others.

    epoch, seqno: the sender's latest delta (0, 0 before the first). `members`: how many the
    sender's replica holds; when `versions` has fewer, it is a part of its version vector.
    `replica`: digest of the sender's replica; when equal to ours, nothing is missing either way.
    """

    epoch: int
    seqno: int
    round: int
    examples: int
    fit: Evaluation | None
    members: int
    versions: tuple[HeardVersion, ...]
    replica: bytes


class _Heartbeat(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="heartbeat"
):
    epoch: Uint
    seqno: Uint
    round: Uint
    examples: Uint
    fit: Fit | None
    members: Uint
    versions: Annotated[
        list[tuple[PeerBytes, Positive, Uint, Age]],
        msgspec.Meta(max_length=LIMITS.max_heartbeat_versions),
    ]
    replica: ReplicaDigest


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="card"):
    envelope: Annotated[bytes, msgspec.Meta(min_length=1, max_length=LIMITS.max_card_bytes)]


GossipPayload = InlineDelta | Announce | LeaveNotice | Heartbeat


def encode_gossip(message: GossipPayload) -> bytes:
    """A message for a group's topic. ValueError when a heartbeat names too many versions."""
    plain: Any
    if isinstance(message, Heartbeat):
        if len(message.versions) > LIMITS.max_heartbeat_versions:
            raise ValueError(f"a heartbeat names {LIMITS.max_heartbeat_versions} versions at most")
        plain = {
            "t": "heartbeat",
            "epoch": message.epoch,
            "seqno": message.seqno,
            "round": message.round,
            "examples": message.examples,
            "fit": fit_to_wire(message.fit),
            "members": message.members,
            "versions": [
                [peer_id_to_bytes(v.author), v.epoch, v.seqno, age_to_wire(v.age_seconds)]
                for v in message.versions
            ],
            "replica": message.replica,
        }
    else:
        plain = msgspec.to_builtins(message, builtin_types=(bytes,))
    return cbor.encode(plain)


def decode_gossip(payload: bytes) -> GossipPayload:
    """A message from a group's topic; DecodeError for anything else."""
    plain = cbor.decode(payload, LIMITS.max_gossip_bytes)
    message: Any = convert(plain, InlineDelta | Announce | LeaveNotice | _Heartbeat)  # type: ignore[arg-type]
    if not isinstance(message, _Heartbeat):
        decoded: GossipPayload = message
        return decoded
    return Heartbeat(
        message.epoch,
        message.seqno,
        message.round,
        message.examples,
        fit_from_wire(message.fit),
        message.members,
        tuple(HeardVersion(peer_id_from_bytes(v[0]), v[1], v[2], v[3]) for v in message.versions),
        message.replica,
    )


def encode_directory(card_envelope: bytes) -> bytes:
    """A group's signed card for the directory topic."""
    return cbor.encode({"t": "card", "envelope": card_envelope})


def decode_directory(payload: bytes) -> bytes:
    """The card's envelope from a message on the directory topic."""
    return convert(cbor.decode(payload, LIMITS.max_card_bytes + 64), _Card).envelope
