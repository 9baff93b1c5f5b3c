"""Model files: what is written is read back, and damage is noticed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from openfl.core.contribution import plain_key
from openfl.core.errors import StateError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning import model_file
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Song
from openfl.learning.model_file import (
    decode_model,
    decode_named_model,
    encode_model,
    load_model,
    save_model,
)
from openfl.learning.rating.charter import ITEMS, MEAN, MEAN_KEYS, rating_charter
from openfl_cli import exit_codes, main

GROUP = rating_charter("Müsik", (0, 10), factors=2, seed=7)


def model() -> DenseModel:
    rows = np.array([[0.5, -1, 2], [0, 0.25, -0.125]], np.float32)
    keys = np.array([3, 2**40 - 1], np.uint64)
    return DenseModel(
        GROUP,
        {
            ITEMS: DenseTable(keys, rows, np.array([4.0, 9.0])),
            MEAN: DenseTable(MEAN_KEYS.copy(), np.ones((1, 1), np.float32), np.array([13.0])),
        },
    )


def assert_same(found: DenseModel, expected: DenseModel) -> None:
    assert found.charter == expected.charter
    assert found.charter.group_id == expected.charter.group_id
    for schema in expected.charter.tables:
        keys = expected.keys(schema.name)
        assert np.array_equal(found.keys(schema.name), keys)
        assert np.array_equal(found.rows(schema.name, keys), expected.rows(schema.name, keys))
        assert np.array_equal(
            found.evidence(schema.name, keys), expected.evidence(schema.name, keys)
        )


def test_a_model_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    written: list[Path] = []

    def write(target: Path, data: bytes) -> None:
        written.append(target)
        target.write_bytes(data)

    save_model(path, GROUP, model(), write)
    assert written == [path]
    assert_same(load_model(path), model())


def test_an_empty_model_is_read_back_too() -> None:
    assert_same(decode_model(encode_model(GROUP, DenseModel.empty(GROUP))), DenseModel.empty(GROUP))


def test_any_framework_can_read_the_rows() -> None:
    tensors = load(encode_model(GROUP, model()))
    assert tensors["items.rows"].tolist() == model().rows(ITEMS, model().keys(ITEMS)).tolist()


DATA = encode_model(GROUP, model())


@given(position=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_a_damaged_byte_is_noticed(position: int, flip: int) -> None:
    damaged = bytearray(DATA)
    damaged[position] ^= flip
    try:
        found = decode_model(bytes(damaged))
    except StateError:
        return
    assert_same(found, model())  # such as a space in the header's padding


@given(length=st.integers(0, len(DATA) - 1))
def test_a_file_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(StateError):
        decode_model(DATA[:length])


@given(st.binary(max_size=200))
def test_what_is_no_model_file_is_refused(data: bytes) -> None:
    with pytest.raises(StateError):
        decode_model(data)


def rewritten(tensors: dict[str, np.ndarray], **metadata: str) -> bytes:
    """A file whose digest is right for what it holds, however wrong that is."""
    from openfl.learning.model_file import FORMAT, _digest

    text = metadata.pop("charter", json.dumps(GROUP.to_plain()))
    values = {"format": FORMAT, "charter": text, "group_id": GROUP.group_id}
    values["digest"] = _digest(text, tensors)
    return save(tensors, {**values, **metadata})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"items.rows": np.zeros((2, 2), np.float32)}, "do not match"),
        ({"items.rows": np.zeros((2, 3), np.float64)}, "another type"),
        ({"items.rows": np.full((2, 3), np.nan, np.float32)}, "impossible"),
        ({"items.evidence": np.array([1.0, 0.0])}, "impossible"),
        ({"items.keys": np.array([5, 5], np.uint64)}, "ascending"),
        ({"extra": np.zeros(1, np.float32)}, "tables are not"),
        ({"items.rows": np.full((2, 3), 101, np.float32)}, "impossible"),
        ({"items.evidence": np.array([1.0, np.inf])}, "impossible"),
        ({"items.keys": np.array([5, 2**40], np.uint64)}, "impossible"),
    ],
)
def test_well_formed_nonsense_is_refused(change: dict[str, np.ndarray], message: str) -> None:
    tensors = load(DATA)
    assert_same(decode_model(rewritten(tensors)), model())
    with pytest.raises(StateError, match=message):
        decode_model(rewritten({**tensors, **change}))


SONGS = (Song("s1", "Eins", "Ännchen"), Song("s2", "s2"), Song("other", "Not in the model"))


def named() -> bytes:
    keys = np.sort(item_keys(("s1", "s2", "nameless"), 40))
    table = DenseTable(keys, np.ones((3, 3), np.float32), np.ones(3))
    return encode_model(GROUP, DenseModel(GROUP, {ITEMS: table}), {ITEMS: SONGS})


def test_names_are_read_back_for_the_rows_there_are() -> None:
    found = decode_named_model(named())
    assert dict(found.names[ITEMS].songs) == {"s1": SONGS[0], "s2": SONGS[1]}
    assert_same(found.model, decode_model(named()))


def test_a_model_without_names_has_none() -> None:
    assert decode_named_model(DATA).names == {}


def names_of(rows: object) -> dict[str, np.ndarray]:
    return {"items.names": np.frombuffer(json.dumps(rows).encode(), np.uint8).copy()}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([None, None], "2 names for 3 rows"),
        ([["s1", "x", None]] * 3, "does not belong"),
        ([["", "x", None], None, None], "does not belong"),
        ([["s1"], None, None], "cannot be read"),
        ([[1, "x", None], None, None], "cannot be read"),
        ([["s1", "x" * 1001, None], None, None], "cannot be read"),
        ({"s1": "x"}, "cannot be read"),
    ],
)
def test_names_that_are_not_those_of_the_rows_are_refused(rows: object, message: str) -> None:
    tensors = load(named())
    decode_named_model(rewritten({**tensors, **names_of([None] * 3)}))
    with pytest.raises(StateError, match=message):
        decode_named_model(rewritten({**tensors, **names_of(rows)}))


def test_names_that_are_not_text_are_refused() -> None:
    tensors = {**load(named()), "items.names": np.zeros(3, np.float32)}
    with pytest.raises(StateError, match="not text"):
        decode_named_model(rewritten(tensors))


def test_metadata_that_does_not_fit_is_refused() -> None:
    tensors = load(DATA)
    other = json.dumps(dataclasses.replace(GROUP, name="other").to_plain())
    with pytest.raises(StateError, match="group id"):
        decode_model(rewritten(tensors, charter=other))
    with pytest.raises(StateError, match="charter cannot be read"):
        decode_model(rewritten(tensors, charter="{}"))
    with pytest.raises(StateError, match="format is v2"):
        decode_model(rewritten(tensors, format="v2"))
    with pytest.raises(StateError, match="format is missing"):
        decode_model(save(tensors))


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"absent: no such model file"):
        load_model(tmp_path / "absent")
    with pytest.raises(StateError, match="cannot be read"):
        load_model(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(DATA[:-1])
    with pytest.raises(StateError, match=r"model\.safetensors: not a usable model file"):
        load_model(path)


def test_a_file_of_an_older_version_with_a_decomposed_name_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its row has a key that no id leads to any more, and so no name; all others have theirs."""
    old_id = "cafe\u0301"
    keys = np.array(sorted((plain_key(old_id, 40), plain_key("hit", 40))), np.uint64)
    rows = np.zeros((2, 3), np.float32)
    whole = model()
    old = DenseModel(
        GROUP,
        {
            ITEMS: DenseTable(keys, rows, np.ones(2)),
            MEAN: DenseTable(MEAN_KEYS, whole.rows(MEAN, MEAN_KEYS), np.ones(1)),
        },
    )
    with monkeypatch.context() as before:
        before.setattr(model_file, "item_key", plain_key)
        songs = [Song(old_id, "Caf\u00e9"), Song("hit", "Hit")]
        data = encode_model(GROUP, old, {ITEMS: songs})
    found = decode_named_model(data)
    assert len(found.model.keys(ITEMS)) == 2
    assert list(found.names[ITEMS]) == ["hit"]


