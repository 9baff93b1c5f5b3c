"""What is signed: the bodies of delta, leave and card envelopes.

The author is never a field: it is whoever signed the envelope.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np

from openfl.aggregation.delta import Delta, Leave
from openfl.aggregation.halves import all_finite
from openfl.aggregation.quantize import CODE_LIMITS, QuantizedBlock
from openfl.core.contribution import PROTOCOL_VERSION, Encoding, GroupCard, Keys, PeerId
from openfl.core.errors import DecodeError
from openfl.core.names import name_problem
from openfl.wire import cbor, tensors
from openfl.wire.cbor import Tagged
from openfl.wire.charters import UnclearName, charter_from_plain
from openfl.wire.limits import LIMITS
from openfl.wire.schema import (
    Fit,
    GroupBytes,
    NotNegative,
    Positive,
    Real,
    Uint,
    convert,
    fit_from_wire,
    fit_to_wire,
    group_from_bytes,
    group_to_bytes,
    require_printable,
)

_VALUE_TAGS: dict[Encoding, int] = {
    "int4": tensors.UINT8,  # two codes a byte: RFC 8746 has no type of four bits
    "int8": tensors.SINT8,
    "float16": tensors.FLOAT16,
    "float32": tensors.FLOAT32,
}
_ENCODINGS: dict[int, Encoding] = {tag: name for name, tag in _VALUE_TAGS.items()}
_VALUE_TAG_TUPLE = tuple(_ENCODINGS)


class WireRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rows of one table, as they are decoded first."""

    table: Annotated[str, msgspec.Meta(min_length=1, max_length=LIMITS.max_name_chars)]
    keys: bytes
    values: Tagged
    evidence: Tagged
    scales: Tagged | msgspec.UnsetType = msgspec.UNSET


class _Block(WireRows, frozen=True, forbid_unknown_fields=True, kw_only=True):
    curvature: Tagged


class _DeltaBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    epoch: Positive
    seqno: Positive
    round: Uint
    examples: Uint
    fit: Fit | None
    blocks: Annotated[list[_Block], msgspec.Meta(max_length=LIMITS.max_tables)]


class _LeaveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    epoch: Positive


class _CardBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    charter: dict[str, Any]
    members: Uint
    rows: Uint
    fit_metric: Annotated[str, msgspec.Meta(max_length=LIMITS.max_metric_chars)] | None
    fit_best: Real | None
    fit_median: Real | None
    issued_at: NotNegative


def encode_delta(delta: Delta) -> bytes:
    """The body to be signed as `DELTA_TYPE`. ValueError when it is larger than a delta may be.

    `delta.digest` is not sent. To merge one's own delta, `decode_delta` what this returned: then
    it is bit for bit what others merge.
    """
    body = cbor.encode(
        {
            "group": group_to_bytes(delta.group_id),
            "epoch": delta.epoch,
            "seqno": delta.seqno,
            "round": delta.round,
            "examples": delta.examples,
            "fit": fit_to_wire(delta.fit),
            "blocks": [_block_to_plain(block) for block in delta.blocks],
        }
    )
    if len(body) > LIMITS.max_delta_bytes:
        raise ValueError(f"a delta of {len(body)} bytes; at most {LIMITS.max_delta_bytes} fit")
    return body


def decode_delta(body: bytes) -> Delta:
    """The delta with its digest; DecodeError for anything else. Not yet checked against a charter
    (`openfl.group.validation`)."""
    plain = cbor.decode(body, LIMITS.max_delta_bytes, tensors.ARRAY_TAGS)
    message = convert(plain, _DeltaBody)
    rows_left = LIMITS.max_delta_rows
    blocks = []
    for wire_block in message.blocks:
        block = _block_from_wire(wire_block, rows_left)
        rows_left -= len(block)
        blocks.append(block)
    return Delta(
        group_from_bytes(message.group),
        message.epoch,
        message.seqno,
        message.round,
        message.examples,
        fit_from_wire(message.fit),
        tuple(blocks),
        delta_digest(body),
    )


def delta_digest(body: bytes) -> bytes:
    """32 bytes that name a delta: sha-256 over its body."""
    return hashlib.sha256(body).digest()


def encode_leave(leave: Leave) -> bytes:
    """The body to be signed as `LEAVE_TYPE`."""
    return cbor.encode({"group": group_to_bytes(leave.group_id), "epoch": leave.epoch})


def decode_leave(body: bytes) -> Leave:
    """The leave; DecodeError for anything else."""
    message = convert(cbor.decode(body, 256), _LeaveBody)
    return Leave(group_from_bytes(message.group), message.epoch)


