"""Who is here: presence, arrivals and departures, what members say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from openfl.core.contribution import Evaluation, PeerId
from openfl.group.roster import CONNECTED_PATIENCE, Roster

ANNE, BERT, CARL = PeerId("anne"), PeerId("bert"), PeerId("carl")
PRESENCE = 20.0
NOW = 100.0


def roster(max_members: int = 100) -> Roster:
    return Roster(PRESENCE, max_members)


def fit(value: float, metric: str = "rmse") -> Evaluation:
    return Evaluation(metric, value, 0.01, 10)


def names(known: Roster, now: float) -> set[PeerId]:
    return {peer for peer, _ in known.present(now)}


def test_whoever_was_heard_within_the_window_is_present() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    assert names(known, NOW + PRESENCE) == {ANNE}


def test_whoever_was_silent_longer_is_not() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    assert names(known, NOW + PRESENCE + 0.1) == set()


def test_a_relayed_word_counts_with_its_age() -> None:
    known = roster()
    known.heard(ANNE, NOW, age=15.0)
    assert names(known, NOW + 5.0) == {ANNE}
    assert names(known, NOW + 5.1) == set()


def test_an_older_word_does_not_undo_a_newer_one() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.heard(ANNE, NOW, age=19.0)
    assert known.get(ANNE) is not None
    assert names(known, NOW + 10.0) == {ANNE}


def test_an_age_from_the_future_is_no_longer_presence() -> None:
    known = roster()
    known.heard(ANNE, NOW, age=-1000.0)
    assert names(known, NOW + PRESENCE + 0.1) == set()


def test_each_arrival_is_told_once() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    assert known.changes(NOW) == ([ANNE], [])
    known.heard(ANNE, NOW + 1)
    assert known.changes(NOW + 1) == ([], [])


def test_each_silence_is_told_once_and_a_return_is_an_arrival() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.changes(NOW)
    late = NOW + PRESENCE + 1
    assert known.changes(late) == ([], [ANNE])
    assert known.changes(late + 1) == ([], [])
    known.heard(ANNE, late + 2)
    assert known.changes(late + 2) == ([ANNE], [])


def test_a_member_of_whom_only_old_news_came_never_arrived() -> None:
    known = roster()
    known.heard(ANNE, NOW, age=PRESENCE + 1)
    assert known.changes(NOW) == ([], [])


def test_what_a_member_says_of_itself_is_kept() -> None:
    known = roster()
    known.said(ANNE, NOW, epoch=7, round_number=3, evaluation=fit(0.9))
    entry = known.get(ANNE)
    assert entry is not None
    assert (entry.epoch, entry.round, entry.fit, entry.metric) == (7, 3, 0.9, "rmse")


def test_a_word_without_a_fit_keeps_the_last_one() -> None:
    known = roster()
    known.said(ANNE, NOW, 7, 3, fit(0.9))
    entry = known.said(ANNE, NOW, 7, 4, None)
    assert (entry.round, entry.fit) == (4, 0.9)


def test_an_epoch_never_goes_back() -> None:
    known = roster()
    known.said(ANNE, NOW, 7, 3, None)
    assert known.said(ANNE, NOW, 6, 3, None).epoch == 7


def test_a_forgotten_member_is_gone_without_being_told_as_silent() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.changes(NOW)
    known.forget(ANNE)
    assert known.get(ANNE) is None
    assert known.changes(NOW + PRESENCE + 1) == ([], [])


def test_a_full_roster_gives_the_place_of_the_most_silent_to_a_newer_voice() -> None:
    known = roster(max_members=2)
    known.heard(ANNE, NOW)
    known.heard(BERT, NOW + 1)
    known.heard(CARL, NOW + 2)
    assert names(known, NOW + 2) == {BERT, CARL}


def test_a_full_roster_takes_nobody_of_whom_the_news_is_older() -> None:
    known = roster(max_members=2)
    known.heard(ANNE, NOW)
    known.heard(BERT, NOW + 1)
    known.heard(CARL, NOW + 2, age=5.0)
    assert names(known, NOW + 2) == {ANNE, BERT}
    assert known.get(CARL) is None


def test_best_and_median_fit_are_over_those_present() -> None:
    known = roster()
    for peer, value in ((ANNE, 0.9), (BERT, 0.8), (CARL, 1.2)):
        known.said(peer, NOW, 1, 1, fit(value))
    assert known.fits(NOW, "rmse") == (0.8, 0.9)


def test_fits_of_the_absent_and_of_another_metric_do_not_count() -> None:
    known = roster()
    known.said(ANNE, NOW - PRESENCE - 1, 1, 1, fit(0.1))
    known.said(BERT, NOW, 1, 1, fit(0.2, "log-loss"))
    known.heard(CARL, NOW)
    assert known.fits(NOW, "rmse") == (None, None)
    known.said(CARL, NOW, 1, 1, fit(1.2))
    assert known.fits(NOW, "rmse") == (1.2, 1.2)


def test_a_loaded_node_waits_longer_for_everybody() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.patience = 2.0
    assert names(known, NOW + 2 * PRESENCE) == {ANNE}
    assert names(known, NOW + 2 * PRESENCE + 0.1) == set()


def test_nobody_was_silent_while_this_node_did_not_listen() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.changes(NOW)
    woken = NOW + 3600.0
    known.excuse(3595.0)
    assert known.changes(woken) == ([], [])
    known.heard(BERT, woken)
    # What was excused is the past's: from now on silence counts.
    assert names(known, woken + PRESENCE - 5.0) == {ANNE, BERT}
    assert names(known, woken + PRESENCE - 4.9) == {BERT}


def test_a_connection_that_answers_keeps_a_member_here_but_brings_nobody() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.changes(NOW)
    known.heard(CARL, NOW, age=PRESENCE + 1)
    known.connected = frozenset({ANNE, BERT, CARL})
    assert names(known, NOW + 2 * PRESENCE) == {ANNE}
    assert names(known, NOW + CONNECTED_PATIENCE * PRESENCE + 0.1) == set(), "but not for ever"
    known.connected = frozenset()
    assert names(known, NOW + 2 * PRESENCE) == set()


def test_when_all_fall_silent_at_once_it_is_the_line_and_not_they() -> None:
    known = roster()
    known.me = CARL
    known.heard(ANNE, NOW)
    known.heard(BERT, NOW)
    known.changes(NOW)
    known.connected = frozenset({BERT})
    late = NOW + 2 * PRESENCE
    known.heard(CARL, late)
    assert known.changes(late) == ([CARL], [])
    known.heard(BERT, late)
    assert known.changes(late) == ([], []), "the one that is heard first leaves the others here"
    # From now on somebody is heard, and silence counts.
    for second in range(int(PRESENCE)):
        known.heard(BERT, late + second)
    assert known.changes(late + PRESENCE) == ([], [ANNE])


def test_a_node_that_is_cut_off_sees_all_go() -> None:
    known = roster()
    known.heard(ANNE, NOW)
    known.heard(BERT, NOW)
    known.changes(NOW)
    assert known.changes(NOW + PRESENCE + 1) == ([], [ANNE, BERT])


def test_who_is_connected_and_says_nothing_is_not_heard() -> None:
    known = roster()
    known.me = ANNE
    known.heard(BERT, NOW)
    known.changes(NOW)
    known.connected = frozenset({BERT})
    late = NOW + PRESENCE + 1
    known.heard(ANNE, late)
    assert names(known, late) == {ANNE, BERT}
    assert not known.hears(late)
    known.heard(BERT, late)
    assert known.hears(late)


class NaiveRoster(Roster):
    """Looks at everybody each time."""

    def changes(self, now: float) -> tuple[list[PeerId], list[PeerId]]:
        self._may_arrive = True
        return super().changes(now)


@pytest.mark.parametrize("seed", range(30))
def test_changes_are_told_as_if_everybody_was_looked_at_each_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rosters = (Roster(10.0, 12), NaiveRoster(10.0, 12))
    peers = [PeerId(f"p{n}") for n in range(15)]
    now, told = 0.0, 0
    for _ in range(400):
        now += float(rng.exponential(0.7))
        peer, age = peers[int(rng.integers(15))], float(rng.choice([0.0, 0.0, 3.0, 12.0]))
        what = rng.choice(["heard"] * 6 + ["forget", "excuse", "patience", "connect", "nothing"])
        seconds, factor = float(rng.random() * 8), float(rng.choice([1.0, 1.0, 2.0]))
        connected = frozenset(p for p in peers if rng.random() < 0.3)
        for roster in rosters:
            match what:
                case "heard":
                    roster.heard(peer, now, age)
                case "forget":
                    roster.forget(peer)
                case "excuse":
                    roster.excuse(seconds)
                case "patience":
                    roster.patience = factor
                case "connect":
                    roster.connected = connected
        one, other = (roster.changes(now) for roster in rosters)
        assert one == other
        told += len(one[0]) + len(one[1])
    assert told > 40
