"""Requests and answers on streams: snapshot, pull, groups.

A snapshot answer and a pull answer have one form: signed envelopes, statements of completeness, and
a cursor when there is more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from openfl.aggregation.replica import Completeness, Cursor, Page
from openfl.aggregation.version_vector import Version, VersionVector
from openfl.core.contribution import GroupId, PeerId
from openfl.core.errors import DecodeError
from openfl.wire import cbor
from openfl.wire.invitations import InvitationEnvelope
from openfl.wire.limits import LIMITS
from openfl.wire.peer_ids import peer_id_from_bytes, peer_id_to_bytes
from openfl.wire.schema import (
    Age,
    Envelope,
    GroupBytes,
    PeerBytes,
    Positive,
    ReplicaDigest,
    Uint,
    age_to_wire,
    convert,
    group_from_bytes,
    group_to_bytes,
    require_printable,
)

_WireCursor = tuple[PeerBytes, Uint, Uint]


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """Everything of the group that whoever has `known` lacks, from `cursor` on.

    invitation: the asker's own, in a closed group; empty otherwise.
    """

    group_id: GroupId
    known: VersionVector
    max_bytes: int
    cursor: Cursor | None = None
    invitation: bytes = b""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Live deltas of these authors beyond (epoch, seqno); leaves of theirs, too.

    An announced delta is pulled as its author with the seqno before it.
    """

    group_id: GroupId
    wants: VersionVector
    max_bytes: int
    cursor: Cursor | None = None
    invitation: bytes = b""


@dataclass(frozen=True, slots=True)
class AnswerItem:
    """A signed envelope; its author is its signer. `age_seconds`: since the author was last heard
    of; of a leave, since that was first heard."""

    kind: Literal["delta", "leave"]
    envelope: bytes
    age_seconds: int


@dataclass(frozen=True, slots=True)
class ItemsAnswer:
    """One page. Merge `items`, then believe `complete`, then ask again from `cursor` if any.

    `replica` is the digest of the sender's replica when it made the page. `invitations`: those of
    the authors on the page, in a closed group.
    """

    items: tuple[AnswerItem, ...]
    complete: tuple[Completeness, ...]
    cursor: Cursor | None
    replica: bytes
    invitations: tuple[bytes, ...] = ()

    @classmethod
    def of_page(
        cls, page: Page, replica: bytes, invitations: tuple[bytes, ...] = ()
    ) -> ItemsAnswer:
        """The page of a replica with that digest."""
        items = tuple(
            AnswerItem(item.kind, item.envelope, age_to_wire(item.age_seconds))
            for item in page.items
        )
        return cls(items, page.complete, page.cursor, replica, invitations)


class CardsAnswer(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="cards"
):
    """Pairs (signed group card, seconds since it was issued as far as the sender can tell), the
    cards that the sender trusts most first."""

    cards: Annotated[
        tuple[tuple[Annotated[bytes, msgspec.Meta(max_length=LIMITS.max_card_bytes)], Age], ...],
        msgspec.Meta(max_length=LIMITS.max_cards),
    ]


