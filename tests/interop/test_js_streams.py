"""Snapshots both ways: js takes a replica from us, and a node takes one from js alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from openfl.core.contribution import GroupId, PeerId
from openfl.wire import messages as wire
from tests.interop.interop_rig import ROWS, deal_homes, join, running, until
from tests.interop.js_rig import JsError, js_peer


@pytest.mark.parametrize("page_bytes", [262_144, 600])
async def test_js_takes_a_snapshot_page_by_page_and_has_our_replica(
    tmp_path: Path, page_bytes: int
) -> None:
    homes = deal_homes(tmp_path, 2)
    async with (
        running(homes[0], training__rounds=6) as live,
        running(homes[1], [live.address], training__rounds=6) as other,
        js_peer("late") as js,
    ):
        await until(lambda: live.node.snapshot().phase == "done" == other.node.snapshot().phase)
        await until(lambda: live.digest == other.digest and len(live.members()) == 2)
        await js.call("dial", address=live.address)
        await join(js, live)
        taken = await js.call("snapshot", peer=live.peer_id, max_bytes=page_bytes)
        state = await js.call("replica")
        assert state["digest"] == live.digest == taken["theirs"]
        assert set(state["members"]) == {live.peer_id, other.peer_id}
        assert (taken["pages"] > 1) == (page_bytes == 600)


async def test_a_node_joins_by_a_snapshot_from_js_when_nobody_else_is_left(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, 2)
    async with js_peer("keeper") as js:
        async with running(homes[0], training__rounds=5) as gone:
            await js.call("dial", address=gone.address)
            await join(js, gone)
            said = await js.call("publish", rows=ROWS)
            await until(lambda: gone.node.snapshot().phase == "done")
            await until(lambda: gone.has(js.peer_id, said["epoch"], said["seqno"]))
            await js.call("snapshot", peer=gone.peer_id)
            await until(lambda: bool(js.heard("heartbeat", replica=gone.digest)))
            assert (await js.call("replica"))["digest"] == gone.digest
            was = gone.replica.member_rows(gone.peer_id, "items")
        async with running(homes[1], [js.address]) as heir:
            assert heir.group_id == gone.group_id
            assert heir.members() >= {gone.peer_id, js.peer_id}
            rows = heir.replica.member_rows(gone.peer_id, "items")
            assert rows.keys.tolist() == was.keys.tolist()
            assert rows.values.tobytes() == was.values.tobytes()
            joined = [event for event in heir.events if event.kind == "joined"]
            assert "snapshot" in joined[0].message
            assert any(event["items"] > 1 for event in js.told("served"))
            assert not {"request-refused", "penalized-snapshot-malformed"} & set(heir.faults())


async def test_a_request_for_a_group_we_do_not_know_is_refused_in_words(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with running(home) as live, js_peer("asker") as js:
        await js.call("dial", address=live.address)
        asked = wire.encode_snapshot_request(wire.SnapshotRequest(GroupId("0" * 32), {}, 1000))
        answer = await js.call(
            "request", peer=live.peer_id, protocol="/openfl/snapshot/1", payload=asked.hex()
        )
        refusal = wire.decode_items_answer(bytes.fromhex(answer))
        assert isinstance(refusal, wire.Refusal)
        assert refusal.code == "unknown-group"


async def test_a_malformed_request_resets_the_stream_and_the_next_one_is_answered(
    tmp_path: Path,
) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with running(home) as live, js_peer("bungler") as js:
        await js.call("dial", address=live.address)
        await join(js, live)
        for protocol in ("/openfl/snapshot/1", "/openfl/pull/1", "/openfl/groups/1"):
            with pytest.raises(JsError):
                await js.call("request", peer=live.peer_id, protocol=protocol, payload="ff")
        assert live.faults()["request-refused"] == 3
        assert (await js.call("snapshot", peer=live.peer_id))["deltas"] >= 1
        assert live.peer_id in (await js.call("replica"))["members"]
        assert live.replica.version_of(PeerId(js.peer_id)).seqno == 0
