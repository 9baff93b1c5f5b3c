"""Summaries of a group's model: what members tell, and what is made of what strangers tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.aggregation.quantize import quantize
from openfl.aggregation.summary import RowCursor, summary_page, summary_schema
from openfl.core.contribution import MAX_EVIDENCE, Charter, Encoding, RowBlock, TableSchema
from openfl.core.errors import DecodeError, InvalidContribution, RemoteError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.group import events as ev
from openfl.switching.summary import Summary, SummaryReader
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, Member, RigSealer, peer, taught_by

STRANGER = RigSealer(peer(99))
ENCODINGS: tuple[Encoding, ...] = ("int4", "int8", "float16", "float32")


def table(name: str, encoding: Encoding, width: int) -> TableSchema:
    zeros = (0.0,) * width
    return TableSchema(name, width, (1.0,) * width, zeros, zeros, encoding, value_limit=8.0)


TABLES = tuple(table(name, name, width) for width, name in enumerate(ENCODINGS, start=1))
MIXED = Charter("mixed", "rating", TABLES, {})


def model(rng: np.random.Generator, rows: int, charter: Charter = MIXED) -> DenseModel:
    tables = {}
    for schema in charter.tables:
        keys = np.sort(rng.choice(10_000, rows, replace=False).astype(np.uint64))
        values = rng.uniform(-8, 8, (rows, schema.width)).astype(np.float32)
        evidence = rng.integers(1, 2_000_000, rows).astype(np.float64)
        tables[schema.name] = DenseTable(keys, values, evidence)
    return DenseModel(charter, tables)


def reader(charter: Charter = MIXED, known: Summary | None = None, **more: int) -> SummaryReader:
    limits = {"max_bytes": 1 << 20, "page_bytes": 1 << 16, "max_rows": 10_000, **more}
    return SummaryReader(charter, known, **limits)


def page_of(whole: DenseModel, payload: bytes, replica: bytes = bytes(16)) -> bytes:
    asked = wire.decode_summary_request(payload)
    page = summary_page(whole, asked.max_bytes, asked.cursor)
    return wire.encode_summary_answer(wire.SummaryAnswer(3, page.blocks, page.cursor, replica))


def read(whole: DenseModel, by: SummaryReader) -> Summary:
    for _ in range(1000):
        summary = by.answer(page_of(whole, by.request()))
        if summary is not None:
            return summary
    raise AssertionError("it did not end")


# --- what is told ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(0, 40), page_bytes=st.integers(1, 2000))
def test_every_row_comes_once_whatever_the_pages_and_as_exact_as_its_encoding(
    seed: int, rows: int, page_bytes: int
) -> None:
    whole = model(np.random.default_rng(seed), rows)
    told = read(whole, reader(page_bytes=page_bytes))
    assert told.members == 3
    for schema in MIXED.tables:
        keys = whole.keys(schema.name)
        assert told.model.keys(schema.name).tolist() == keys.tolist()
        values, rounded = whole.rows(schema.name, keys), told.model.rows(schema.name, keys)
        most = np.abs(values).max(axis=1, initial=0.0)[:, None]
        allowed = {"float32": 0.0, "float16": 2.0**-11}.get(schema.encoding, 0.51 / 127)
        assert (np.abs(values - rounded) <= allowed * most).all()
        evidence = whole.evidence(schema.name, keys)
        told_of = told.model.evidence(schema.name, keys)
        assert told_of.tolist() == np.minimum(evidence, MAX_EVIDENCE).tolist()


def test_a_page_is_about_as_large_as_was_asked_for() -> None:
    whole = model(np.random.default_rng(1), 200)
    for most in (500, 2000, 5000):
        page = summary_page(whole, most, None)
        answer = wire.encode_summary_answer(
            wire.SummaryAnswer(3, page.blocks, page.cursor, bytes(16))
        )
        assert page.cursor is not None
        assert most / 3 < len(answer) < most + 300


def test_a_row_of_a_summary_costs_what_a_member_s_row_does() -> None:
    charter = replace(MIXED, tables=(TABLES[1],))
    whole = model(np.random.default_rng(2), 300, charter)
    block = RowBlock(
        "int8",
        whole.keys("int8"),
        whole.rows("int8", whole.keys("int8")),
        whole.evidence("int8", whole.keys("int8")).astype(np.float32),
        np.ones(2, dtype=np.float32),
    )
    quantized = quantize(block, charter.tables[0], np.random.default_rng(0))
    body = wire.encode_delta(wire.Delta(charter.group_id, 1, 1, 1, 1, None, (quantized,)))
    page = summary_page(whole, 1 << 20, None)
    answer = wire.encode_summary_answer(wire.SummaryAnswer(3, page.blocks, None, bytes(16)))
    assert len(answer) < 1.05 * len(body)


def test_a_cursor_in_no_table_of_the_charter_is_an_error() -> None:
    with pytest.raises(KeyError):
        summary_page(model(np.random.default_rng(1), 3), 100, RowCursor("other", 1))


# --- members --------------------------------------------------------------------------------------


def group(*numbers: int) -> Member:
    """The first of these members, each of which has published a row of its own."""
    return taught_by(CHARTER, *numbers)[0]


def ask(member: Member, payload: bytes) -> bytes:
    request = ev.RequestReceived(STRANGER.peer_id, wire.SUMMARY_PROTOCOL, payload)
    effects = member.session.handle(request, 2000.0)
    (answer,) = (e.payload for e in effects if isinstance(e, ev.Respond))
    return answer


def test_a_member_tells_its_group_s_model_without_what_the_asker_taught_it() -> None:
    member, by = group(0, 1, 99), reader(CHARTER)
    told = by.answer(ask(member, by.request()))
    assert told is not None
    assert told.members == 2
    assert told.model.keys("weights").tolist() == [1, 2]
    there = member.session.replica.view_without((STRANGER.peer_id,))
    keys = there.keys("weights")
    assert np.allclose(told.model.rows("weights", keys), there.rows("weights", keys), rtol=0.01)


def test_who_has_the_summary_already_is_told_so_in_a_few_bytes() -> None:
    member, first = group(0, 1), reader(CHARTER)
    told = first.answer(ask(member, first.request()))
    again = reader(CHARTER, known=told)
    answer = ask(member, again.request())
    assert len(answer) < 80
    assert again.answer(answer) == told
    changed = again.answer(ask(group(0, 1, 2), again.request()))
    assert changed is not None
    assert changed.model.keys("weights").tolist() == [1, 2, 3]


def test_a_member_of_another_group_refuses() -> None:
    by = reader()
    with pytest.raises(RemoteError, match='who was asked refused: "this node is in group'):
        by.answer(ask(group(0), by.request()))


def test_a_request_that_goes_on_nowhere_is_malformed() -> None:
    request = wire.SummaryRequest(CHARTER.group_id, 100, RowCursor("other", 1))
    with pytest.raises(RemoteError, match="'other'"):
        ask(group(0), wire.encode_summary_request(request))


# --- strangers ------------------------------------------------------------------------------------


def answer_with(whole: DenseModel, **changes: object) -> bytes:
    page = summary_page(whole, 1 << 16, None)
    answer = wire.SummaryAnswer(3, page.blocks, None, bytes(16))
    return wire.encode_summary_answer(replace(answer, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda b: replace(b, table="other"), "no table 'other'"),
        (lambda b: replace(b, keys=b.keys + np.uint64(1 << 20)), "beyond 16 bits"),
        (lambda b: replace(b, scales=b.scales * np.float16(2)), "not within"),
        (lambda b: replace(b, evidence=b.evidence * np.uint32(0)), "evidence"),
        (lambda b: replace(b, codes=b.codes[:, :1]), "not 2 wide"),
        (
            lambda b: replace(
                b, encoding="float32", codes=b.codes.astype("f4"), scales=b.scales[:0]
            ),
            "values are float32",
        ),
    ],
)
def test_a_summary_that_breaks_the_charter_is_refused(change, complaint: str) -> None:  # type: ignore[no-untyped-def]
    charter = replace(MIXED, tables=(replace(TABLES[1], key_bits=16),))
    whole = model(np.random.default_rng(3), 5, charter)
    full = np.full((5, 2), 127, dtype=np.int8)
    (block,) = summary_page(whole, 1 << 16, None).blocks
    block = replace(block, codes=full, scales=np.full(5, 7.9 / 127, dtype=np.float16))
    assert reader(charter).answer(answer_with(whole, blocks=(block,))) is not None
    with pytest.raises((DecodeError, InvalidContribution), match=complaint):
        reader(charter).answer(answer_with(whole, blocks=(change(block),)))


def test_a_summary_that_goes_back_or_nowhere_is_refused() -> None:
    whole = model(np.random.default_rng(4), 20)
    by = reader(page_bytes=300)
    first = page_of(whole, by.request())
    assert by.answer(first) is None
    with pytest.raises(InvalidContribution, match="goes back"):
        by.answer(first)
    by.begin()
    with pytest.raises(InvalidContribution, match="without rows"):
        by.answer(answer_with(whole, blocks=(), cursor=RowCursor("int8", 0)))


def test_no_more_is_fetched_and_held_than_a_look_may() -> None:
    whole = model(np.random.default_rng(5), 50)
    with pytest.raises(RemoteError, match="more than 1,000 bytes"):
        read(whole, reader(page_bytes=300, max_bytes=1000))
    with pytest.raises(RemoteError, match="more than 150 rows"):
        read(whole, reader(max_rows=150))


def test_what_one_says_is_not_mixed_with_what_another_says() -> None:
    ours, theirs = (model(np.random.default_rng(seed), 20) for seed in (6, 7))
    by = reader(page_bytes=300)
    assert by.answer(page_of(ours, by.request())) is None
    by.begin()
    told = read(theirs, by)
    assert told.model.keys("int8").tolist() == theirs.keys("int8").tolist()


def test_a_model_that_changed_between_two_pages_is_not_taken_for_the_same_later() -> None:
    whole = model(np.random.default_rng(8), 20)
    by = reader(page_bytes=1000)
    assert by.answer(page_of(whole, by.request(), b"a" * 16)) is None
    while (told := by.answer(page_of(whole, by.request(), b"b" * 16))) is None:
        pass
    assert told.replica == b""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_four_bits_become_eight_and_the_others_stay(encoding: Encoding) -> None:
    wanted = "int8" if encoding == "int4" else encoding
    assert summary_schema(table("t", encoding, 1)).encoding == wanted
