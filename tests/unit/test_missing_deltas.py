"""Missing deltas: when they are asked for, of whom, how often, and when that is over."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.core.contribution import PeerId
from openfl.group.missing_deltas import (
    GIVE_UP_SECONDS,
    MAX_ATTEMPTS,
    MAX_SOURCES,
    RETRY_PAUSE_SECONDS,
    UNANSWERED_SECONDS,
    UNDER_WAY_SECONDS,
    MissingDelta,
    MissingDeltas,
)

AUTHOR, OTHER = PeerId("author"), PeerId("other")
ANNE, BERT, CARL = PeerId("anne"), PeerId("bert"), PeerId("carl")
ALL = frozenset({ANNE, BERT, CARL})
NOW = 100.0
SOON = NOW + 2 * UNDER_WAY_SECONDS
"""Later than any first pause."""


def nothing_missing(max_authors: int = 100) -> MissingDeltas:
    return MissingDeltas(np.random.default_rng(0), max_authors)


def with_one_missing(source: PeerId = ANNE) -> MissingDeltas:
    known = nothing_missing()
    known.notice(AUTHOR, 1, 5, source, NOW)
    return known


def asked(
    known: MissingDeltas, now: float, reachable: frozenset[PeerId] = ALL, limit: int = 10
) -> list[tuple[PeerId, PeerId]]:
    """(whom to ask, about whom)."""
    return [(source, wanted.author) for source, wanted in known.due(now, reachable, limit)]


def only_one(known: MissingDeltas) -> MissingDelta:
    (wanted,) = known._missing.values()
    return wanted


def test_with_nothing_missing_there_is_nothing_to_ask_and_no_reason_to_wake() -> None:
    assert asked(nothing_missing(), NOW) == []
    assert nothing_missing().next_wake == float("inf")


def test_a_missing_delta_is_asked_for_at_its_source_after_a_short_pause() -> None:
    known = with_one_missing()
    assert NOW < known.next_wake <= SOON
    assert asked(known, NOW) == []
    assert asked(known, known.next_wake) == [(ANNE, AUTHOR)]


def test_an_announced_delta_is_asked_for_at_once() -> None:
    known = nothing_missing()
    known.notice(AUTHOR, 1, 5, ANNE, NOW, announced=True)
    assert known.next_wake == NOW
    assert asked(known, NOW) == [(ANNE, AUTHOR)]


def test_a_missing_delta_that_is_being_asked_for_is_not_asked_for_again() -> None:
    known = with_one_missing()
    assert asked(known, SOON) == [(ANNE, AUTHOR)]
    assert asked(known, SOON + 1000) == []
    assert known.next_wake == float("inf")


def test_after_a_failure_the_next_source_is_asked() -> None:
    known = with_one_missing(ANNE)
    known.notice(AUTHOR, 1, 5, BERT, NOW)
    first = asked(known, SOON)
    known.answered(AUTHOR, SOON)
    second = asked(known, SOON + RETRY_PAUSE_SECONDS)
    assert [first, second] == [[(ANNE, AUTHOR)], [(BERT, AUTHOR)]]


def test_the_pause_grows_with_every_failure() -> None:
    known = with_one_missing()
    now, pauses = SOON, []
    for _ in range(4):
        assert asked(known, now)
        known.answered(AUTHOR, now)
        pauses.append(known.next_wake - now)
        now = known.next_wake
    assert np.allclose(pauses, [RETRY_PAUSE_SECONDS * n for n in (1, 2, 3, 4)])


def test_what_nobody_delivers_is_left_alone_for_a_while_and_then_tried_again() -> None:
    known = with_one_missing()
    now = SOON
    for _ in range(MAX_ATTEMPTS):
        assert asked(known, now)
        known.answered(AUTHOR, now)
        now = known.next_wake
    assert asked(known, now) == []
    assert known.next_wake == now + GIVE_UP_SECONDS
    assert asked(known, known.next_wake) == [(ANNE, AUTHOR)]


def test_sources_that_are_gone_are_passed_over() -> None:
    known = with_one_missing(ANNE)
    known.notice(AUTHOR, 1, 5, BERT, NOW)
    assert asked(known, SOON, frozenset({BERT})) == [(BERT, AUTHOR)]


def test_when_no_source_is_left_any_member_is_asked() -> None:
    assert asked(with_one_missing(ANNE), SOON, frozenset({CARL})) == [(CARL, AUTHOR)]


def test_when_nobody_is_reachable_nobody_is_asked_and_it_is_tried_later() -> None:
    known = with_one_missing()
    assert asked(known, SOON, frozenset()) == []
    assert SOON < known.next_wake < SOON + GIVE_UP_SECONDS
    assert asked(known, known.next_wake) == [(ANNE, AUTHOR)]


@pytest.mark.parametrize("answers", [True, False])
def test_whoever_does_not_answer_is_asked_again_sooner_than_who_does_not_have_it(
    answers: bool,
) -> None:
    known = with_one_missing()
    now = SOON
    for _ in range(MAX_ATTEMPTS):
        assert asked(known, now)
        known.answered(AUTHOR, now, failed=not answers)
        now = known.next_wake
    assert asked(known, now) == []
    assert known.next_wake == now + (GIVE_UP_SECONDS if answers else UNANSWERED_SECONDS)


def test_a_time_without_anybody_to_ask_costs_no_attempts() -> None:
    """However long the network was down, six sources are tried when it is back."""
    known = with_one_missing()
    now = SOON
    for _ in range(10 * MAX_ATTEMPTS):
        assert asked(known, now, frozenset()) == []
        assert now < known.next_wake <= now + RETRY_PAUSE_SECONDS
        now = known.next_wake
    assert asked(known, now) == [(ANNE, AUTHOR)]


def test_a_missing_delta_that_there_was_no_room_to_ask_for_has_not_been_asked_for() -> None:
    known = with_one_missing()
    now = SOON
    for _ in range(10 * MAX_ATTEMPTS):
        assert asked(known, now)
        known.postponed(AUTHOR, now)
        assert known.next_wake == now + RETRY_PAUSE_SECONDS
        now = known.next_wake
    assert only_one(known).attempts == 0


def test_what_was_given_up_is_tried_again_when_members_come_into_reach() -> None:
    known = with_one_missing()
    now = SOON
    for _ in range(MAX_ATTEMPTS):
        asked(known, now)
        known.answered(AUTHOR, now)
        now = known.next_wake
    asked(known, now)
    known.sources_changed(now)
    assert known.next_wake == now + RETRY_PAUSE_SECONDS
    assert asked(known, known.next_wake) == [(ANNE, AUTHOR)]


def test_members_that_come_into_reach_change_nothing_about_what_is_being_tried() -> None:
    known = with_one_missing()
    asked(known, SOON)
    known.answered(AUTHOR, SOON)
    wake = known.next_wake
    known.sources_changed(SOON)
    assert (known.next_wake, only_one(known).attempts) == (wake, 1)


def test_a_missing_delta_is_closed_by_everything_up_to_it() -> None:
    known = with_one_missing()
    known.close(AUTHOR, 1, 5)
    assert len(known) == 0


def test_a_missing_delta_is_not_closed_by_one_less() -> None:
    known = with_one_missing()
    known.close(AUTHOR, 1, 4)
    known.close(OTHER, 1, 5)
    assert len(known) == 1


def test_a_newer_epoch_closes_what_is_missing_of_an_older_one() -> None:
    known = with_one_missing()
    known.close(AUTHOR, 2, 1)
    assert len(known) == 0


def test_an_older_epoch_does_not_close_it_however_far_it_counts() -> None:
    known = nothing_missing()
    known.notice(AUTHOR, 2, 1, ANNE, NOW)
    known.close(AUTHOR, 1, 99)
    assert len(known) == 1


def test_news_of_a_later_delta_gives_fresh_attempts() -> None:
    known = with_one_missing()
    asked(known, SOON)
    known.answered(AUTHOR, SOON)
    assert only_one(known).attempts == 1
    known.notice(AUTHOR, 1, 6, BERT, SOON)
    assert (only_one(known).seqno, only_one(known).attempts) == (6, 0)


def test_news_of_an_earlier_delta_changes_nothing() -> None:
    known = with_one_missing()
    asked(known, SOON)
    known.answered(AUTHOR, SOON)
    known.notice(AUTHOR, 1, 4, BERT, SOON)
    assert (only_one(known).seqno, only_one(known).attempts) == (5, 1)


def test_one_author_has_one_entry_and_a_bounded_number_of_sources() -> None:
    known = nothing_missing()
    for number in range(50):
        known.notice(AUTHOR, 1, number + 1, PeerId(f"source {number}"), NOW)
    assert len(known) == 1
    assert len(only_one(known).sources) == MAX_SOURCES


def test_the_number_of_authors_is_bounded() -> None:
    known = nothing_missing(max_authors=3)
    for number in range(10):
        known.notice(PeerId(f"author {number}"), 1, 1, ANNE, NOW)
    assert len(known) == 3
    known.notice(PeerId("author 7"), 1, 9, BERT, NOW)  # a known one may still grow
    assert [wanted.seqno for _, wanted in known.due(SOON, ALL, 1)] == [9]


def test_what_nobody_delivered_makes_room_for_what_somebody_may() -> None:
    known = nothing_missing(max_authors=2)
    for name in ("real", "made up"):
        known.notice(PeerId(name), 1, 1, ANNE, NOW)
    now = NOW
    for _ in range(2 * MAX_ATTEMPTS):
        now += 10.0
        for _, wanted in known.due(now, ALL, 9):
            known.answered(wanted.author, now)
            if wanted.author == "real":
                known.close(wanted.author, 1, 1)
    known.notice(PeerId("real"), 1, 2, ANNE, now)
    known.notice(PeerId("another"), 1, 1, ANNE, now)
    assert {wanted.author for _, wanted in known.due(now + 10.0, ALL, 9)} == {"real", "another"}


def test_no_more_are_asked_for_at_once_than_wanted() -> None:
    known = nothing_missing()
    for number in range(10):
        known.notice(PeerId(f"author {number}"), 1, 1, ANNE, NOW)
    assert len(asked(known, SOON, limit=4)) == 4
    assert len(asked(known, SOON, limit=10)) == 6


def test_a_forgotten_author_is_not_asked_for() -> None:
    known = with_one_missing()
    known.forget(AUTHOR)
    assert asked(known, SOON) == []
    known.answered(AUTHOR, SOON)  # an answer that comes late does no harm
    assert len(known) == 0


def asked_of(known: MissingDeltas, now: float, reachable: frozenset[PeerId] = ALL) -> PeerId:
    """The one that is asked now, in vain."""
    ((source, _),) = asked(known, now, reachable)
    known.answered(AUTHOR, now)
    return source


def test_an_author_that_publishes_all_the_time_does_not_keep_the_last_source_from_being_asked() -> (
    None
):
    """Anne and Bert pass on its newest deltas and lack those before them, as this member does;
    Carl, from the other side of what was a partition, has them."""
    known = with_one_missing(ANNE)
    now, found = SOON, []
    for seqno in range(6, 9):
        for source in (ANNE, BERT, CARL):
            known.notice(AUTHOR, 1, seqno, source, now)
        found.append(asked_of(known, now))
        now = known.next_wake
    assert found == [ANNE, BERT, CARL]


def test_an_author_that_publishes_all_the_time_is_asked_for_at_everybody_without_a_source() -> None:
    known = with_one_missing(PeerId("gone"))
    now, found = SOON, set()
    for seqno in range(6, 9):
        known.notice(AUTHOR, 1, seqno, PeerId("gone"), now)
        found.add(asked_of(known, now))
        now = known.next_wake
    assert found == ALL


def test_as_many_wrong_sources_as_are_kept_do_not_shut_out_the_right_one() -> None:
    wrong = [PeerId(f"wrong-{n}") for n in range(MAX_SOURCES)]
    reachable = frozenset([*wrong, CARL])
    known, now, found = with_one_missing(wrong[0]), SOON, []
    for seqno in range(6, 6 + MAX_SOURCES + 1):
        for source in (*wrong, CARL):
            known.notice(AUTHOR, 1, seqno, source, now)
        found.append(asked_of(known, now, reachable))
        now = known.next_wake
    assert found == [*wrong, CARL]


@pytest.mark.parametrize("is_new", [True, False])
def test_what_was_given_up_is_asked_for_at_a_new_source_but_not_at_an_old_one(
    is_new: bool,
) -> None:
    known, now = with_one_missing(ANNE), SOON
    for _ in range(MAX_ATTEMPTS):
        assert asked_of(known, now) == ANNE
        now = known.next_wake
    assert asked(known, now) == []
    known.notice(AUTHOR, 1, 5, BERT if is_new else ANNE, now)
    assert known.next_wake == now + (RETRY_PAUSE_SECONDS if is_new else GIVE_UP_SECONDS)
    if is_new:
        now = known.next_wake
        assert asked_of(known, now) == BERT
        now = known.next_wake
        assert asked(known, now) == []  # one try, then given up again
        assert known.next_wake == now + GIVE_UP_SECONDS
