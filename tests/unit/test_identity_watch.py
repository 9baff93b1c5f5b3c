"""Two nodes with one identity, and what must not be taken for that."""

from __future__ import annotations

from dataclasses import replace

from openfl.group import events as ev
from openfl.group.identity_watch import KIND, IdentityWatch
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, Member, Rig, contribution, peer, quick

KEYS = (1, 2, 3)


def teach(rig: Rig, member: Member, value: float = 1.0) -> None:
    for _ in range(200):
        while member.wants_evaluation:
            member.wants_evaluation.pop()
            rig.give(member, ev.EvaluationFinished(None))
        if member.wants_training:
            rig.train(member, contribution(KEYS, value))
            return
        rig.pass_time(0.2)
    raise AssertionError("never asked to train")


def group(rig: Rig) -> tuple[Member, Member]:
    """The original (number 0) and a common member (number 1), both teaching."""
    original, common = rig.add(number=0), rig.add(number=1)
    rig.join(original)
    rig.join(common)
    teach(rig, original)
    teach(rig, common)
    return original, common


def apart(rig: Rig, *namesakes: Member) -> None:
    """Namesakes hear nothing of each other: no member passes gossip on to its author."""
    rig.lost = lambda sender, receiver, _: sender in namesakes and receiver in namesakes


def copy_of(rig: Rig, original: Member) -> Member:
    """A node with the same key, started a while later from a copy of the home folder."""
    rig.pass_time(3.0)
    copy = rig.add(number=0)
    apart(rig, original, copy)
    rig.join(copy)
    return copy


def test_both_owners_of_one_identity_are_told_by_what_a_common_member_holds() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    copy = copy_of(rig, original)
    for _ in range(4):
        teach(rig, copy, 2.0)
        teach(rig, original, 1.0)
        teach(rig, common, 1.0)
        rig.pass_time(5.0)
    for node in (original, copy):
        assert node.kinds().count(KIND) == 1  # once, though it goes on
        (told,) = [tell for tell in node.told if tell.kind == KIND]
        assert told.level == "error"
        assert "delete identity.key" in told.message
    assert KIND not in common.kinds()
    assert common.penalized == []


def test_whoever_hears_nothing_more_asks_and_is_told() -> None:
    # As it is over libp2p: peers send gossip to the latest connection of an identity only.
    rig = Rig(quick())
    original, common = group(rig)
    copy = copy_of(rig, original)
    rig.lost = lambda sender, receiver, _: (
        receiver is original or (sender is original and receiver is copy)
    )
    for _ in range(12):
        teach(rig, copy, 2.0)
        teach(rig, original, 1.0)
        teach(rig, common, 1.0)
        rig.pass_time(5.0)
    for node in (original, copy):
        assert node.kinds().count(KIND) == 1
    assert original.kinds().count("deaf") == 1
    assert "deaf" not in copy.kinds()
    rig.lost = lambda *_: False
    rig.pass_time(30.0)
    assert original.kinds().count("heard-again") == 1


def test_a_member_that_is_connected_to_nobody_is_alone_and_not_deaf() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    common.online = False
    rig.connect()
    rig.pass_time(120.0)
    assert "deaf" not in original.kinds()


def test_strangers_that_listen_to_a_closed_group_are_no_silent_members() -> None:
    rig = Rig(quick(), replace(CHARTER, founder=peer(0)))
    founder, stranger = rig.add(), rig.add()
    rig.join(founder)
    rig.join(stranger)
    rig.pass_time(120.0)
    assert founder.session.faults["not-invited"] > 0
    assert "deaf" not in founder.kinds()


def test_two_of_one_identity_do_not_overtake_each_other_without_end() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    copy = copy_of(rig, original)
    epochs = set()
    for _ in range(60):
        teach(rig, copy, 2.0)
        teach(rig, original, 1.0)
        rig.pass_time(2.0)
        epochs.add(common.session.replica.version_of(peer(0)).epoch)
    assert 3 <= len(epochs) <= 8


