"""Closed groups: who is heard, who is served, what a forged or stale invitation is worth."""

from __future__ import annotations

import dataclasses

import pytest

from openfl.core.contribution import PeerId
from openfl.core.errors import DecodeError, InvalidContribution, InvalidSignature, RemoteError
from openfl.group import events as ev
from openfl.group.admission import Admission
from openfl.network.base import Verdict
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, Member, Rig, RigSealer, contribution, peer, quick

FOUNDER = peer(0)
CLOSED = dataclasses.replace(CHARTER, founder=FOUNDER)


def invitation(
    guest: PeerId,
    expires_at: int = 10_000,
    issuer: PeerId = FOUNDER,
    group: str | None = None,
) -> bytes:
    body = wire.encode_invitation(
        wire.Invitation(group or CLOSED.group_id, guest, 0, expires_at)  # type: ignore[arg-type]
    )
    return RigSealer(issuer).seal(wire.INVITATION_TYPE, body)


def closed_rig(*invited: int, expires_at: int = 10_000) -> tuple[Rig, list[Member]]:
    """The founder (number 0) and members; those of `invited` have an invitation."""
    rig = Rig(quick(), CLOSED)
    members = []
    for number in range(3):
        own = (invitation(peer(number), expires_at),) if number in invited else ()
        members.append(rig.add(invitations=own))
        rig.join(members[-1])
    rig.pass_time(5)
    return rig, members


def teach(rig: Rig, member: Member, value: float = 1.0) -> None:
    for _ in range(100):
        if member.wants_training:
            rig.train(member, contribution((1, 2), value))
            return
        if member.wants_evaluation:
            member.wants_evaluation.pop()
            rig.give(member, ev.EvaluationFinished(None))
        rig.pass_time(0.2)
    raise AssertionError("never asked to train")


def teachers(member: Member) -> set[PeerId]:
    return {state.peer_id for state in member.session.replica.members()}


def test_an_open_group_has_the_id_it_always_had_and_a_closed_one_another() -> None:
    assert "founder" not in CHARTER.to_plain()
    assert CLOSED.group_id != CHARTER.group_id
    other = dataclasses.replace(CHARTER, founder=peer(1))
    assert other.group_id != CLOSED.group_id
    assert wire.charter_from_plain(CLOSED.to_plain()) == CLOSED


@pytest.mark.parametrize("founder", ["", "somebody", None, 7, str(FOUNDER) + "1"])
def test_a_founder_that_is_no_peer_id_makes_no_charter(founder: object) -> None:
    with pytest.raises(DecodeError):
        wire.charter_from_plain({**CHARTER.to_plain(), "founder": founder})


def test_invited_members_learn_from_each_other_and_from_the_founder() -> None:
    rig, (founder, ann, bob) = closed_rig(1, 2)
    for member in (founder, ann, bob):
        teach(rig, member)
    rig.pass_time(20)
    everybody = {FOUNDER, ann.peer_id, bob.peer_id}
    assert [teachers(m) for m in (founder, ann, bob)] == [everybody] * 3


def test_one_that_is_not_invited_is_ignored_and_not_served() -> None:
    rig, (founder, ann, stranger) = closed_rig(1)
    for member in (founder, ann, stranger):
        teach(rig, member)
    rig.pass_time(20)
    for member in (founder, ann):
        assert teachers(member) == {FOUNDER, ann.peer_id}
        assert member.session.faults["not-invited"] > 0
        assert stranger.peer_id not in {view.peer_id for view in member.session.members(rig.now)}
    # It listens on the topic, but nobody gives it a snapshot.
    assert stranger.session.snapshot_from is None
    assert stranger.session.faults["was-refused-not-invited"] > 0
    # Nobody is to blame for what a stranger sends.
    assert founder.penalized == ann.penalized == []


def test_what_an_invited_member_signed_is_good_from_a_third() -> None:
    """Bob never hears Ann herself: her deltas and her invitation come with the founder's pages."""
    rig, (founder, ann, bob) = closed_rig(1, 2)
    rig.lost = lambda sender, receiver, message: sender is ann and receiver is bob
    rig.unanswered.add(ann.peer_id)
    teach(rig, ann)
    teach(rig, founder)
    rig.pass_time(30)
    assert ann.peer_id in teachers(bob)


