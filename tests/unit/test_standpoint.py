"""What a node compares other groups with: its own group without itself, and its circle in it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from openfl.aggregation.member_judge import HARMFUL, HEAVY
from openfl.core.contribution import ModelView, PeerId
from openfl.group.session import GroupSession
from openfl.switching.standpoint import (
    HARM,
    MAX_OPINIONS,
    Acquaintances,
    standpoint_of,
)
from tests.group_rig import CHARTER, Rig, peer, quick, taught_by


def rows(model: ModelView | None) -> list[int] | None:
    """Whose rows are in it: member n teaches row n + 1."""
    return None if model is None else [int(key) - 1 for key in model.keys("weights")]


def alone() -> GroupSession:
    return Rig(quick()).add(number=0).session


def session_of(members: int) -> GroupSession:
    """Member 0's, in a group of so many."""
    return taught_by(CHARTER, *range(members))[0].session


def leaves_out(monkeypatch: pytest.MonkeyPatch, numbers: Sequence[int], why: str = HARMFUL) -> None:
    """As if the screening of members had judged these so."""
    left_out = {peer(number): why for number in numbers}
    monkeypatch.setattr(GroupSession, "left_out", property(lambda session: left_out))


# --- the own group --------------------------------------------------------------------------------


def test_the_own_group_is_seen_without_what_this_node_taught() -> None:
    found = standpoint_of(session_of(4), 0.25, 2, circle=False)
    assert found.charter == CHARTER
    assert rows(found.others) == [1, 2, 3]
    assert found.circle is None


def test_it_is_the_plain_mean_whoever_is_left_out_here(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves_out(monkeypatch, [1, 2])
    assert rows(standpoint_of(session_of(4), 0.25, 1, circle=False).others) == [1, 2, 3]


@pytest.mark.parametrize("circle", [False, True])
def test_with_nobody_else_there_is_nothing_to_see(circle: bool) -> None:
    assert standpoint_of(alone(), 0.0, 1, circle).others is None
    assert standpoint_of(session_of(1), 0.0, 1, circle).others is None


# --- the own circle -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "harmful", "circle"),
    [
        (9, [1, 2], [3, 4, 5, 6, 7, 8]),  # a quarter of the eight others
        (9, [1], None),  # fewer
        (9, [], None),
        (6, [1, 2, 3], [4, 5]),  # two remain
        (6, [1, 2, 3, 4], None),  # one remains
        (3, [1], None),
    ],
)
def test_a_circle_are_those_that_remain_when_a_quarter_does_harm(
    members: int, harmful: list[int], circle: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves_out(monkeypatch, harmful)
    session = session_of(members)
    found = standpoint_of(session, 0.25, 2, circle=True)
    assert rows(found.circle) == circle
    assert rows(found.others) == list(range(1, members))
    assert standpoint_of(session, 0.25, 2, circle=False).circle is None


def test_how_many_must_do_harm_and_remain_is_the_settings_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves_out(monkeypatch, [1, 2])
    session = session_of(6)
    assert rows(standpoint_of(session, 0.4, 3, circle=True).circle) == [3, 4, 5]
    assert standpoint_of(session, 0.41, 3, circle=True).circle is None
    assert standpoint_of(session, 0.4, 4, circle=True).circle is None


def test_nobody_doing_harm_makes_no_circle_even_where_no_part_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves_out(monkeypatch, [])
    assert standpoint_of(session_of(6), 0.0, 1, circle=True).circle is None


def test_who_is_left_out_for_anything_else_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves_out(monkeypatch, [1, 2, 3], HEAVY)
    assert standpoint_of(session_of(8), 0.25, 2, circle=True).circle is None


def test_who_does_harm_but_is_no_member_any_more_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves_out(monkeypatch, [50, 51, 52])
    assert standpoint_of(session_of(6), 0.25, 2, circle=True).circle is None


# --- acquaintances --------------------------------------------------------------------------------


def acquaintances(**opinions: float) -> Acquaintances:
    found = Acquaintances()
    found.judged({PeerId(name): z for name, z in opinions.items()})
    return found


def names(text: str) -> list[PeerId]:
    return [PeerId(name) for name in text]


def test_kin_are_known_and_nearly_all_did_good() -> None:
    known = acquaintances(a=2.0, b=2.0, c=0.6, d=9.0, x=-5.0, y=0.4)
    assert known.are_kin(names("abcd"))
    assert known.are_kin(names("abcdx")), "four of five"
    assert not known.are_kin(names("abcx")), "three of four"
    assert not known.are_kin(names("y")), "little good is none"


def test_of_whom_nothing_is_known_nothing_is_believed() -> None:
    known = acquaintances(a=2.0)
    assert not known.are_kin(names("uvw"))
    assert not known.are_kin([])
    assert known.are_kin(names("auvw")), "strangers neither help nor hinder"


def test_the_latest_opinion_counts() -> None:
    known = acquaintances(a=2.0)
    known.judged({PeerId("a"): -1.0})
    assert not known.are_kin(names("a"))
    known.judged({PeerId("a"): 1.0})
    assert known.are_kin(names("a"))


def test_how_many_of_those_judged_clearly_did_harm() -> None:
    assert acquaintances().harmful() == (0, 0)
    known = acquaintances(a=2.0, b=HARM, c=HARM - 0.1, d=-9.0, e=-1.0)
    assert known.harmful() == (2, 5)
    known.judged({PeerId("d"): 3.0})
    assert known.harmful() == (1, 5)


def test_the_last_to_be_judged_are_remembered_and_no_more_than_so_many() -> None:
    known = acquaintances(old=2.0, again=2.0)
    for number in range(MAX_OPINIONS - 2):
        known.judged({PeerId(f"p{number}"): -9.0})
    assert known.harmful() == (MAX_OPINIONS - 2, MAX_OPINIONS)
    known.judged({PeerId("again"): 2.0})
    known.judged({PeerId("new"): 2.0})
    assert known.harmful() == (MAX_OPINIONS - 2, MAX_OPINIONS)
    assert not known.are_kin([PeerId("old")])
    assert known.are_kin([PeerId("again")])
    known.judged({PeerId(f"q{number}"): 1.0 for number in range(2 * MAX_OPINIONS)})
    assert known.harmful() == (0, MAX_OPINIONS)


# --- looking closer -------------------------------------------------------------------------------


def test_where_nobody_was_judged_that_is_said_when_a_circle_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = session_of(6)
    monkeypatch.setattr(session, "opinions", dict)
    assert standpoint_of(session, 0.25, 2, circle=True).unjudged
    assert not standpoint_of(session, 0.25, 2, circle=False).unjudged
    monkeypatch.setattr(session, "opinions", lambda: {peer(1): 1.0})
    assert not standpoint_of(session, 0.25, 2, circle=True).unjudged
