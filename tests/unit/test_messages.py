from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.aggregation.replica import Completeness, Cursor, MergeKind, Replica
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import Charter, PeerId, TableSchema
from openfl.core.errors import DecodeError
from openfl.wire import cbor, tensors
from openfl.wire import messages as wire
from openfl.wire.charters import charter_from_plain, charter_problem
from tests.protocol_samples import CHARTER, ITEMS, block, delta, peer
from tests.vectors import make

FOLDER = Path(make.__file__).parent


def vectors(file: str) -> Any:
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))


def decode_as(kind: str, data: bytes) -> Any:
    if kind == "cbor":
        return cbor.decode(data, 1000, tensors.ARRAY_TAGS)
    return make.DECODERS[kind](data)


@pytest.mark.parametrize("vector", vectors("accepted.json"), ids=lambda v: v["name"])
def test_a_golden_vector_means_what_it_says(vector: dict[str, Any]) -> None:
    message = make.DECODERS[vector["kind"]](bytes.fromhex(vector["hex"]))
    assert json.loads(json.dumps(make.readable(message))) == vector["value"]


@pytest.mark.parametrize("vector", vectors("accepted.json"), ids=lambda v: v["name"])
def test_a_golden_vector_is_encoded_as_it_stands(vector: dict[str, Any]) -> None:
    message = make.DECODERS[vector["kind"]](bytes.fromhex(vector["hex"]))
    assert make.ENCODERS[vector["kind"]](message).hex() == vector["hex"]


@pytest.mark.parametrize("vector", vectors("refused.json"), ids=lambda v: v["name"])
def test_a_golden_vector_to_refuse_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode_as(vector["kind"], bytes.fromhex(vector["hex"]))


@pytest.mark.parametrize("name", make.FILES)
def test_the_golden_vectors_are_those_the_script_writes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == make.text_of(make.FILES[name]())


@pytest.mark.parametrize("backwards", [False, True])
def test_the_merge_vector_comes_out_in_any_order(backwards: bool) -> None:
    vector = vectors("merge.json")
    replica = Replica(make.CHARTER)
    for said in vector["deltas"][:: -1 if backwards else 1]:
        body = bytes.fromhex(said["hex"])
        result = replica.merge(PeerId(said["author"]), wire.decode_delta(body), body, 0.0)
        assert result.kind in (MergeKind.MERGED, MergeKind.STALE)
    assert replica.digest().hex() == vector["digest"]
    for table in vector["tables"]:
        keys = np.array([int(key) for key in table["keys"]], dtype=np.uint64)
        rows = replica.view().rows(table["table"], keys)
        bits = [[make.float32_be(v) for v in row] for row in rows]
        assert bits == table["rows_float32_be"]


def test_the_group_id_is_the_hash_of_the_charter_as_it_is_sent() -> None:
    names = vectors("names.json")
    charter = charter_from_plain(cbor.decode(bytes.fromhex(names["charter_hex"]), 10_000))
    assert charter == make.CHARTER
    assert charter.group_id == names["group_id"]


# --- deltas ---------------------------------------------------------------------------------------


def test_a_delta_means_the_same_rows_after_the_wire() -> None:
    sent = block(keys=[1, 9, 2**64 - 1])
    received = delta(blocks=(sent,)).blocks[0]
    assert received.values().tobytes() == sent.values().tobytes()
    assert received.keys.tolist() == sent.keys.tolist()
    assert received.evidence.tolist() == sent.evidence.tolist()


def test_the_digest_names_the_body() -> None:
    body = wire.encode_delta(delta())
    assert wire.decode_delta(body).digest == wire.delta_digest(body)
    assert wire.delta_digest(body) != wire.delta_digest(wire.encode_delta(delta(2)))


def test_a_delta_larger_than_the_limit_cannot_be_encoded() -> None:
    rows = wire.LIMITS.max_delta_bytes // 8
    large = make.float_block("items", "float32", list(range(rows)), [[1.0, 1.0, 1.0]] * rows, [1])
    large = dataclasses.replace(large, evidence=np.ones(rows, dtype=np.uint32))
    with pytest.raises(ValueError, match="at most"):
        wire.encode_delta(dataclasses.replace(delta(), blocks=(large,)))