def test_what_a_stranger_signed_is_not_taken_from_a_member_either() -> None:
    rig, (_, ann, stranger) = closed_rig(1)
    teach(rig, stranger)
    page = stranger.session.replica.page({}, rig.now, 1 << 20)
    assert page.items
    before = ann.session.faults.get("not-invited", 0)
    ann.session._delta_receiver.page(wire.ItemsAnswer.of_page(page, bytes(16)), rig.now)
    assert teachers(ann) == set()
    assert ann.session.faults["not-invited"] == before + len(page.items)


def test_an_expired_invitation_is_worth_nothing_from_then_on() -> None:
    rig, (founder, ann, _) = closed_rig(1, expires_at=1030)
    teach(rig, ann)
    assert ann.peer_id in teachers(founder)
    rig.pass_time(40)
    assert "not-invited" in ann.kinds()
    epoch = founder.session.replica.version_of(ann.peer_id)
    teach(rig, ann, 2.0)
    assert founder.session.replica.version_of(ann.peer_id) == epoch
    request = wire.encode_snapshot_request(
        wire.SnapshotRequest(CLOSED.group_id, {}, 1 << 16, None, ann.session.admission.own)
    )
    effects = founder.session.handle(
        ev.RequestReceived(ann.peer_id, wire.SNAPSHOT_PROTOCOL, request), rig.now
    )
    refusals = [wire.decode_items_answer(e.payload) for e in effects if isinstance(e, ev.Respond)]
    assert [r.code for r in refusals if isinstance(r, wire.Refusal)] == ["not-invited"]


@pytest.mark.parametrize(
    ("forged", "error"),
    [
        (invitation(peer(2), issuer=peer(2)), InvalidSignature),
        (invitation(peer(2), group="00" * 16), InvalidContribution),
        (invitation(peer(1)), InvalidContribution),
        (RigSealer(FOUNDER).seal(wire.CARD_TYPE, b"x"), InvalidSignature),
        (RigSealer(FOUNDER).seal(wire.INVITATION_TYPE, b"x"), DecodeError),
        (b"\0" * 600, InvalidSignature),
    ],
)
def test_a_forged_invitation_is_refused(forged: bytes, error: type[RemoteError]) -> None:
    admission = Admission(CLOSED, RigSealer(FOUNDER), lambda: 0.0)
    with pytest.raises(error):
        admission.learn(forged, peer(2))
    assert not admission.admits(peer(2))
    admission.learn(invitation(peer(2)), peer(2))
    assert admission.admits(peer(2))


def test_a_heartbeat_with_a_forged_invitation_is_held_against_its_author() -> None:
    rig, (founder, _, stranger) = closed_rig()
    beat = wire.Heartbeat(0, 0, 0, 0, None, 0, (), bytes(16))
    assert rig.gossip(stranger, wire.encode_gossip(beat), founder).verdict is Verdict.IGNORE
    forged = dataclasses.replace(beat, invitation=invitation(peer(1), issuer=peer(1)))
    assert rig.gossip(stranger, wire.encode_gossip(forged), founder).verdict is Verdict.REJECT


def test_of_two_invitations_the_one_that_lasts_longer_counts() -> None:
    admission = Admission(CLOSED, RigSealer(peer(1)), lambda: 500.0)
    admission.learn(invitation(peer(1), 1000))
    admission.learn(invitation(peer(1), 400))
    assert admission.admits(peer(1))
    assert admission.own == invitation(peer(1), 1000)


def test_the_problem_says_what_to_do() -> None:
    uninvited = Admission(CLOSED, RigSealer(peer(1)), lambda: 0.0).problem()
    assert uninvited is not None
    assert f"openfl-node invite {peer(1)}" in uninvited
    late = Admission(CLOSED, RigSealer(peer(1)), lambda: 2e9, [invitation(peer(1), 86_400)])
    assert "expired on 1970-01-02" in str(late.problem())
    assert Admission(CHARTER, RigSealer(peer(1)), lambda: 0.0).problem() is None