def test_whoever_is_left_is_heard_again() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    copy = copy_of(rig, original)
    for _ in range(5):
        teach(rig, copy, 2.0)
        teach(rig, original, 1.0)
        rig.pass_time(5.0)
    copy.online = False
    rig.members.remove(copy)
    for _ in range(80):
        teach(rig, original, 1.0)
        rig.pass_time(5.0)
    version = common.session.replica.version_of(peer(0))
    assert version.epoch == original.session.epoch


def test_a_clean_restart_is_no_second_node() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    original.online = False
    rig.pass_time(3.0)
    again = rig.add(number=0)
    rig.members.remove(original)
    rig.join(again)
    for _ in range(5):
        teach(rig, again, 2.0)
        teach(rig, common)
        rig.pass_time(5.0)
    assert KIND not in again.kinds()
    assert common.session.replica.version_of(peer(0)).epoch == again.session.epoch


def test_what_others_still_hold_of_rounds_lost_with_a_backup_is_no_second_node() -> None:
    rig = Rig(quick())
    original, common = group(rig)
    third = rig.add(number=2)
    rig.join(third)
    for _ in range(3):
        teach(rig, original)
    # These rounds reach the third member alone, which is away until much later.
    rig.lost = lambda sender, receiver, _: sender is original and receiver is common
    teach(rig, original, 3.0)
    third.online = False
    original.online = False
    rig.members.remove(original)
    restored = rig.add(number=0)  # knows nothing of them
    rig.lost = lambda *_: False
    rig.join(restored)
    for _ in range(3):
        teach(rig, restored, 2.0)
    third.online = True
    rig.connect()
    rig.pass_time(40.0)
    assert KIND not in restored.kinds()
    assert third.session.replica.version_of(peer(0)).epoch == restored.session.epoch


def test_an_own_past_under_a_clock_that_was_ahead_is_no_second_node() -> None:
    rig = Rig(quick())
    original, _ = group(rig)
    original.online = False
    rig.members.remove(original)
    again = rig.add(epoch=original.session.epoch - 500_000, number=0)
    rig.join(again)
    for _ in range(10):
        teach(rig, again, 2.0)
        rig.pass_time(5.0)
    assert KIND not in again.kinds()
    assert again.session.epoch == original.session.epoch + 1


def test_what_a_stranger_says_of_us_is_no_proof() -> None:
    rig = Rig(quick())
    original, liar = group(rig)
    for number in range(5):
        rig.pass_time(10.0)
        claim = wire.HeardVersion(original.peer_id, original.session.epoch + 1 + number, 9, 0)
        lie = wire.Heartbeat(
            epoch=liar.session.epoch,
            seqno=1,
            round=1,
            examples=10,
            fit=None,
            members=2,
            versions=(claim,),
            replica=bytes(len(original.session.replica.digest())),
            invitation=b"",
        )
        rig.gossip(liar, wire.encode_gossip(lie), original)
    rig.pass_time(30.0)
    assert KIND not in original.kinds()
    assert original.session.epoch == 1_000_000  # nor does it make it publish anew


class _Publisher:
    def __init__(self, epoch: int) -> None:
        self.epoch, self.seqno = epoch, 1

    def meet_own_past(self, epoch: int) -> None:
        self.epoch, self.seqno = epoch + 1, 1


def test_where_clocks_disagree_the_second_time_decides() -> None:
    publisher = _Publisher(1_000_000)
    watch = IdentityWatch(peer(0), publisher)  # type: ignore[arg-type]
    watch.start(0.0)
    ahead = 1_000_000 + 3_600_000  # of a clock that is an hour ahead, or was
    assert watch.is_beyond(ahead, 1)
    assert watch.takes_in(ahead, 1, 10.0)
    assert watch.news() == []
    assert not watch.is_beyond(ahead, 99)
    # More of that past, in the same go.
    assert watch.takes_in(ahead + 50, 1, 11.0)
    assert watch.news() == []
    # What it met first made it go on above: this was signed since.
    assert watch.is_beyond(publisher.epoch + 1, 1)
    assert watch.takes_in(publisher.epoch + 1, 1, 60.0)
    (told,) = watch.news()
    assert isinstance(told, ev.Tell)
    assert told.kind == KIND