def test_more_rows_than_a_delta_may_have_are_refused_before_they_are_built() -> None:
    plain = cbor.decode(wire.encode_delta(delta()), 10_000, tensors.ARRAY_TAGS)
    one = plain["blocks"][0]
    one["keys"] = bytes(wire.LIMITS.max_delta_rows + 1)
    one["values"] = cbor.Tagged(tensors.SINT8, b"")
    with pytest.raises(DecodeError, match="rows where"):
        wire.decode_delta(cbor.encode(plain))


def test_a_body_of_another_kind_is_not_a_delta() -> None:
    leave = wire.encode_leave(wire.Leave(CHARTER.group_id, 1))
    assert wire.decode_leave(leave).epoch == 1
    with pytest.raises(DecodeError):
        wire.decode_delta(leave)


# --- gossip and streams ---------------------------------------------------------------------------


def heartbeat(versions: int) -> wire.Heartbeat:
    heard = tuple(wire.HeardVersion(peer(n), 1, n, 0) for n in range(versions))
    return wire.Heartbeat(1, 1, 1, 1, None, versions, heard, bytes(16))


def test_a_heartbeat_names_a_bounded_number_of_members() -> None:
    most = wire.LIMITS.max_heartbeat_versions
    data = wire.encode_gossip(heartbeat(most))
    assert len(data) < 64 * 1024, "a full heartbeat fits an ordinary message"
    assert wire.decode_gossip(data) == heartbeat(most)
    with pytest.raises(ValueError, match="at most"):
        wire.encode_gossip(heartbeat(most + 1))
    plain = cbor.decode(data, len(data))
    plain["versions"].append([wire.peer_id_to_bytes(peer("one more")), 1, 1, 0])
    with pytest.raises(DecodeError, match="versions"):
        wire.decode_gossip(cbor.encode(plain))


@pytest.mark.parametrize(
    ("told", "heard"),
    [(None, None), (0.0, 0.0), (-2.125, -2.125), (1.3, 1.25), (1e9, 15.875), (-1e9, -15.875)],
)
def test_an_opinion_travels_as_one_byte(told: float | None, heard: float | None) -> None:
    sure = wire.HeardVersion(peer(1), 1, 1, 0, 4.0)
    beat = wire.Heartbeat(
        1, 1, 1, 1, None, 2, (sure, wire.HeardVersion(peer(2), 1, 1, 0, told)), bytes(16)
    )
    decoded = wire.decode_gossip(wire.encode_gossip(beat))
    assert isinstance(decoded, wire.Heartbeat)
    assert [version.opinion for version in decoded.versions] == [4.0, heard]


def test_a_heartbeat_without_opinions_is_encoded_without_them() -> None:
    plain = cbor.decode(wire.encode_gossip(heartbeat(2)), 10_000)
    assert "opinions" not in plain


def test_opinions_must_be_on_every_version() -> None:
    plain = cbor.decode(wire.encode_gossip(heartbeat(2)), 10_000)
    wire.decode_gossip(cbor.encode({**plain, "opinions": bytes(2)}))
    for wrong in (bytes(1), bytes(3)):
        with pytest.raises(DecodeError, match="each of its versions"):
            wire.decode_gossip(cbor.encode({**plain, "opinions": wrong}))


def test_ages_are_rounded_up_on_the_wire() -> None:
    answer = wire.ItemsAnswer(
        (wire.AnswerItem("delta", b"x", 1.2),),  # type: ignore[arg-type]
        (Completeness(peer(1), 1, 0, 1, 0.01),),
        None,
        bytes(16),
    )
    decoded = wire.decode_items_answer(wire.encode_answer(answer))
    assert isinstance(decoded, wire.ItemsAnswer)
    assert decoded.items[0].age_seconds == 2
    assert decoded.complete[0].age_seconds == 1


