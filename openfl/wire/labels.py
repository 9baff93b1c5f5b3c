"""Requests for the labels of keys, and their answers, on streams.

A label is signed by nobody: it proves itself by its key (`openfl.items.label_problem`), which is
the business of whoever asked and knows how the group names items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from openfl.core.contribution import GroupId, Keys
from openfl.core.errors import DecodeError
from openfl.items import Label
from openfl.wire import cbor, tensors
from openfl.wire.exchange import Refusal
from openfl.wire.invitations import InvitationEnvelope
from openfl.wire.limits import LIMITS
from openfl.wire.schema import (
    GroupBytes,
    convert,
    group_from_bytes,
    group_to_bytes,
    require_printable,
)


@dataclass(frozen=True, slots=True)
class LabelsRequest:
    """What are the items of these rows called? keys: uint64[n], ascending, n >= 1. invitation: the
    asker's own, in a closed group; empty otherwise."""

    group_id: GroupId
    keys: Keys
    invitation: bytes = b""


@dataclass(frozen=True, slots=True)
class LabelsAnswer:
    """Labels of some of the keys that were asked for, by key, ascending."""

    labels: tuple[tuple[int, Label], ...]


_Text = Annotated[str, msgspec.Meta(max_length=LIMITS.max_label_chars)]
_Key = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    keys: Annotated[bytes, msgspec.Meta(min_length=1, max_length=10 * LIMITS.max_label_keys)]
    invitation: InvitationEnvelope = b""


class _Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="t", tag="labels"):
    labels: Annotated[
        list[tuple[_Key, _Text, _Text]], msgspec.Meta(max_length=LIMITS.max_label_keys)
    ]


def encode_labels_request(request: LabelsRequest) -> bytes:
    """A request for `LABELS_PROTOCOL`; ValueError for no keys, or too many."""
    if not 1 <= len(request.keys) <= LIMITS.max_label_keys:
        raise ValueError(f"a request has 1 to {LIMITS.max_label_keys} keys")
    plain: dict[str, Any] = {
        "group": group_to_bytes(request.group_id),
        "keys": tensors.encode_keys(request.keys),
    }
    if request.invitation:
        plain["invitation"] = request.invitation
    return cbor.encode(plain)


def decode_labels_request(payload: bytes) -> LabelsRequest:
    """The request; DecodeError for anything else."""
    wire = convert(cbor.decode(payload, LIMITS.max_labels_request_bytes), _Request)
    keys = tensors.decode_keys(wire.keys, LIMITS.max_label_keys)
    return LabelsRequest(group_from_bytes(wire.group), keys, wire.invitation)


def encode_labels_answer(answer: LabelsAnswer | Refusal) -> bytes:
    """The answer to a request for labels. Those that do not fit are left out, highest keys first:
    the asker asks again."""
    if isinstance(answer, Refusal):
        return cbor.encode(msgspec.to_builtins(answer, builtin_types=(bytes,)))
    free = LIMITS.max_labels_answer_bytes - 32
    rows: list[list[Any]] = []
    for key, label in answer.labels[: LIMITS.max_label_keys]:
        # A head of 1 for the row, 9 for the key, and 3 for each text.
        free -= 16 + len(label.title.encode()) + len(label.by.encode())
        if free < 0:
            break
        rows.append([key.to_bytes(8, "big"), label.title, label.by])
    return cbor.encode({"t": "labels", "labels": rows})


def decode_labels_answer(payload: bytes) -> LabelsAnswer | Refusal:
    """The answer to a request for labels; DecodeError for anything else. No label is compared with
    its key yet, nor are the keys with those that were asked for."""
    answer: Any = convert(
        cbor.decode(payload, LIMITS.max_labels_answer_bytes),
        _Labels | Refusal,  # type: ignore[arg-type]
    )
    if isinstance(answer, Refusal):
        require_printable(answer.code + answer.text, "a refusal")
        return answer
    labels = tuple(
        (int.from_bytes(key, "big"), Label(title, by)) for key, title, by in answer.labels
    )
    keys = np.array([key for key, _ in labels], dtype=np.uint64)
    if (keys[1:] <= keys[:-1]).any():
        raise DecodeError("labels whose keys do not ascend")
    return LabelsAnswer(labels)
