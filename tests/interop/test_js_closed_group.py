"""Closed groups with js-libp2p: as a guest of ours, as one that nobody invited, as the founder."""

from __future__ import annotations

import base64
import dataclasses
import time
from pathlib import Path

import pytest

from openfl.core.contribution import PeerId
from openfl.core.errors import GroupError
from openfl.network.libp2p.envelope import Libp2pSealer, load_or_create_identity
from openfl.storage.invitations import invite, load_invitation
from openfl.wire import cbor
from tests.interop.interop_rig import ROWS, Live, deal_homes, join, meshed, running, until
from tests.interop.js_rig import JsError, JsPeer, js_peer


def sealer_of(home: Path) -> Libp2pSealer:
    return Libp2pSealer(load_or_create_identity(home / "identity.key"))


def invited_by(live: Live, js: JsPeer, folder: Path) -> bytes:
    """What the founder's owner would send to the owner of js."""
    text, _ = invite(live.charter, sealer_of(live.home), PeerId(js.peer_id), time.time(), days=1)
    (folder / "invitation").write_text(text)
    return load_invitation(folder / "invitation")


async def test_a_js_guest_of_ours_is_a_member_and_a_js_stranger_is_none(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with (
        running(home, group__closed=True) as live,
        js_peer("guest", only=[live.peer_id]) as guest,
        js_peer("stranger", only=[live.peer_id]) as stranger,
    ):
        for js in (guest, stranger):
            await js.call("dial", address=live.address)
        await join(guest, live, invited_by(live, guest, tmp_path))
        await join(stranger, live)

        # Nobody knows the guest before it shows its invitation.
        await stranger.call("publish", rows=ROWS)
        await until(lambda: live.passed_over().get("not-invited", 0) > 0)
        await guest.call("heartbeat")
        said = await guest.call("publish", rows=ROWS)
        await until(lambda: live.has(guest.peer_id, said["epoch"], said["seqno"]))
        await guest.call("snapshot", peer=live.peer_id)
        assert set((await guest.call("replica"))["members"]) == {guest.peer_id, live.peer_id}

        with pytest.raises(JsError, match="refused: not-invited"):
            await stranger.call("snapshot", peer=live.peer_id)
        await until(lambda: guest.heard(author=live.peer_id) != [])
        assert live.members() == {live.peer_id, guest.peer_id}
        # Nor was it relayed, nor held against anybody.
        assert guest.heard(author=stranger.peer_id) == []
        assert "gossip-rejected" not in live.faults()


async def test_an_invitation_that_js_made_itself_is_refused(tmp_path: Path) -> None:
    (home,) = deal_homes(tmp_path, 1)
    async with running(home, group__closed=True) as live, js_peer("forger") as js:
        await js.call("dial", address=live.address)
        await join(js, live)
        forged = await js.call("invite", guest=js.peer_id)
        await js.call("show-invitation", invitation=forged)
        await until(lambda: live.faults().get("gossip-rejected") == 1)
        await js.call("publish", rows=ROWS)
        with pytest.raises(JsError, match="refused: not-invited"):
            await js.call("snapshot", peer=live.peer_id)
        assert live.members() == {live.peer_id}


async def test_our_node_learns_in_a_group_that_js_founded_with_an_invitation_that_js_signed(
    tmp_path: Path,
) -> None:
    homes = deal_homes(tmp_path, 3)
    async with running(homes[0]) as live:
        open_group = live.charter
    async with js_peer("founder", dht="client") as js:
        charter = dataclasses.replace(open_group, founder=PeerId(js.peer_id))
        found = await js.call("found", charter=cbor.encode(charter.to_plain()).hex())
        assert found == charter.group_id
        await js.call("publish", rows=ROWS, quiet=True)

        guest = sealer_of(homes[1]).peer_id
        envelope = bytes.fromhex(await js.call("invite", guest=guest))
        invitation = tmp_path / "invitation"
        invitation.write_text(f"openfl-invitation-1 {base64.b64encode(envelope).decode()}\n")
        async with running(
            homes[1], [js.address], group__invitation_files=(str(invitation),)
        ) as member:
            assert member.charter == charter
            await until(lambda: member.members() == {member.peer_id, js.peer_id})
            await meshed(js, member)
            await until(lambda: js.heard(author=member.peer_id, verdict="accept") != [])
            assert set((await js.call("replica"))["members"]) == {member.peer_id, js.peer_id}
        refused = pytest.RaisesExc(GroupError, match=f"{js.peer_id} has not invited this node")
        with pytest.RaisesGroup(refused, flatten_subgroups=True, allow_unwrapped=True):
            async with running(homes[2], [js.address]):
                pass