def test_a_snapshot_request_larger_than_allowed_leaves_versions_out() -> None:
    most = wire.LIMITS.max_known_versions
    known = {peer(n): Version(1, n) for n in range(most + 3)}
    data = wire.encode_snapshot_request(wire.SnapshotRequest(CHARTER.group_id, known, 1000))
    assert len(data) <= wire.LIMITS.max_request_bytes
    decoded = wire.decode_snapshot_request(data)
    assert len(decoded.known) == most
    assert all(known[author] == version for author, version in decoded.known.items())


def test_a_pull_names_a_bounded_number_of_authors() -> None:
    most = wire.LIMITS.max_wants
    wants = {peer(n): Version(1, n) for n in range(most + 1)}
    request = wire.PullRequest(CHARTER.group_id, wants, 1000)
    with pytest.raises(ValueError, match="at most"):
        wire.encode_pull_request(request)
    as_snapshot = wire.SnapshotRequest(CHARTER.group_id, wants, 1000)
    with pytest.raises(DecodeError, match="at most"):
        wire.decode_pull_request(wire.encode_snapshot_request(as_snapshot))


def test_a_request_cannot_ask_for_more_than_a_page() -> None:
    request = wire.SnapshotRequest(CHARTER.group_id, {}, 1 << 40, Cursor(peer(1), 1, 2))
    decoded = wire.decode_snapshot_request(wire.encode_snapshot_request(request))
    assert decoded.max_bytes == wire.LIMITS.max_page_bytes
    assert decoded.cursor == request.cursor


def test_a_full_page_fits_an_answer() -> None:
    replica = Replica(CHARTER)
    for number in range(400):
        sample = delta(1, blocks=(block(keys=range(150), seed=number % 3),))
        replica.merge(peer(number), sample, wire.encode_delta(sample) + bytes(2400), 0.0)
    page = replica.page({}, 0.0, wire.LIMITS.max_page_bytes)
    assert page.cursor is not None
    data = wire.encode_answer(wire.ItemsAnswer.of_page(page, replica.digest()))
    assert wire.LIMITS.max_page_bytes * 0.9 < len(data) < wire.LIMITS.max_answer_bytes
    decoded = wire.decode_items_answer(data)
    assert isinstance(decoded, wire.ItemsAnswer)
    assert len(decoded.items) == len(page.items)


def test_a_refusal_with_control_characters_is_refused() -> None:
    good = wire.encode_answer(wire.Refusal("busy", "later"))
    assert wire.decode_items_answer(good) == wire.Refusal("busy", "later")
    with pytest.raises(DecodeError, match="printed"):
        wire.decode_items_answer(good.replace(b"later", b"lat\x1br"))


# --- peer ids -------------------------------------------------------------------------------------


def test_a_peer_id_survives_the_wire() -> None:
    assert wire.peer_id_from_bytes(wire.peer_id_to_bytes(peer(3))) == peer(3)
    assert peer(3).startswith("12D3KooW")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nobody",
        "12D3KooW",
        "0OIl" * 13,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "1" * 38,
        "12D3KooWé",
        "z" * 1000,
    ],
)
def test_what_is_no_ed25519_peer_id_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        wire.peer_id_to_bytes(PeerId(text))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(38),
        wire.peer_id_to_bytes(peer(1))[:-1],
        wire.peer_id_to_bytes(peer(1)) + b"\x00",
        bytes.fromhex("1220") + bytes(32),
    ],
)
def test_bytes_that_are_no_ed25519_peer_id_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        wire.peer_id_from_bytes(data)


# --- charters -------------------------------------------------------------------------------------


def table(**changes: Any) -> TableSchema:
    return dataclasses.replace(ITEMS, **changes)


def charter(**changes: Any) -> Charter:
    values: dict[str, Any] = {
        "name": "music",
        "task": "rating",
        "tables": (ITEMS,),
        "hyperparameters": {"factors": 2},
        "seed": 0,
    }
    return Charter(**{**values, **changes})


