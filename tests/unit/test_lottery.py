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
    """Of a member that is not new any more, in a group in which all have their turn each round."""
    lottery = Lottery(author, target)
    for _ in range(LATE):
        assert lottery.draws(1)
    return lottery


def drawn(lottery: Lottery, members: list[int]) -> list[int]:
    """The rounds, from 0, that are published when `members[i]` members are counted in the ith."""
    return [number for number, count in enumerate(members) if lottery.draws(count)]


@pytest.mark.parametrize(
    ("members", "target", "turns"),
    [(1, 64, 1), (64, 64, 1), (65, 64, 1), (128, 64, 2), (1000, 64, 16), (1000, 0, 1)],
)
def test_each_member_has_its_turn_as_often_as_makes_the_target(
    members: int, target: int, turns: int
) -> None:
    assert turns_of(members, target) == turns


@pytest.mark.parametrize(("members", "target"), [(64, 64), (5, 64), (5000, 0)])
def test_in_a_small_group_or_without_a_target_every_round_is_published(
    members: int, target: int
) -> None:
    assert drawn(Lottery(peer(1), target), [members] * 200) == list(range(200))


@pytest.mark.parametrize(("members", "target"), [(1000, 50), (1000, 48), (1000, 700)])
def test_of_a_large_group_about_the_target_publish_in_each_round(members: int, target: int) -> None:
    counts = np.zeros(100, dtype=np.int64)
    for number in range(members):
        counts[drawn(settled(peer(number), target), [members] * 100)] += 1
    assert counts.mean() == pytest.approx(target, rel=0.02)
    assert counts.max() < target + 5 * np.sqrt(target)
    assert counts.min() > target - 5 * np.sqrt(target)


@pytest.mark.parametrize(("members", "target"), [(1000, 50), (1000, 48), (100, 64)])
def test_nobody_has_more_turns_than_another_or_waits_longer(members: int, target: int) -> None:
    turns = set()
    for number in range(100):
        found = drawn(settled(peer(number), target), [members] * 1000)
        turns.add(len(found))
        assert max(np.diff([-1, *found])) <= np.ceil(members / target)
    assert max(turns) - min(turns) <= 1


def test_who_counts_members_differently_each_time_has_as_many_turns() -> None:
    rng = np.random.default_rng(4)
    counted = rng.integers(600, 1001, 1000)
    for number in range(50):
        found = drawn(settled(peer(number), 50), counted.tolist())
        assert max(np.diff([-1, *found])) <= 1000 / 50
        assert len(found) == pytest.approx((50 / counted).sum(), abs=1)


def test_a_new_member_publishes_its_first_rounds_and_then_ever_more_rarely() -> None:
    for number in range(10):
        found = drawn(Lottery(peer(number), 10), [1_000_000] * 1000)
        assert found[: EAGER_ROUNDS + 1] == list(range(EAGER_ROUNDS + 1))
        assert len(found) in (2 * EAGER_ROUNDS, 2 * EAGER_ROUNDS + 1)
        gaps = np.diff(found)
        assert (np.diff(gaps) >= -1).all()
        assert gaps[-1] > 5 > gaps[3]


def test_whose_turn_it_is_follows_from_identities() -> None:
    first, again, other = (
        drawn(settled(who, 50), [1000] * 60) for who in (peer(1), peer(1), peer(2))
    )
    assert first == again != other


def test_how_many_rounds_a_publication_is_the_outcome_of() -> None:
    lottery = settled(peer(1), 50)
    lottery.published()
    rounds = [lottery.published() if lottery.draws(1000) else 0 for _ in range(200)]
    outcomes = [number for number in rounds if number]
    assert set(outcomes[1:]) == {20}
    assert sum(outcomes) == 1 + max(i for i, number in enumerate(rounds) if number)


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