class Refusal(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="refused"
):
    """Why a request is not answered. `code`: "unknown-group", "not-invited" or "busy"."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    text: Annotated[str, msgspec.Meta(max_length=LIMITS.max_reason_chars)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    known: Annotated[
        list[tuple[PeerBytes, Positive, Uint]],
        msgspec.Meta(max_length=LIMITS.max_known_versions),
    ]
    cursor: _WireCursor | None
    max_bytes: Positive
    invitation: InvitationEnvelope = b""


class _Items(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="items"):
    items: Annotated[
        list[tuple[Literal["delta", "leave"], Envelope, Age]],
        msgspec.Meta(max_length=LIMITS.max_answer_items),
    ]
    complete: Annotated[
        list[tuple[PeerBytes, Positive, Uint, Positive, Age]],
        msgspec.Meta(max_length=LIMITS.max_answer_items),
    ]
    cursor: _WireCursor | None
    replica: ReplicaDigest
    invitations: Annotated[
        tuple[InvitationEnvelope, ...],
        msgspec.Meta(min_length=1, max_length=LIMITS.max_answer_items),
    ] = ()


def encode_snapshot_request(request: SnapshotRequest) -> bytes:
    """A request for `SNAPSHOT_PROTOCOL`."""
    return _encode_request(
        request.group_id, request.known, request.cursor, request.max_bytes, request.invitation
    )


def decode_snapshot_request(payload: bytes) -> SnapshotRequest:
    """The request; DecodeError for anything else. `max_bytes` is cut to what a page may hold."""
    wire = convert(cbor.decode(payload, LIMITS.max_request_bytes), _Request)
    return SnapshotRequest(
        group_from_bytes(wire.group),
        _versions(wire.known),
        min(wire.max_bytes, LIMITS.max_page_bytes),
        _cursor_from_wire(wire.cursor),
        wire.invitation,
    )


def encode_pull_request(request: PullRequest) -> bytes:
    """ValueError when it wants more authors than one pull may."""
    if len(request.wants) > LIMITS.max_wants:
        raise ValueError(f"a pull wants {LIMITS.max_wants} authors at most")
    return _encode_request(
        request.group_id, request.wants, request.cursor, request.max_bytes, request.invitation
    )


def decode_pull_request(payload: bytes) -> PullRequest:
    """The request; DecodeError for anything else. `max_bytes` is cut to what a page may hold."""
    wire = convert(cbor.decode(payload, LIMITS.max_request_bytes), _Request)
    if len(wire.known) > LIMITS.max_wants:
        raise DecodeError(f"a pull wants {LIMITS.max_wants} authors at most")
    return PullRequest(
        group_from_bytes(wire.group),
        _versions(wire.known),
        min(wire.max_bytes, LIMITS.max_page_bytes),
        _cursor_from_wire(wire.cursor),
        wire.invitation,
    )


def encode_groups_request() -> bytes:
    """The one request there is for `GROUPS_PROTOCOL`."""
    return cbor.encode({})


def decode_groups_request(payload: bytes) -> None:
    """DecodeError unless it is the one groups request there is."""
    if cbor.decode(payload, 16) != {}:
        raise DecodeError("a groups request has no fields")


def encode_answer(answer: ItemsAnswer | CardsAnswer | Refusal) -> bytes:
    """An answer to any request."""
    plain: Any
    if isinstance(answer, ItemsAnswer):
        plain = {
            "t": "items",
            "items": [[i.kind, i.envelope, age_to_wire(i.age_seconds)] for i in answer.items],
            "complete": [
                [peer_id_to_bytes(c.author), c.epoch, c.after, c.upto, age_to_wire(c.age_seconds)]
                for c in answer.complete
            ],
            "cursor": _cursor_to_wire(answer.cursor),
            "replica": answer.replica,
        }
        if answer.invitations:
            plain["invitations"] = list(answer.invitations)
    else:
        plain = msgspec.to_builtins(answer, builtin_types=(bytes,))
    return cbor.encode(plain)


def decode_items_answer(payload: bytes) -> ItemsAnswer | Refusal:
    """The answer to a snapshot or pull request."""
    answer: Any = convert(cbor.decode(payload, LIMITS.max_answer_bytes), _Items | Refusal)  # type: ignore[arg-type]
    if isinstance(answer, Refusal):
        return _printable(answer)
    return ItemsAnswer(
        tuple(AnswerItem(kind, envelope, age) for kind, envelope, age in answer.items),
        tuple(
            Completeness(peer_id_from_bytes(author), epoch, after, upto, age)
            for author, epoch, after, upto, age in answer.complete
        ),
        _cursor_from_wire(answer.cursor),
        answer.replica,
        answer.invitations,
    )


def decode_cards_answer(payload: bytes) -> CardsAnswer | Refusal:
    """The answer to a groups request."""
    answer: Any = convert(cbor.decode(payload, LIMITS.max_answer_bytes), CardsAnswer | Refusal)  # type: ignore[arg-type]
    if isinstance(answer, Refusal):
        return _printable(answer)
    cards: CardsAnswer = answer
    return cards


def _printable(refusal: Refusal) -> Refusal:
    require_printable(refusal.code + refusal.text, "a refusal")
    return refusal


def _encode_request(
    group_id: GroupId,
    known: VersionVector,
    cursor: Cursor | None,
    max_bytes: int,
    invitation: bytes,
) -> bytes:
    # In ascending order of the bytes: one request has one encoding. What does not fit is left out:
    # then the answer repeats a little.
    versions = sorted([peer_id_to_bytes(a), v.epoch, v.seqno] for a, v in known.items())
    versions = versions[: LIMITS.max_known_versions]
    plain = {
        "group": group_to_bytes(group_id),
        "known": versions,
        "cursor": _cursor_to_wire(cursor),
        "max_bytes": max_bytes,
    }
    if invitation:
        plain["invitation"] = invitation
    return cbor.encode(plain)


def _versions(wire: list[tuple[bytes, int, int]]) -> Mapping[PeerId, Version]:
    versions = {peer_id_from_bytes(author): Version(epoch, seqno) for author, epoch, seqno in wire}
    if len(versions) != len(wire):
        raise DecodeError("an author is named twice")
    return versions


def _cursor_to_wire(cursor: Cursor | None) -> list[Any] | None:
    if cursor is None:
        return None
    return [peer_id_to_bytes(cursor.author), cursor.epoch, cursor.seqno]


def _cursor_from_wire(wire: tuple[bytes, int, int] | None) -> Cursor | None:
    return None if wire is None else Cursor(peer_id_from_bytes(wire[0]), wire[1], wire[2])