@pytest.mark.parametrize(
    "good",
    [
        charter(),
        charter(name="Musique française 🎵"),
        charter(tables=tuple(table(name=f"t{n}") for n in range(32))),
        charter(hyperparameters={"a": -(2**62), "b": 1e300, "c": "x" * 256, "d": False}),
        charter(tables=(table(value_limit=2.0**20, prior=(0.0, 1e9, 1.5)),)),
    ],
    ids=lambda c: c.name,
)
def test_a_charter_survives_the_wire_with_its_group_id(good: Charter) -> None:
    assert charter_problem(good) is None
    sent = cbor.encode(good.to_plain())
    received = charter_from_plain(cbor.decode(sent, len(sent)))
    assert received == good
    assert received.group_id == good.group_id


@pytest.mark.parametrize(
    "bad",
    [
        charter(name=""),
        charter(name="x" * 65),
        charter(name="bell\x07"),
        charter(name="rtl \u202e"),
        charter(task="Rating"),
        charter(task=""),
        charter(task="x" * 33),
        charter(seed=-1),
        charter(parent="ABCDEF"),
        charter(tables=()),
        charter(tables=tuple(table(name=f"t{n}") for n in range(33))),
        charter(tables=(ITEMS, ITEMS)),
        charter(tables=(table(width=0, prior=(), prior_per_evidence=(), initial_scale=()),)),
        charter(tables=(table(prior=(1.0, 2.0)),)),
        charter(tables=(table(prior=(1.0, 2.0, -3.0)),)),
        charter(tables=(table(prior=(1.0, 2.0, 1e10)),)),
        charter(tables=(table(initial_scale=(101.0, 0.0, 0.0)),)),
        charter(tables=(table(key_bits=0),)),
        charter(tables=(table(key_bits=65),)),
        charter(tables=(table(value_limit=0.0),)),
        charter(tables=(table(value_limit=-1.0),)),
        charter(tables=(table(value_limit=2.0**21),)),
        charter(tables=(table(name=""),)),
        charter(tables=(table(name="a b"),)),
        charter(hyperparameters={f"h{n}": n for n in range(65)}),
        charter(hyperparameters={"": 1}),
        charter(hyperparameters={"h": "x" * 257}),
        charter(hyperparameters={"h": "\x00"}),
    ],
)
def test_a_charter_out_of_bounds_is_refused(bad: Charter) -> None:
    assert charter_problem(bad) is not None
    sent = cbor.encode(bad.to_plain())
    with pytest.raises(DecodeError):
        charter_from_plain(cbor.decode(sent, len(sent)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_charter_with_numbers_that_are_not_finite_is_a_problem(value: float) -> None:
    assert charter_problem(charter(tables=(table(prior=(1.0, 2.0, value)),))) is not None
    assert charter_problem(charter(tables=(table(value_limit=value),))) is not None
    assert charter_problem(charter(hyperparameters={"h": value})) is not None


def test_a_charter_of_a_later_protocol_is_told_apart_from_a_broken_one() -> None:
    plain = {**charter().to_plain(), "version": 2, "new": 1}
    with pytest.raises(wire.UnknownVersion):
        charter_from_plain(plain)
    with pytest.raises(DecodeError) as broken:
        charter_from_plain({**charter().to_plain(), "new": 1})
    assert not isinstance(broken.value, wire.UnknownVersion)


def test_a_charter_in_another_form_than_is_hashed_is_refused() -> None:
    plain = charter().to_plain()
    plain["tables"][0]["prior"] = [8, 8.0, 5.0]
    with pytest.raises(DecodeError, match="hashed"):
        charter_from_plain(plain)


# --- documentation --------------------------------------------------------------------------------


def test_the_documented_limits_are_those_in_force() -> None:
    text = (FOLDER.parents[1] / "docs" / "protocol.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(max_\w+)` \| (\d+) \|", text, flags=re.MULTILINE))
    in_force = {name: str(value) for name, value in dataclasses.asdict(wire.LIMITS).items()}
    assert documented == in_force