# --- a stranger's file ----------------------------------------------------------------------------


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def changed_charter(**changes: object) -> bytes:
    """A file that is right in all but its charter."""
    plain = {**GROUP.to_plain(), **changes}
    tensors = load(DATA)
    try:
        group_id = hashlib.sha256(cbor2.dumps(plain, canonical=True)).hexdigest()[:32]
    except (ValueError, OverflowError):
        group_id = GROUP.group_id
    return rewritten(tensors, charter=json.dumps(plain), group_id=group_id)


def changed_table(**changes: object) -> bytes:
    first, *rest = GROUP.to_plain()["tables"]
    return changed_charter(tables=[{**first, **changes}, *rest])


STRANGE = {
    "no metadata": with_header({"__metadata__": None}),
    "metadata of numbers": with_header({"__metadata__": {"format": 1}}),
    "negative key bits": changed_table(key_bits=-1),
    "many key bits": changed_table(key_bits=10**30),
    "no width": changed_table(width=0),
    "a lone surrogate": changed_charter(name="mus\ud800ic"),
    "a bell": changed_charter(name="mus\x07ic"),
    "a huge seed": changed_charter(seed=10**300),
    "another version": changed_charter(version=99),
    "a long founder": changed_charter(founder="1" * 100_000),
    "a long name": changed_charter(name="x" * 5_000_000),
    "no name": changed_charter(name=""),
    "no tables": changed_charter(tables=[]),
    "an unknown field": changed_charter(extra=1),
    "a prior of NaN": changed_table(prior=[float("nan")] * 3),
    "an endless limit": changed_table(value_limit=float("inf")),
    "an endless hyperparameter": changed_charter(hyperparameters={"x": 1e999}),
    "a list for a charter": rewritten(load(DATA), charter="[]"),
    "a deep charter": rewritten(load(DATA), charter="[" * 100_000),
    "keys without a shape": rewritten({**load(DATA), "items.keys": np.array(5, np.uint64)}),
    "no evidence": rewritten({**load(DATA), "items.evidence": np.zeros(0)}),
    "an endless header": (1 << 62).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("name", STRANGE)
def test_importing_a_strange_file_is_refused_in_one_line_and_replaces_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, source = tmp_path / "model.safetensors", tmp_path / "strange"
    kept.write_bytes(DATA)
    source.write_bytes(STRANGE[name])
    argv = ["import", str(source), "--home", str(tmp_path), "--force"]
    assert main.run(argv) == exit_codes.STATE
    said = capsys.readouterr().err
    assert said.startswith(f"openfl-node: error: {source}: ")
    assert said.count("\n") == 1
    assert len(said) < 1000
    assert kept.read_bytes() == DATA


plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(field=st.sampled_from(sorted(GROUP.to_plain())), value=plain_json)
def test_whatever_stands_in_a_charter_the_file_is_a_model_or_refused(
    field: str, value: object
) -> None:
    with contextlib.suppress(StateError):
        decode_model(changed_charter(**{field: value}))


@given(field=st.sampled_from(sorted(GROUP.to_plain()["tables"][0])), value=plain_json)
def test_whatever_stands_in_a_table_the_file_is_a_model_or_refused(
    field: str, value: object
) -> None:
    with contextlib.suppress(StateError):
        decode_model(changed_table(**{field: value}))