def encode_card(card: GroupCard) -> bytes:
    """The body to be signed as `CARD_TYPE` by `card.issuer`."""
    body = cbor.encode(
        {
            "charter": card.charter.to_plain(),
            "members": card.members,
            "rows": card.rows,
            "fit_metric": card.fit_metric,
            "fit_best": None if card.fit_best is None else float(card.fit_best),
            "fit_median": None if card.fit_median is None else float(card.fit_median),
            "issued_at": float(card.issued_at),
        }
    )
    most = LIMITS.max_card_bytes - 256  # the envelope adds the key, the type and the signature
    if len(body) > most:
        raise ValueError(f"a card of {len(body)} bytes; at most {most} fit")
    return body


def decode_card(body: bytes, issuer: PeerId) -> GroupCard:
    """The card that `issuer` signed. UnknownVersion when its charter is of another protocol,
    UnclearName when its group's name may deceive."""
    message = convert(cbor.decode(body, LIMITS.max_card_bytes), _CardBody)
    name = message.charter.get("name")
    if message.charter.get("version") == PROTOCOL_VERSION and isinstance(name, str):
        problem = name_problem(name)
        if problem is not None:
            raise UnclearName(f"a group's name {problem}")
    if message.issued_at < 0:
        raise DecodeError("a card issued before 1970")
    require_printable(message.fit_metric or "", "a metric's name")
    return GroupCard(
        charter_from_plain(message.charter),
        message.members,
        message.rows,
        message.fit_metric,
        None if message.fit_best is None else float(message.fit_best),
        None if message.fit_median is None else float(message.fit_median),
        issuer,
        float(message.issued_at),
    )


def _block_to_plain(block: QuantizedBlock) -> dict[str, Any]:
    plain = rows_to_plain(block)
    plain["curvature"] = tensors.encode_array(block.curvature, tensors.FLOAT32)
    return plain


def rows_to_plain(block: QuantizedBlock) -> dict[str, Any]:
    """A block without its curvature."""
    plain: dict[str, Any] = {
        "table": block.table,
        "keys": tensors.encode_keys(block.keys),
        "values": (
            tensors.encode_nibbles(block.codes)
            if block.encoding == "int4"
            else tensors.encode_array(block.codes, _VALUE_TAGS[block.encoding])
        ),
        "evidence": tensors.encode_counts(block.evidence),
    }
    if block.scaled:
        plain["scales"] = tensors.encode_array(block.scales, tensors.FLOAT16)
    return plain


def _block_from_wire(wire: _Block, max_rows: int) -> QuantizedBlock:
    keys = tensors.decode_keys(wire.keys, max_rows)
    curvature = tensors.decode_array(wire.curvature, (tensors.FLOAT32,))
    block = rows_from_wire(wire, keys, len(curvature))
    if not np.isfinite(curvature).all():
        raise DecodeError("a curvature that is not finite")
    return replace(block, curvature=curvature)


def rows_from_wire(wire: WireRows, keys: Keys, width: int) -> QuantizedBlock:
    """A block of these decoded keys with a curvature of 0; DecodeError."""
    rows = len(keys)
    if not 1 <= width <= LIMITS.max_width:
        raise DecodeError(f"a block of {width} columns")
    codes = tensors.decode_array(wire.values, _VALUE_TAG_TUPLE)
    encoding = _ENCODINGS[wire.values.tag]
    if encoding == "int4":
        codes = tensors.decode_nibbles(codes, rows * width)
    elif len(codes) != rows * width:
        raise DecodeError(f"{len(codes)} values for {rows} rows of {width} columns")
    if (wire.scales is not msgspec.UNSET) != (encoding in CODE_LIMITS):
        raise DecodeError("scales belong to int4 and int8 values, and only to them")
    scales = np.zeros(0, dtype=np.float16)
    if wire.scales is not msgspec.UNSET:
        scales = tensors.decode_array(wire.scales, (tensors.FLOAT16,))
        if len(scales) != rows:
            raise DecodeError(f"{len(scales)} scales for {rows} rows")
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            raise DecodeError("a scale that is negative or not finite")
        if (codes < -CODE_LIMITS[encoding]).any():
            raise DecodeError(f"a value code below -{CODE_LIMITS[encoding]}")
    elif not (all_finite(codes) if encoding == "float16" else np.isfinite(codes).all()):
        raise DecodeError("a value that is not finite")
    return QuantizedBlock(
        wire.table,
        encoding,
        keys,
        codes.reshape(rows, width),
        scales,
        tensors.decode_counts(wire.evidence, rows),
        np.zeros(width, dtype=np.float32),
    )
