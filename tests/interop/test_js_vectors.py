"""The golden vectors, read and written by an implementation that knows docs/protocol.md alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from openfl.core.errors import InvalidSignature
from openfl.network.libp2p.envelope import open_envelope
from tests.interop.js_rig import JsError, JsPeer, js_peer
from tests.vectors.make import CHARTER

VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@pytest.fixture
async def js() -> AsyncIterator[JsPeer]:
    async with js_peer("reader") as peer:
        yield peer


async def test_js_reads_every_accepted_vector_as_we_do_and_writes_the_same_bytes(
    js: JsPeer,
) -> None:
    for vector in vectors("accepted.json"):
        issuer = (vector["value"] or {}).get("issuer") if vector["kind"] == "card" else None
        read = await js.call("decode", kind=vector["kind"], data=vector["hex"], issuer=issuer)
        assert read["value"] == vector["value"], vector["name"]
        # 1, 1.0 and true are equal in Python; what js would write is not.
        assert read["again"] == vector["hex"], vector["name"]


async def test_js_refuses_every_refused_vector(js: JsPeer) -> None:
    for vector in vectors("refused.json"):
        # Refused, and not an error of the reader's own.
        with pytest.raises(JsError, match=r"^Refused: "):
            await js.call("decode", kind=vector["kind"], data=vector["hex"])


async def test_js_opens_our_envelopes_and_seals_the_same_bytes(js: JsPeer) -> None:
    for vector in vectors("envelopes.json"):
        kind, envelope = vector["payload_type"], vector["envelope"]
        opened = await js.call("open", type=kind, envelope=envelope)
        assert opened == {"author": vector["peer_id"], "payload": vector["payload"]}
        sealed = await js.call(
            "seal", seed=vector["ed25519_seed"], type=kind, payload=vector["payload"]
        )
        assert sealed == envelope
        with pytest.raises(JsError, match="another payload type"):
            await js.call("open", type="/openfl/card/1", envelope=envelope)
        changed = bytearray.fromhex(envelope)
        # Not at a fixed place: that may be the head of a field, and then the form is wrong.
        changed[bytes(changed).index(bytes.fromhex(vector["payload"]))] ^= 1
        with pytest.raises(JsError, match="signature invalid"):
            await js.call("open", type=kind, envelope=changed.hex())


async def test_js_and_we_refuse_an_envelope_with_any_byte_changed(js: JsPeer) -> None:
    for vector in vectors("envelopes.json"):
        kind, envelope = vector["payload_type"], bytes.fromhex(vector["envelope"])
        for place in range(len(envelope)):
            changed = bytearray(envelope)
            changed[place] ^= 1
            with pytest.raises(JsError, match=r"^Refused: "):
                await js.call("open", type=kind, envelope=changed.hex())
            with pytest.raises(InvalidSignature):
                open_envelope(kind.encode(), bytes(changed))


async def test_js_merges_to_the_same_sums_rows_and_digest_in_any_order(js: JsPeer) -> None:
    merge, charter = vectors("merge.json"), vectors("names.json")["charter_hex"]
    for deltas in (merge["deltas"], merge["deltas"][::-1]):
        merged = await js.call("merge", charter=charter, deltas=deltas)
        assert merged["digest"] == merge["digest"]
        for ours, theirs in zip(merge["tables"], merged["tables"], strict=True):
            assert [row["key"] for row in theirs["rows"]] == ours["keys"]
            for name in ("num", "den", "evidence"):
                assert [row[name] for row in theirs["rows"]] == ours[name]
            assert [row["values_float32_be"] for row in theirs["rows"]] == ours["rows_float32_be"]


async def test_js_derives_the_same_seeded_rows(js: JsPeer) -> None:
    charter = vectors("names.json")["charter_hex"]
    for vector in vectors("seeded.json"):
        rows = await js.call("seeded", charter=charter, table=vector["table"], keys=vector["keys"])
        assert rows == vector["rows_float32_be"]


async def test_js_derives_the_same_group_id(js: JsPeer) -> None:
    assert await js.call("join", charter=vectors("names.json")["charter_hex"]) == CHARTER.group_id
