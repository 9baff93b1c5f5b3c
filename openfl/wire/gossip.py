"""Messages on topics: a CBOR map whose "t" says which kind it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from openfl.core.contribution import Evaluation, PeerId
from openfl.core.errors import DecodeError
from openfl.wire import cbor
from openfl.wire.invitations import InvitationEnvelope
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
    """A delta small enough to be sent along: its signed envelope."""

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
    opinion: whether the author's influence does the sender's own data good (positive) or harm, as
    z of openfl.aggregation.member_judge, within +-MAX_OPINION; None when it has none.
    """

    author: PeerId
    epoch: int
    seqno: int
    age_seconds: int
    opinion: float | None = None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Where its sender is, and what it has of others.

    epoch, seqno: the sender's latest delta (0, 0 before the first). `members`: how many the
    sender's replica holds; when `versions` has fewer, it is a part of its version vector.
    `replica`: digest of the sender's replica; when equal to ours, nothing is missing either way.
    `invitation`: the sender's own, in a closed group; empty otherwise.
    """

    epoch: int
    seqno: int
    round: int
    examples: int
    fit: Evaluation | None
    members: int
    versions: tuple[HeardVersion, ...]
    replica: bytes
    invitation: bytes = b""


OPINION_STEP = 0.125
MAX_OPINION = 127 * OPINION_STEP
_NO_OPINION = -128


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
    opinions: (
        Annotated[bytes, msgspec.Meta(min_length=1, max_length=LIMITS.max_heartbeat_versions)]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    """One int8 for each version, in steps of `OPINION_STEP`; left out when there are none."""
    invitation: InvitationEnvelope = b""


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    t: Literal["card"]
    """A field, not msgspec's tag: a tag outside a union may be missing."""
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
        if any(version.opinion is not None for version in message.versions):
            plain["opinions"] = b"".join(_opinion_byte(v.opinion) for v in message.versions)
        if message.invitation:
            plain["invitation"] = message.invitation
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
    opinions: list[float | None] = [None] * len(message.versions)
    if message.opinions is not msgspec.UNSET:
        opinions = [_opinion(byte) for byte in message.opinions]
        if len(opinions) != len(message.versions) or not any(o is not None for o in opinions):
            raise DecodeError("a heartbeat has an opinion on each of its versions, or none at all")
    return Heartbeat(
        message.epoch,
        message.seqno,
        message.round,
        message.examples,
        fit_from_wire(message.fit),
        message.members,
        tuple(
            HeardVersion(peer_id_from_bytes(v[0]), v[1], v[2], v[3], opinion)
            for v, opinion in zip(message.versions, opinions, strict=True)
        ),
        message.replica,
        message.invitation,
    )


def _opinion_byte(opinion: float | None) -> bytes:
    if opinion is None:
        return _NO_OPINION.to_bytes(1, "big", signed=True)
    steps = round(max(-MAX_OPINION, min(MAX_OPINION, opinion)) / OPINION_STEP)
    return steps.to_bytes(1, "big", signed=True)


def _opinion(byte: int) -> float | None:
    steps = byte - 256 if byte > 127 else byte
    return None if steps == _NO_OPINION else steps * OPINION_STEP


def encode_directory(card_envelope: bytes) -> bytes:
    """A group's signed card for the directory topic."""
    return cbor.encode({"t": "card", "envelope": card_envelope})


def decode_directory(payload: bytes) -> bytes:
    """The card's envelope from a message on the directory topic."""
    return convert(cbor.decode(payload, LIMITS.max_card_bytes + 64), _Card).envelope
