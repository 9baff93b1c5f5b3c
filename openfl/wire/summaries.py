"""Requests for summaries of a group's model, and their answers, on streams.

An answer is signed by nobody: it says what a member takes its group's model to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.summary import RowCursor
from openfl.core.contribution import GroupId
from openfl.core.errors import DecodeError
from openfl.wire import cbor, tensors
from openfl.wire.bodies import WireRows, rows_from_wire, rows_to_plain
from openfl.wire.exchange import Refusal
from openfl.wire.invitations import InvitationEnvelope
from openfl.wire.limits import LIMITS
from openfl.wire.schema import (
    GroupBytes,
    Positive,
    ReplicaDigest,
    Uint,
    convert,
    group_from_bytes,
    group_to_bytes,
    require_printable,
)

_ITEM_BYTES = {
    tensors.SINT8: 1,
    tensors.FLOAT16: 2,
    tensors.FLOAT32: 4,
}
"""Of the values of a summary; there are none of four bits."""


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """The rows of the group's model behind `cursor`, about `max_bytes` of them.

    have: the `replica` of the summary that the asker has already, to be told when that is still the
    model; empty when it has none. invitation: the asker's own, in a closed group; empty otherwise.
    """

    group_id: GroupId
    max_bytes: int
    cursor: RowCursor | None = None
    have: bytes = b""
    invitation: bytes = b""


@dataclass(frozen=True, slots=True)
class SummaryAnswer:
    """Rows of the model without what the asker taught it (see `openfl.aggregation.summary`).

    members: who else has taught it, as the sender has heard. replica: digest of the sender's
    replica; when it is what the asker has, there are no blocks. cursor: None when nothing is left.
    """

    members: int
    blocks: tuple[QuantizedBlock, ...]
    cursor: RowCursor | None
    replica: bytes


_WireCursor = tuple[
    Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.max_name_chars)],
    Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)],
]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    cursor: _WireCursor | None
    max_bytes: Positive
    have: ReplicaDigest | msgspec.UnsetType = msgspec.UNSET
    invitation: InvitationEnvelope = b""


class _Rows(WireRows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of a summary."""


class _Summary(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="summary"
):
    members: Uint
    blocks: Annotated[list[_Rows], msgspec.Meta(max_length=LIMITS.max_tables)]
    cursor: _WireCursor | None
    replica: ReplicaDigest


def encode_summary_request(request: SummaryRequest) -> bytes:
    """A request for `SUMMARY_PROTOCOL`."""
    plain: dict[str, Any] = {
        "group": group_to_bytes(request.group_id),
        "cursor": _cursor_to_wire(request.cursor),
        "max_bytes": request.max_bytes,
    }
    if request.have:
        plain["have"] = request.have
    if request.invitation:
        plain["invitation"] = request.invitation
    return cbor.encode(plain)


def decode_summary_request(payload: bytes) -> SummaryRequest:
    """The request; DecodeError for anything else. `max_bytes` is cut to what a page may hold."""
    wire = convert(cbor.decode(payload, LIMITS.max_request_bytes), _Request)
    return SummaryRequest(
        group_from_bytes(wire.group),
        min(wire.max_bytes, LIMITS.max_page_bytes),
        _cursor_from_wire(wire.cursor),
        b"" if wire.have is msgspec.UNSET else wire.have,
        wire.invitation,
    )


def encode_summary_answer(answer: SummaryAnswer) -> bytes:
    """The answer to a summary request; `encode_answer` is for refusals."""
    return cbor.encode(
        {
            "t": "summary",
            "members": answer.members,
            "blocks": [rows_to_plain(block) for block in answer.blocks],
            "cursor": _cursor_to_wire(answer.cursor),
            "replica": answer.replica,
        }
    )


def decode_summary_answer(payload: bytes) -> SummaryAnswer | Refusal:
    """The answer to a summary request; DecodeError for anything else. Not yet compared with the
    group's charter."""
    plain = cbor.decode(payload, LIMITS.max_answer_bytes, tensors.ARRAY_TAGS)
    answer: Any = convert(plain, _Summary | Refusal)  # type: ignore[arg-type]
    if isinstance(answer, Refusal):
        require_printable(answer.code + answer.text, "a refusal")
        return answer
    rows_left = LIMITS.max_delta_rows
    blocks = []
    for wire in answer.blocks:
        block = _block_from_wire(wire, rows_left)
        rows_left -= len(block)
        blocks.append(block)
    return SummaryAnswer(
        answer.members, tuple(blocks), _cursor_from_wire(answer.cursor), answer.replica
    )


def _block_from_wire(wire: _Rows, max_rows: int) -> QuantizedBlock:
    keys = tensors.decode_keys(wire.keys, max_rows)
    each = _ITEM_BYTES.get(wire.values.tag)
    if each is None:
        raise DecodeError(f"values of type {wire.values.tag} in a summary")
    if not len(keys):
        raise DecodeError("a block without rows")
    return rows_from_wire(wire, keys, len(wire.values.data) // (each * len(keys)))


def _cursor_to_wire(cursor: RowCursor | None) -> list[Any] | None:
    return None if cursor is None else [cursor.table, cursor.key.to_bytes(8, "big")]


def _cursor_from_wire(wire: tuple[str, bytes] | None) -> RowCursor | None:
    return None if wire is None else RowCursor(wire[0], int.from_bytes(wire[1], "big"))
