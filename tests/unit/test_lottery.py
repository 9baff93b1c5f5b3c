"""Members of a large group take turns at publishing; those of a small one notice nothing."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.core.contribution import PeerId
from openfl.group.lottery import EAGER_ROUNDS, Lottery, turns_of
from openfl.wire import messages as wire
from tests.group_rig import Member, Rig, contribution, peer, quick

LATE = 1_000
"""A round in which nobody is new any more."""


def settled(author: PeerId, target: int) -> Lottery:
    """Of a member that has been there for long, and has just published."""
    lottery = Lottery(author, target)
    lottery.published(1)
    lottery.published(LATE)
    return lottery


def published(lottery: Lottery, rounds: range, members: list[int]) -> list[int]:
    """The rounds published, when `members[i]` members are counted in the ith."""
    found = []
    for number, count in zip(rounds, members, strict=True):
        if lottery.draws(number, count):
            lottery.published(number)
            found.append(number)
    return found


@pytest.mark.parametrize(
    ("members", "target", "turns"),
    [(1, 64, 1), (64, 64, 1), (65, 64, 2), (128, 64, 2), (1000, 64, 16), (1000, 0, 1)],
)
def test_each_member_has_its_turn_as_often_as_makes_the_target(
    members: int, target: int, turns: int
) -> None:
    assert turns_of(members, target) == turns


@pytest.mark.parametrize(("members", "target"), [(64, 64), (5, 64), (5000, 0)])
def test_in_a_small_group_or_without_a_target_every_round_is_published(
    members: int, target: int
) -> None:
    rounds = range(1, 200)
    lottery = Lottery(peer(1), target)
    assert published(lottery, rounds, [members] * len(rounds)) == list(rounds)


def test_of_a_large_group_about_the_target_publish_in_each_round() -> None:
    members, target, rounds = 1000, 50, range(LATE + 1, LATE + 101)
    counts = np.zeros(len(rounds), dtype=np.int64)
    for number in range(members):
        found = published(settled(peer(number), target), rounds, [members] * len(rounds))
        counts[np.array(found) - rounds.start] += 1
    # Drawn by lot, counts would spread by about 7; being hashed to fixed places is no worse.
    assert counts.mean() == pytest.approx(target, rel=0.1)
    assert counts.max() < target + 5 * np.sqrt(target)
    assert counts.min() > target - 5 * np.sqrt(target)


def test_nobody_has_more_turns_than_another_and_nobody_waits_longer_than_a_cycle() -> None:
    members, target = 1000, 50
    turns = turns_of(members, target)
    rounds = range(LATE + 1, LATE + 1 + 10 * turns)
    for number in range(100):
        found = published(settled(peer(number), target), rounds, [members] * len(rounds))
        assert len(found) in (10, 11)
        assert max(np.diff([LATE, *found])) <= turns


def test_who_counts_members_differently_each_time_still_never_waits_longer_than_a_cycle() -> None:
    rng = np.random.default_rng(4)
    for number in range(50):
        rounds = range(LATE + 1, LATE + 501)
        counted = rng.integers(600, 1001, len(rounds)).tolist()
        found = published(settled(peer(number), 50), rounds, counted)
        assert max(np.diff([LATE, *found])) <= turns_of(1000, 50)
        # Nor does it publish much more often than if it knew how many there are.
        assert len(found) < 2.5 * len(rounds) / turns_of(800, 50)


def test_a_new_member_publishes_its_first_rounds_and_then_ever_more_rarely() -> None:
    for first in (1, 7, 400):
        rounds = range(first, first + 400)
        found = published(Lottery(peer(3), 10), rounds, [100_000] * len(rounds))
        eager = int(2 * EAGER_ROUNDS)
        assert found[:eager] == list(range(first, first + eager))
        ages = np.array(found) - first
        gaps = np.diff(ages)
        assert (gaps <= np.maximum(1, ages[1:] / EAGER_ROUNDS)).all()
        assert gaps[-1] > 20 > gaps[eager]


def test_whose_turn_it_is_follows_from_identity_and_round_alone() -> None:
    rounds = range(LATE + 1, LATE + 61)
    first, again, other = (
        published(settled(who, 50), rounds, [1000] * 60) for who in (peer(1), peer(1), peer(2))
    )
    assert first == again != other


# --- in a session ---------------------------------------------------------------------------------


def deltas_of(rig: Rig, author: Member) -> list[wire.Delta]:
    """What another member has of it, one after the other, by the messages it hears."""
    heard: list[wire.Delta] = []

    def note(sender: Member, _: Member, message: wire.GossipPayload) -> bool:
        if sender is author and isinstance(message, wire.InlineDelta):
            heard.append(
                wire.decode_delta(sender.sealer.open(wire.DELTA_TYPE, message.envelope)[1])
            )
        return False

    rig.lost = note
    return heard


def pair(**changes: object) -> tuple[Rig, Member, list[wire.Delta]]:
    rig = Rig(quick(assumed_members=1000, **changes))
    author, hearer = rig.add(), rig.add()
    heard = deltas_of(rig, author)
    rig.join(author)
    rig.join(hearer)
    return rig, author, heard


def do_rounds(rig: Rig, author: Member, values: list[float]) -> None:
    for value in values:
        for _ in range(200):
            if author.wants_training:
                break
            rig.pass_time(0.1)
        rig.train(author, contribution((1, 2), value))


def test_what_a_member_learns_between_its_turns_is_in_what_it_publishes_next() -> None:
    rig, author, heard = pair(target_publishers=50, row_fraction=1.0)
    rounds = 80
    do_rounds(rig, author, [float(n) for n in range(1, rounds + 1)])
    assert author.session.round == rounds
    assert len(heard) < rounds / 2
    assert [delta.seqno for delta in heard] == list(range(1, len(heard) + 1))
    assert heard[0].round == 1
    for delta in heard:
        (block,) = delta.blocks
        assert (block.values() == float(delta.round)).all()


def test_the_last_round_is_published_whoever_has_its_turn() -> None:
    rig, author, heard = pair(target_publishers=1, rounds=31)
    do_rounds(rig, author, [float(n) for n in range(1, 32)])
    assert author.session.phase == "done"
    assert heard[-1].round == 31
    assert len(heard) < 31


def test_without_a_target_every_round_is_published() -> None:
    rig, author, heard = pair()
    do_rounds(rig, author, [float(n) for n in range(1, 31)])
    assert [delta.round for delta in heard] == list(range(1, 31))
