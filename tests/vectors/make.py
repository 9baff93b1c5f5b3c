"""Golden vectors of the protocol: `python -m tests.vectors.make` writes the JSON files beside this.

Each accepted vector has a `name`, the `kind` of message, its bytes as `hex` and its meaning as
`value` (bytes as hex, arrays as lists, integers beyond 2**53 as decimal text, because some readers
of JSON lose their last digits); each refused one says `why` instead. Nothing here is random
or depends on the platform, so a second implementation can rely on them, and a change of the wire
format shows as a change of these files.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from openfl.aggregation.delta import Delta, Leave
from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.replica import Completeness, Cursor, Replica
from openfl.aggregation.summary import RowCursor
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import (
    Charter,
    Evaluation,
    GroupCard,
    GroupId,
    PeerId,
    TableSchema,
    item_key,
)
from openfl.core.model_view import initial_rows
from openfl.discovery.discovery import NETWORK_KEY, group_key
from openfl.items import RULES_VERSION, Label, item_name, label_of, name_key
from openfl.items import item_key as key_of_item
from openfl.wire import cbor, tensors
from openfl.wire import messages as wire

FOLDER = Path(__file__).parent

ANN, BOB = (
    wire.peer_id_from_bytes(bytes.fromhex("002408011220") + bytes([number]) * 32)
    for number in (0xA1, 0xB0)
)
CHARTER = Charter(
    "music",
    "rating",
    (
        TableSchema("items", 3, (8.0, 8.0, 5.0), (0.0625, 0.0625, 0.0), (0.125, 0.125, 0.0)),
        TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), "float32", key_bits=1),
        TableSchema("half", 2, (1.0, 1.0), (0.0, 0.0), (0.0, 0.0), "float16", key_bits=16),
    ),
    {"factors": 2, "damping": 1.5, "scale": "0.5-5", "centred": True},
    seed=7,
)
COARSE_CHARTER = Charter(
    "music in four bits",
    "rating",
    (
        TableSchema(
            "coarse", 3, (8.0, 8.0, 5.0), (0.0625, 0.0625, 0.0), (0.125, 0.125, 0.0), "int4"
        ),
    ),
    {},
)
CLOSED = dataclasses.replace(CHARTER, founder=ANN)
FIT = Evaluation("rmse", 0.9375, 0.0078125, 1000)


def int8_block(
    keys: list[int], codes: list[list[int]], scales: list[float], evidence: list[int]
) -> QuantizedBlock:
    return QuantizedBlock(
        "items",
        "int8",
        np.array(keys, dtype=np.uint64),
        np.array(codes, dtype=np.int8),
        np.array(scales, dtype=np.float16),
        np.array(evidence, dtype=np.uint32),
        np.array([0.5, 0.25, 1.0], dtype=np.float32),
    )


def int4_block(keys: list[int], codes: list[list[int]], scales: list[float]) -> QuantizedBlock:
    return QuantizedBlock(
        "coarse",
        "int4",
        np.array(keys, dtype=np.uint64),
        np.array(codes, dtype=np.int8),
        np.array(scales, dtype=np.float16),
        np.full(len(keys), 3, dtype=np.uint32),
        np.array([0.5, 0.25, 1.0], dtype=np.float32),
    )


def mean_block(
    table: str,
    encoding: Any,
    keys: list[int],
    values: list[list[float]],
    scales: list[float],
    evidence: list[int],
) -> QuantizedBlock:
    return QuantizedBlock(
        table,
        encoding,
        np.array(keys, dtype=np.uint64),
        np.array(values, dtype=encoding),
        np.array(scales, dtype=np.float16),
        np.array(evidence, dtype=np.uint32),
        np.zeros(len(values[0]), dtype=np.float32),
    )


def float_block(
    table: str, encoding: Any, keys: list[int], values: list[list[float]], evidence: list[int]
) -> QuantizedBlock:
    return QuantizedBlock(
        table,
        encoding,
        np.array(keys, dtype=np.uint64),
        np.array(values, dtype=encoding),
        np.zeros(0, dtype=np.float16),
        np.array(evidence, dtype=np.uint32),
        np.ones(len(values[0]), dtype=np.float32),
    )


ITEM_ROWS = int8_block(
    [3, 5, 300, 2**63, 2**64 - 1],
    [[127, -127, 0], [1, 2, 3], [-1, 0, 1], [100, 50, 25], [0, 0, 0]],
    [0.0078125, 0.25, 2.0**-24, 0.0010004043579101562, 0.0],
    [1, 255, 256, 65536, 1_000_000],
)
MEAN_ROW = float_block("mean", "float32", [0], [[3.5299999713897705]], [70_000])
HALF_ROWS = float_block("half", "float16", [0, 65535], [[1.0, -0.5], [99.9375, 2.0**-24]], [7, 7])


def delta(
    seqno: int, blocks: tuple[QuantizedBlock, ...], epoch: int = 1, charter: Charter = CHARTER
) -> Delta:
    return Delta(charter.group_id, epoch, seqno, seqno, 80_000, FIT, blocks)


DELTAS = {
    "a first delta with a table of each encoding": delta(1, (ITEM_ROWS, MEAN_ROW, HALF_ROWS)),
    "a delta without rows or fit": Delta(CHARTER.group_id, 2**63 - 1, 2**63 - 1, 0, 0, None, ()),
    "one row": delta(24, (int8_block([7], [[5, -5, 127]], [0.5], [3]),)),
    "evidence that is the same for all rows": delta(
        256, (int8_block([1, 2, 3], [[1, 1, 1]] * 3, [1.0] * 3, [12] * 3),)
    ),
    "four bits a value, an odd number of them": delta(
        1,
        (int4_block([2, 9, 40], [[7, -7, 0], [1, -1, 2], [-2, 5, -6]], [0.5, 0.25, 1.0]),),
        charter=COARSE_CHARTER,
    ),
    "four bits a value, an even number of them": delta(
        2, (int4_block([2, 9], [[-7, 7, 3], [-4, 0, 6]], [0.125, 2.0]),), charter=COARSE_CHARTER
    ),
}
GOSSIP = {
    "an inline delta": wire.InlineDelta(b"the envelope"),
    "an announced delta": wire.Announce(bytes(range(32)), 300_000, 3, 77),
    "a leave": wire.LeaveNotice(b"the envelope"),
    "a heartbeat": wire.Heartbeat(
        3,
        77,
        76,
        80_000,
        FIT,
        2,
        (wire.HeardVersion(ANN, 3, 77, 0), wire.HeardVersion(BOB, 1, 2**40, 599)),
        bytes(range(16)),
    ),
    "a heartbeat with opinions": wire.Heartbeat(
        3,
        77,
        76,
        80_000,
        FIT,
        2,
        (
            wire.HeardVersion(ANN, 3, 77, 0, -2.125),
            wire.HeardVersion(BOB, 1, 2**40, 599, None),
        ),
        bytes(range(16)),
    ),
    "a heartbeat in a closed group": wire.Heartbeat(
        0, 0, 0, 0, None, 0, (), bytes(16), b"the invitation"
    ),
    "a heartbeat before the first delta": wire.Heartbeat(0, 0, 0, 0, None, 0, (), bytes(16)),
}
GROUP = CHARTER.group_id
SNAPSHOT_REQUESTS = {
    "a first snapshot request": wire.SnapshotRequest(GROUP, {}, 1 << 20),
    "a snapshot request that goes on": wire.SnapshotRequest(
        GROUP, {ANN: Version(3, 77), BOB: Version(1, 0)}, 65536, Cursor(BOB, 1, 9)
    ),
    "a snapshot request in a closed group": wire.SnapshotRequest(
        GROUP, {}, 1 << 20, None, b"the invitation"
    ),
}
PULL_REQUESTS = {"a pull": wire.PullRequest(GROUP, {BOB: Version(1, 4)}, 65536)}
ITEMS_ANSWERS = {
    "a last page": wire.ItemsAnswer(
        (wire.AnswerItem("leave", b"leave", 30), wire.AnswerItem("delta", b"delta", 0)),
        (Completeness(ANN, 3, 0, 77, 0), Completeness(BOB, 1, 4, 9, 599)),
        None,
        bytes(range(16)),
    ),
    "a page in a closed group": wire.ItemsAnswer(
        (wire.AnswerItem("delta", b"delta", 0),), (), None, bytes(16), (b"the invitation",)
    ),
    "a page with more behind it": wire.ItemsAnswer((), (), Cursor(ANN, 0, 0), bytes(16)),
    "a refusal": wire.Refusal("unknown-group", "this node is not a member"),
}
SUMMARY_REQUESTS = {
    "a summary, from the start": wire.SummaryRequest(GROUP, 65_536),
    "a summary, going on": wire.SummaryRequest(GROUP, 1, RowCursor("items", 2**64 - 1)),
    "a summary, of a closed group, for who has one": wire.SummaryRequest(
        CLOSED.group_id, 9, None, bytes(range(16)), b"the asker's"
    ),
}
SUMMARY_ANSWERS = {
    "a summary with a table of each encoding": wire.SummaryAnswer(
        12,
        (
            mean_block("items", "int8", [3, 700], [[1, -127, 0], [5, 6, 7]], [0.5, 2.0], [9, 300]),
            mean_block("mean", "float32", [0], [[-0.25]], [], [70_000]),
            mean_block("half", "float16", [1, 2], [[0.5, 1.5], [-2.0, 0.0]], [], [4, 4]),
        ),
        RowCursor("half", 2),
        bytes(range(16)),
    ),
    "a summary that the asker has": wire.SummaryAnswer(12, (), None, bytes(16)),
    "a summary that is refused": wire.Refusal("not-invited", "this group is closed"),
}
LABELS_REQUESTS = {
    "labels of three keys": wire.LabelsRequest(GROUP, np.array([3, 700, 2**64 - 1], np.uint64)),
    "labels in a closed group": wire.LabelsRequest(
        CLOSED.group_id, np.array([9], np.uint64), b"the asker's"
    ),
}
LABELS_ANSWERS = {
    "two labels": wire.LabelsAnswer(
        (
            (name_key("music", "queen - bohemianrhapsody"), Label("Bohemian Rhapsody", "Queen")),
            (name_key("book", "9780141439518"), Label("9780141439518", "")),
        )
    ),
    "no labels": wire.LabelsAnswer(()),
    "labels that are refused": wire.Refusal("busy", "too many requests"),
}
CARDS_ANSWERS = {
    "two cards": wire.CardsAnswer(((b"card one", 0), (b"card two", 3600))),
    "no cards": wire.CardsAnswer(()),
}
CARDS = {
    "a card": GroupCard(CHARTER, 12, 3400, "rmse", 0.875, 0.9375, ANN, 1_750_000_000.5),
    "a card of a closed group": GroupCard(CLOSED, 2, 3, None, None, None, ANN, 1.0),
    "a card of a group with a parent and no fit": GroupCard(
        dataclasses.replace(CHARTER, parent=GroupId("00112233445566778899aabbccddeeff")),
        1,
        0,
        None,
        None,
        None,
        ANN,
        0.0,
    ),
}

INVITATIONS = {"an invitation": wire.Invitation(CLOSED.group_id, BOB, 1_750_000_000, 1_757_776_000)}

Decoder = Callable[[bytes], Any]
DECODERS: dict[str, Decoder] = {
    "keys": lambda data: tensors.decode_keys(data, 1000),
    "delta": wire.decode_delta,
    "leave": wire.decode_leave,
    "invitation": wire.decode_invitation,
    "card": lambda body: wire.decode_card(body, ANN),
    "gossip": wire.decode_gossip,
    "directory": wire.decode_directory,
    "snapshot-request": wire.decode_snapshot_request,
    "pull-request": wire.decode_pull_request,
    "groups-request": wire.decode_groups_request,
    "items-answer": wire.decode_items_answer,
    "summary-request": wire.decode_summary_request,
    "summary-answer": wire.decode_summary_answer,
    "cards-answer": wire.decode_cards_answer,
    "labels-request": wire.decode_labels_request,
    "labels-answer": wire.decode_labels_answer,
}


def encode_summary(answer: wire.SummaryAnswer | wire.Refusal) -> bytes:
    if isinstance(answer, wire.Refusal):
        return wire.encode_answer(answer)
    return wire.encode_summary_answer(answer)


ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "keys": tensors.encode_keys,
    "delta": wire.encode_delta,
    "leave": wire.encode_leave,
    "invitation": wire.encode_invitation,
    "card": wire.encode_card,
    "gossip": wire.encode_gossip,
    "directory": wire.encode_directory,
    "snapshot-request": wire.encode_snapshot_request,
    "pull-request": wire.encode_pull_request,
    "groups-request": lambda _: wire.encode_groups_request(),
    "items-answer": wire.encode_answer,
    "summary-request": wire.encode_summary_request,
    "summary-answer": encode_summary,
    "cards-answer": wire.encode_answer,
    "labels-request": wire.encode_labels_request,
    "labels-answer": wire.encode_labels_answer,
}


def readable(value: Any) -> Any:
    """A decoded message as JSON values."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Charter):
        return {"group_id": value.group_id, **value.to_plain()}
    if isinstance(value, np.ndarray):
        return readable(value.tolist())
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    if isinstance(value, msgspec.Struct):
        fields = {name: readable(getattr(value, name)) for name in value.__struct_fields__}
        return {"t": value.__struct_config__.tag, **fields}
    if dataclasses.is_dataclass(value):
        return {f.name: readable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: readable(item) for key, item in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [readable(item) for item in value]
    return value


def float32_be(value: np.float32) -> str:
    """Its bits. (A scalar of numpy has no byte order: `astype(">f4")` of it changes nothing.)"""
    return struct.pack(">f", value).hex()


KEYS = {
    "no keys": [],
    "the first keys": [0, 1, 2],
    "the last keys": [2**64 - 2, 2**64 - 1],
    "keys at the edges of each length": [n for b in range(7, 64, 7) for n in (2**b - 1, 2**b)],
}


def accepted() -> list[dict[str, Any]]:
    groups: list[tuple[str, dict[str, Any]]] = [
        ("delta", DELTAS),
        ("leave", {"a leave's body": Leave(GROUP, 3)}),
        ("invitation", INVITATIONS),
        ("card", CARDS),
        ("gossip", GOSSIP),
        ("directory", {"a card's envelope": b"the envelope"}),
        ("snapshot-request", SNAPSHOT_REQUESTS),
        ("pull-request", PULL_REQUESTS),
        ("groups-request", {"the groups request": None}),
        ("items-answer", ITEMS_ANSWERS),
        ("summary-request", SUMMARY_REQUESTS),
        ("summary-answer", SUMMARY_ANSWERS),
        ("cards-answer", CARDS_ANSWERS),
        ("labels-request", LABELS_REQUESTS),
        ("labels-answer", LABELS_ANSWERS),
    ]
    vectors = []
    for name, keys in KEYS.items():
        encoded = tensors.encode_keys(np.array(keys, dtype=np.uint64))
        vectors.append(
            {"name": name, "kind": "keys", "hex": encoded.hex(), "value": readable(keys)}
        )
    for kind, messages in groups:
        for name, message in messages.items():
            encoded = ENCODERS[kind](message)
            value = readable(DECODERS[kind](encoded))
            vectors.append({"name": name, "kind": kind, "hex": encoded.hex(), "value": value})
    return vectors


def refused() -> list[dict[str, Any]]:
    """Each is one step from a message that is accepted."""
    vectors: list[dict[str, Any]] = []

    def add(kind: str, name: str, why: str, data: bytes) -> None:
        vectors.append({"name": name, "kind": kind, "hex": data.hex(), "why": why})

    def plain_delta() -> dict[str, Any]:
        body = wire.encode_delta(DELTAS["a first delta with a table of each encoding"])
        decoded: dict[str, Any] = cbor.decode(body, len(body), tensors.ARRAY_TAGS)
        return decoded

    def changed_delta(name: str, why: str, change: Callable[[dict[str, Any]], None]) -> None:
        plain = plain_delta()
        change(plain)
        add("delta", name, why, cbor.encode(plain))

    def in_block(number: int, **fields: Any) -> Callable[[dict[str, Any]], None]:
        return lambda plain: plain["blocks"][number].update(fields)

    good = wire.encode_delta(DELTAS["one row"])
    add("delta", "a delta and one more byte", "trailing", good + b"\x00")
    add("delta", "a delta without its last byte", "cut short", good[:-1])
    add("delta", "nothing", "cut short", b"")
    tags = tensors
    changed_delta("epoch 0", "epoch", lambda p: p.update(epoch=0))
    changed_delta("seqno 0", "seqno", lambda p: p.update(seqno=0))
    changed_delta("a negative round", "round", lambda p: p.update(round=-1))
    changed_delta("a group id of 15 bytes", "group", lambda p: p.update(group=bytes(15)))
    changed_delta("a group id as text", "type", lambda p: p.update(group="A" * 22 + "=="))
    changed_delta("keys as text", "type", in_block(0, keys="AAAAAAA="))
    changed_delta("a fit that is an integer in a delta", "type", lambda p: p["fit"].update(value=1))
    changed_delta("an unknown field", "unknown field", lambda p: p.update(author=b"me"))
    changed_delta("no examples", "missing field", lambda p: p.pop("examples") and None)
    changed_delta("a seqno that is a float", "type", lambda p: p.update(seqno=1.0))
    changed_delta("a fit that is an integer", "float", lambda p: p["fit"].update(value=1))
    changed_delta(
        "a standard error that is an integer", "float", lambda p: p["fit"].update(error=0)
    )
    changed_delta("a standard error below 0", "error", lambda p: p["fit"].update(error=-0.5))
    changed_delta("a round that is true", "type", lambda p: p.update(round=True))
    changed_delta(
        "a block without curvature",
        "missing field",
        lambda p: p["blocks"][0].pop("curvature") and None,
    )
    changed_delta("values as plain bytes", "type", in_block(0, values=bytes(15)))
    changed_delta(
        "values of an unknown array type",
        "tag",
        in_block(0, values=cbor.Tagged(tags.UINT16, bytes(30))),
    )
    changed_delta(
        "one value too few", "shape", in_block(0, values=cbor.Tagged(tags.SINT8, bytes(14)))
    )
    changed_delta(
        "a float32 array that ends inside an element",
        "shape",
        in_block(0, curvature=cbor.Tagged(tags.FLOAT32, bytes(13))),
    )
    changed_delta("no columns", "shape", in_block(0, curvature=cbor.Tagged(tags.FLOAT32, b"")))
    changed_delta(
        "a code of -128",
        "range",
        in_block(0, values=cbor.Tagged(tags.SINT8, bytes([0x80]) + bytes(14))),
    )
    for label, half in (("infinite", 0x7C00), ("NaN", 0x7E00), ("negative", 0xBC00)):
        scales = np.array([half] * 5, dtype="<u2").tobytes()
        changed_delta(
            f"a scale that is {label}",
            "range",
            in_block(0, scales=cbor.Tagged(tags.FLOAT16, scales)),
        )

    def changed_nibbles(name: str, why: str, data: str, **fields: Any) -> None:
        body = wire.encode_delta(DELTAS["four bits a value, an odd number of them"])
        plain = cbor.decode(body, len(body), tensors.ARRAY_TAGS)
        values = cbor.Tagged(tags.UINT8, bytes.fromhex(data))
        plain["blocks"][0].update(values=values, **fields)
        add("delta", name, why, cbor.encode(plain))

    changed_nibbles("an unused half byte that is not zero", "half", "97102f5e1a")
    changed_nibbles("a four-bit code of -8", "code", "98102f5e0a")
    changed_nibbles("a byte too many for nine codes of four bits", "four bits", "97102f5e0a00")
    changed_nibbles("a byte too few for nine codes of four bits", "four bits", "97102f5e")
    changed_nibbles("four-bit values without scales", "scales", "97102f5e0a", scales=None)
    changed_delta(
        "int8 values without scales", "scales", lambda p: p["blocks"][0].pop("scales") and None
    )
    changed_delta("float32 values with scales of null", "scales", in_block(1, scales=None))
    changed_delta(
        "float32 values with scales",
        "scales",
        in_block(1, scales=cbor.Tagged(tags.FLOAT16, bytes(2))),
    )
    changed_delta(
        "a float32 value that is not finite",
        "range",
        in_block(1, values=cbor.Tagged(tags.FLOAT32, bytes.fromhex("0000807f"))),
    )
    changed_delta(
        "two counts for five rows",
        "shape",
        in_block(0, evidence=cbor.Tagged(tags.UINT8, bytes([1, 2]))),
    )
    for label, keys in (
        ("keys that end inside a number", "030180"),
        ("a key with a padded zero", "038000"),
        ("a first key that is a padded zero", "8000"),
        ("a key of eleven bytes", "80" * 10 + "01"),
        ("a key beyond 64 bits", "ff" * 9 + "02"),
        ("keys that run beyond 64 bits", "ff" * 9 + "01" + "00"),
    ):
        add("keys", label, "keys", bytes.fromhex(keys))

    heartbeat = wire.encode_gossip(GOSSIP["a heartbeat"])
    announce = wire.encode_gossip(GOSSIP["an announced delta"])
    add("gossip", "an unknown kind of message", "tag", cbor.encode({"t": "gift", "envelope": b"x"}))
    add("gossip", "a message without a kind", "tag", cbor.encode({"envelope": b"x"}))
    add("gossip", "an empty envelope", "size", cbor.encode({"t": "delta", "envelope": b""}))
    text = cbor.encode({"t": "leave", "envelope": "bGVhdmU="})
    add("gossip", "an envelope that is text, of which base64 could be made", "type", text)
    short = cbor.decode(announce, len(announce))
    add("gossip", "a digest of 31 bytes", "size", cbor.encode({**short, "digest": bytes(31)}))
    add(
        "gossip",
        "a peer id of another key type",
        "peer id",
        heartbeat.replace(bytes.fromhex("08011220"), bytes.fromhex("08021220"), 1),
    )
    plain = cbor.decode(heartbeat, len(heartbeat))
    add(
        "gossip",
        "an opinion on one of two versions",
        "each of its versions",
        cbor.encode({**plain, "opinions": b"\x01"}),
    )
    for label, opinions in (("no bytes", b""), ("none", b"\x80\x80")):
        add(
            "gossip",
            f"opinions that are {label}",
            "opinion",
            cbor.encode({**plain, "opinions": opinions}),
        )
    add(
        "snapshot-request",
        "an author named twice",
        "repeated",
        cbor.encode(
            {
                "group": bytes.fromhex(GROUP),
                "known": [[wire.peer_id_to_bytes(ANN), 1, 1], [wire.peer_id_to_bytes(ANN), 1, 2]],
                "cursor": None,
                "max_bytes": 1,
            }
        ),
    )
    add(
        "directory",
        "a card without a kind",
        "missing field",
        cbor.encode({"envelope": b"the envelope"}),
    )
    add(
        "items-answer",
        "a refusal without a text",
        "missing field",
        cbor.encode({"t": "refused", "code": "busy"}),
    )
    add("groups-request", "a groups request with a field", "unknown field", cbor.encode({"a": 1}))

    card = wire.encode_card(CARDS["a card"])
    body = cbor.decode(card, len(card))
    add("card", "a time that is an integer", "type", cbor.encode({**body, "issued_at": 5}))
    add("card", "a time before 1970", "range", cbor.encode({**body, "issued_at": -1.0}))
    add("card", "a fit that is an integer", "type", cbor.encode({**body, "fit_best": 1}))
    for label, old, new in (
        ("a charter of protocol version 2", b"version\x01", b"version\x02"),
        ("a prior that is an integer", b"eprior\x83\xf9\x48\x00", b"eprior\x83\x08"),
        ("a prior that is negative", b"eprior\x83\xf9\x48\x00", b"eprior\x83\xf9\xc8\x00"),
        ("a table name with a capital", b"eitems", b"eItems"),
        ("two tables of one name", b"dhalf", b"dmean"),
        ("an encoding nobody knows", b"dint8", b"dint9"),
        ("keys of 65 bits", b"hkey_bits\x18\x40", b"hkey_bits\x18\x41"),
    ):
        assert old in card, label
        add("card", label, "charter", card.replace(old, new, 1))

    for label, changes in (
        ("a card with a best fit that is an integer", {"fit_best": 1}),
        ("a card issued at an integer", {"issued_at": 1_750_000_000}),
    ):
        plain = cbor.decode(card, len(card))
        add("card", label, "float", cbor.encode({**plain, **changes}))
    before_1970 = cbor.encode({**cbor.decode(card, len(card)), "issued_at": -1.0})
    add("card", "a card issued before 1970", "issued", before_1970)
    hidden = cbor.encode({**cbor.decode(card, len(card)), "fit_metric": "rm\u202ese"})
    add("card", "a metric with a character that cannot be seen", "printed", hidden)
    closed = cbor.decode(wire.encode_card(CARDS["a card of a closed group"]), 1 << 16)
    for label, founder in (("no peer id", "nobody"), ("null", None)):
        charter = {**closed["charter"], "founder": founder}
        add(
            "card",
            f"a founder that is {label}",
            "charter",
            cbor.encode({**closed, "charter": charter}),
        )
    page = wire.encode_answer(ITEMS_ANSWERS["a page in a closed group"])
    plain = cbor.decode(page, len(page))
    add("items-answer", "no invitations, said", "size", cbor.encode({**plain, "invitations": []}))
    invited = wire.encode_invitation(INVITATIONS["an invitation"])
    plain = cbor.decode(invited, len(invited))
    add(
        "invitation",
        "a guest whose key is not Ed25519",
        "peer id",
        invited.replace(bytes.fromhex("08011220"), bytes.fromhex("08021220"), 1),
    )
    add(
        "invitation",
        "an invitation without an end",
        "missing",
        cbor.encode({key: value for key, value in plain.items() if key != "expires_at"}),
    )

    told = wire.encode_summary_answer(SUMMARY_ANSWERS["a summary with a table of each encoding"])
    plain = cbor.decode(told, len(told), tensors.ARRAY_TAGS)

    def changed_summary(name: str, why: str, **fields: Any) -> None:
        first = {**plain["blocks"][0], **fields}
        message = {**plain, "blocks": [{k: v for k, v in first.items() if v is not None}]}
        add("summary-answer", name, why, cbor.encode(message))

    changed_summary("a summary in four bits", "type", values=cbor.Tagged(64, b"\x11" * 3))
    changed_summary(
        "a summary with a curvature", "unknown field", curvature=cbor.Tagged(85, bytes(12))
    )
    changed_summary("a summary of no rows", "shape", keys=b"")
    changed_summary(
        "a summary of rows of no equal width", "shape", values=cbor.Tagged(72, bytes(7))
    )
    changed_summary("a summary with a scale too few", "shape", scales=cbor.Tagged(84, bytes(2)))
    changed_summary("codes of a summary without scales", "scales", scales=None)
    changed_summary("a summary without evidence", "missing", evidence=None)
    add(
        "summary-request",
        "a cursor whose key is too short",
        "schema",
        cbor.encode({"group": bytes(16), "cursor": ["items", b"short"], "max_bytes": 1}),
    )
    add(
        "summary-request",
        "a summary that the asker does not have, said",
        "schema",
        cbor.encode({"group": bytes(16), "cursor": None, "max_bytes": 1, "have": b""}),
    )

    add(
        "labels-request",
        "labels of no keys",
        "schema",
        cbor.encode({"group": bytes(16), "keys": b""}),
    )
    add(
        "labels-request",
        "labels of more keys than one may ask for",
        "rows",
        cbor.encode({"group": bytes(16), "keys": bytes(513)}),
    )
    add(
        "labels-request",
        "labels of a key that is cut",
        "inside a number",
        cbor.encode({"group": bytes(16), "keys": b"\x80"}),
    )
    for label, why, rows in (
        ("a label without an artist", "schema", [[bytes(8), "a title"]]),
        ("a label of a key of 7 bytes", "schema", [[bytes(7), "a title", ""]]),
        ("a label with more text than one may have", "long text", [[bytes(8), "a" * 301, ""]]),
        ("a label whose title is null", "schema", [[bytes(8), None, ""]]),
        ("a label twice", "ascend", [[bytes(8), "a", ""], [bytes(8), "a", ""]]),
        ("labels out of order", "ascend", [[b"\xff" * 8, "a", ""], [bytes(8), "a", ""]]),
    ):
        add("labels-answer", label, why, cbor.encode({"t": "labels", "labels": rows}))

    for label, data in CBOR_REFUSED.items():
        add("cbor", label, "strict CBOR", bytes.fromhex(data))
    return vectors


CBOR_REFUSED = {
    "an integer in two bytes that fits one": "1817",
    "an integer in three bytes that fits two": "1900ff",
    "an integer in five bytes that fits three": "1a0000ffff",
    "an integer in nine bytes that fits five": "1b00000000ffffffff",
    "an integer beyond 64 signed bits": "1b8000000000000000",
    "a negative integer beyond 64 signed bits": "3b8000000000000000",
    "a length that is not in its shortest form": "580161",
    "a byte string of indefinite length": "5f4161ff",
    "an array of indefinite length": "9f01ff",
    "a map of indefinite length": "bf616101ff",
    "a break alone": "ff",
    "a reserved head": "1c",
    "an undefined value": "f7",
    "a simple value": "e0",
    "a float in nine bytes that fits five": "fb3ff8000000000000",
    "a float in five bytes that fits three": "fa3fc00000",
    "a half float that is not a number": "f97e00",
    "a float that is infinite": "f97c00",
    "text that is not UTF-8": "61ff",
    "text with a surrogate": "63eda080",
    "a repeated map key": "a2616101616102",
    "map keys out of order": "a2616201616102",
    "map keys in alphabetical order that is not that of their encoding": "a262616101616202",
    "a map key that is not text": "a10101",
    "a tag nobody asked for": "c24101",
    "a typed array that is text": "d8486161",
    "a typed array within a typed array": "d848d8484101",
    "an array that announces more than there is": "9b7fffffffffffffff",
    "a map that announces more than there is": "bb3fffffffffffffff",
    "text that announces more than there is": "7b7fffffffffffffff",
    "arrays nested too deep": "81" * 9 + "01",
    "two values": "0101",
    "nothing": "",
}


def merged() -> dict[str, Any]:
    """Deltas of two members, and what every replica makes of them in whatever order."""
    said = [
        (ANN, DELTAS["a first delta with a table of each encoding"]),
        (ANN, delta(2, (int8_block([5, 9], [[10, 20, 30], [-7, 7, 70]], [0.125, 0.5], [4, 5]),))),
        (BOB, delta(1, (int8_block([3, 5], [[-127, 64, 1], [9, 9, 9]], [0.015625, 1.0], [2, 3]),))),
        (BOB, delta(1, (int8_block([5], [[8, 0, -8]], [0.25], [6]),), epoch=2)),
    ]
    replica = Replica(CHARTER)
    deltas = []
    for author, sample in said:
        body = wire.encode_delta(sample)
        replica.merge(author, wire.decode_delta(body), body, 0.0)
        deltas.append({"author": author, "hex": body.hex()})
    tables = []
    view = replica.view()
    for schema in CHARTER.tables:
        live = replica._sums[schema.name].live()
        rows = view.rows(schema.name, live.keys)
        tables.append(
            {
                "table": schema.name,
                "keys": readable(live.keys),
                "num": readable(live.num),
                "den": readable(live.den),
                "evidence": readable(live.evidence),
                "rows_float32_be": [[float32_be(v) for v in row] for row in rows],
            }
        )
    return {
        "charter": readable(CHARTER),
        "deltas": deltas,
        "tables": tables,
        "digest": replica.digest().hex(),
    }


def names() -> dict[str, Any]:
    group = CHARTER.group_id
    return {
        "charter_hex": cbor.encode(CHARTER.to_plain()).hex(),
        "group_id": group,
        "topic": wire.deltas_topic(group),
        "directory": wire.DIRECTORY_TOPIC,
        "provider_key_at_1750000000": group_key(group, 1_750_000_000).hex(),
        "network_key": NETWORK_KEY.hex(),
        "peer_ids": {PeerId(peer): wire.peer_id_to_bytes(peer).hex() for peer in (ANN, BOB)},
    }


def seeded() -> list[dict[str, Any]]:
    """Rows that nobody contributed to."""
    keys = [0, 7, 2**63, 2**64 - 1]
    return [
        {
            "table": table.name,
            "keys": readable(keys),
            "rows_float32_be": [
                [float32_be(value) for value in row]
                for row in initial_rows(CHARTER, table.name, np.array(keys, dtype=np.uint64))
            ],
        }
        for table in CHARTER.tables
    ]


NAMES = (
    "17",
    "17.0",
    "caf\u00e9",
    "cafe\u0301",
    "\u1112\u1161\u11ab",
    "\ufb01 \u212b",
    "a\u0323\u0307",
)
"""Plain, and in other normal forms of Unicode than C (the second to last are compatibility and
singleton characters: normal form C keeps the first and replaces the second)."""


def keys() -> list[dict[str, Any]]:
    """Rows that stand for names."""
    return [
        {"name": name, "key_bits": bits, "key": str(item_key(name, bits))}
        for name in NAMES
        for bits in (40, 64)
    ]


ITEMS = (
    ("opaque", "17", "", ""),
    ("music", "Bohemian Rhapsody - Remastered 2011", "Queen", ""),
    ("music", "God Only Knows - Mono / 1997 Remaster", "Beach Boys, The", ""),
    ("music", "One Dance (feat. Wizkid & Kyla) [Explicit]", "Drake ft. Wizkid", ""),
    ("music", "Adele - Hello (Official Music Video)", "AdeleVEVO", ""),
    ("music", "Dancing On My Own (Fred Falke Remix)", "Robyn", ""),
    ("music", "L$D", "A$AP Rocky", ""),
    ("music", "N.Y. State of Mind, Pt. II", "Nas", ""),
    ("music", "Symphony #5 in C minor, Op.67: I. Allegro con brio", "Ludwig van Beethoven", ""),
    ("music", "Variatio 1 a 1 Clav.", "Johann Sebastian Bach", ""),
    ("music", "( )", "!!!", ""),
    ("music", "The The The", "The The", ""),
    ("music", "(Live)", "X", ""),
    ("music", "Hopp\u00ed\u00adpolla\u200b", "Sigur Ro\u0301s", ""),
    ("music", "STRASSE \u1e9e \ufb01", "\u0130stanbul \u0131", ""),
    ("music", "\uff8a\uff9e\uff6f\uff8a", "\uff30\uff45\uff52\uff46\uff55\uff4d\uff45", ""),
    (
        "music",
        "\u1107\u1169\u11b7\u1102\u1161\u11af (Spring Day)",
        "BTS (\ubc29\ud0c4\uc18c\ub144\ub2e8)",
        "",
    ),
    ("music", "\u0412\u0441\u0451 \u0438 \u041c\u043e\u0439", "\u0410\u043b\u043b\u0430\u0301", ""),
    ("music", "\u0393\u03ac\u03c4\u03bf\u03c2", "\u0391\u0313\u03b3\u03ac\u03c0\u03b7", ""),
    (
        "music",
        "\u0646\u064f\u0648\u0631 \u0640\u0627\u0644\u0639\u064a\u0646",
        "\u0623\u0645 \u0643\u0644\u062b\u0648\u0645",
        "",
    ),
    ("music", "\u0926\u093f\u0932", "\u0932\u0924\u093e", ""),
    ("music", "\U0001f600 x \u2122 \u266f", "C\u266f", ""),
    ("film", "Matrix, The (1999)", "", ""),
    ("film", "Mis\u00e9rables, Les", "1995", ""),
    ("film", "2001: A Space Odyssey", "1968", ""),
    ("book", "Emma", "Jane Austen", '="0141439513"'),
    ("book", "Dune (Dune, #1)", "Herbert, Frank", "0141439514"),
)
"""(kind, title, by, ISBN) as files have them. `by`: an artist, the year of a film, an author."""


def items() -> list[dict[str, Any]]:
    """Names of items, in canonical form, as labels, and their keys."""
    vectors = []
    for kind, title, by, isbn in ITEMS:
        opaque = kind == "opaque"
        label = None if opaque else label_of(kind, title, by, isbn)
        vectors.append(
            {
                "kind": kind,
                "title": title,
                "by": by,
                "isbn": isbn,
                "rules": RULES_VERSION,
                "name": title if opaque else item_name(kind, title, by, isbn),
                "label": None if label is None else [label.title, label.by],
                "key": str(key_of_item(kind, title, by, isbn)),
            }
        )
    return vectors


def envelopes() -> list[dict[str, Any]]:
    """Signed envelopes; Ed25519 signatures are deterministic, so these are exact."""
    from libp2p.crypto.ed25519 import create_new_key_pair

    from openfl.network.libp2p.envelope import Libp2pSealer

    vectors = []
    for seed, kind, body in (
        (bytes(range(32)), wire.DELTA_TYPE, wire.encode_delta(DELTAS["one row"])),
        (bytes(range(1, 33)), wire.LEAVE_TYPE, wire.encode_leave(Leave(GROUP, 3))),
        (
            bytes(range(2, 34)),
            wire.INVITATION_TYPE,
            wire.encode_invitation(INVITATIONS["an invitation"]),
        ),
    ):
        sealer = Libp2pSealer(create_new_key_pair(seed).private_key.serialize())
        vectors.append(
            {
                "ed25519_seed": seed.hex(),
                "peer_id": sealer.peer_id,
                "payload_type": kind.decode(),
                "payload": body.hex(),
                "envelope": sealer.seal(kind, body).hex(),
            }
        )
    return vectors


FILES: dict[str, Callable[[], Any]] = {
    "accepted.json": accepted,
    "refused.json": refused,
    "merge.json": merged,
    "names.json": names,
    "seeded.json": seeded,
    "envelopes.json": envelopes,
    "keys.json": keys,
    "items.json": items,
}


def text_of(content: Any) -> str:
    return json.dumps(content, indent=1, sort_keys=False, ensure_ascii=True) + "\n"


def main() -> None:
    for name, make in FILES.items():
        (FOLDER / name).write_text(text_of(make()), encoding="utf-8")


if __name__ == "__main__":
    main()
