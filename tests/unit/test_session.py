"""GroupSession: joining, rounds, gossip, repair, leaving - events in, effects out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from openfl.aggregation.quantize import quantize
from openfl.aggregation.replica import Cursor, Replica
from openfl.core.contribution import Charter, TableSchema
from openfl.core.errors import DecodeError
from openfl.group import events as ev
from openfl.group.delta_receiver import MAX_HEARSAY
from openfl.group.joining import HEDGE_SNAPSHOT_SECONDS
from openfl.group.settings import SessionSettings
from openfl.network.base import Verdict
from openfl.wire import messages as wire
from tests.group_rig import (
    CHARTER,
    TABLE,
    Member,
    Rig,
    contribution,
    evaluation,
    peer,
    quick,
    tight,
)

KEYS = (1, 2, 3)


def founded(rig: Rig) -> Member:
    """A first member that has published one contribution."""
    first = rig.add()
    rig.join(first)
    rig.train(first, contribution(KEYS, 4.0))
    return first


def pair(rig: Rig) -> tuple[Member, Member]:
    """Two members; the first has published once, the second has its snapshot."""
    first = founded(rig)
    second = rig.add()
    rig.join(second)
    finish_evaluation(rig, second)
    return first, second


def finish_evaluation(rig: Rig, member: Member, fit: float = 1.0) -> None:
    while member.wants_evaluation:
        member.wants_evaluation.pop()
        rig.give(member, ev.EvaluationFinished(evaluation(fit)))


def inline_delta(
    author: Member,
    *,
    seqno: int,
    value: float,
    epoch: int | None = None,
    schema: TableSchema = TABLE,
) -> bytes:
    """A delta by `author` that its session knows nothing of, encoded by `schema`."""
    block = quantize(contribution(KEYS, value).blocks[0], schema, np.random.default_rng(0))
    body = wire.encode_delta(
        wire.Delta(
            author.session.charter.group_id,
            epoch if epoch is not None else author.session.epoch,
            seqno,
            1,
            10,
            None,
            (block,),
        )
    )
    envelope = author.sealer.seal(wire.DELTA_TYPE, body)
    return wire.encode_gossip(wire.InlineDelta(envelope))


# --- joining --------------------------------------------------------------------------------------


def test_a_member_that_finds_nobody_starts_the_group_and_trains_at_once() -> None:
    rig = Rig()
    first = rig.add()
    rig.join(first)
    assert first.kinds() == ["joined"]
    assert "no other member" in first.told[0].message
    assert [train.round for train in first.wants_training] == [1]


def test_a_member_waits_for_its_first_search_before_it_believes_to_be_alone() -> None:
    rig = Rig()
    first = rig.add()
    rig.give(first, ev.MembersReachable(frozenset()))
    assert first.session.phase == "joining"
    assert not first.wants_training


def test_a_newcomer_has_the_same_model_as_the_one_whose_snapshot_it_got() -> None:
    rig = Rig()
    first, second = pair(rig)
    assert second.session.phase in ("waiting", "learning")
    assert second.session.replica.digest() == first.session.replica.digest()
    keys = np.asarray(KEYS, dtype=np.uint64)
    assert np.array_equal(
        second.session.replica.view().rows(TABLE.name, keys),
        first.session.replica.view().rows(TABLE.name, keys),
    )


def test_a_newcomer_judges_the_groups_model_before_it_trains() -> None:
    rig = Rig()
    founded(rig)
    second = rig.add()
    rig.join(second)
    assert len(second.wants_evaluation) == 1
    assert not second.wants_training
    finish_evaluation(rig, second, 0.5)
    assert second.session.validation == evaluation(0.5)
    assert len(second.wants_training) == 1  # at once: the model is as good as it gets


def test_newcomers_of_one_moment_do_not_go_on_in_step() -> None:
    """Their first rounds come at once, the second ones each after a part of the interval."""
    rig = Rig()
    founded(rig)
    newcomers = [rig.add() for _ in range(6)]
    for newcomer in newcomers:
        rig.join(newcomer)
    pauses = set()
    for newcomer in newcomers:
        finish_evaluation(rig, newcomer)
        rig.train(newcomer, contribution(KEYS, 4.0))
        pauses.add(newcomer.session._rounds.next_wake - rig.now)
    assert len(pauses) == len(newcomers)
    assert 0 < min(pauses) < max(pauses) <= 1.1 * rig.settings.interval_seconds


def test_the_owner_hears_once_that_the_groups_model_is_there_and_what_it_is_worth() -> None:
    rig = Rig()
    first = founded(rig)
    second = rig.add()
    rig.join(second)
    assert not told(second, "useful")  # the model is there, and not judged
    finish_evaluation(rig, second, 0.5)
    (useful,) = told(second, "useful")
    assert useful.data == {"validation": 0.5, "others": 1}
    rig.train(second, contribution(KEYS, 4.0))
    assert len(told(second, "useful")) == 1
    assert not told(first, "useful")  # what it has judged so far is its own


def told(member: Member, kind: str) -> list[ev.Tell]:
    return [news for news in member.told if news.kind == kind]


def test_a_snapshot_comes_in_pages_when_it_is_large() -> None:
    rig = Rig(quick(snapshot_page_bytes=300))
    first = founded(rig)
    for value in (5.0, 6.0):
        rig.pass_time(1.2)
        rig.train(first, contribution((int(value) * 100, int(value) * 100 + 1), value))
    second = rig.add()
    rig.join(second)
    pages = [r for r in rig.requests if r[2] == wire.SNAPSHOT_PROTOCOL]
    assert len(pages) == 3
    assert second.session.replica.digest() == first.session.replica.digest()


def test_what_is_missing_and_cannot_be_asked_for_yet_is_not_given_up_meanwhile() -> None:
    """While all requests wait for slow answers, attempts would be used up without any."""
    rig = Rig(quick(max_open_requests=1))
    _, second = pair(rig)
    session, now = second.session, rig.now
    sources = frozenset({peer(5), peer(6)})
    for source in sorted(sources):
        session._missing.notice(source, 1, 1, source, now)
    asked = []
    for _ in range(40):
        now += 1.0
        asked += session._fetcher.pull(sources, now)
    (open_request,) = asked
    session._fetcher.on_answer(open_request.token, None, now)
    (waiting,) = sources - {open_request.peer}
    assert [r.peer for r in session._fetcher.pull(sources, now + 1.0)] == [waiting]


def test_while_no_more_requests_may_be_made_a_member_wakes_up_for_all_that_is_missing_at_once() -> (
    None
):
    """A liar can make up thousands of deltas, and then answer nothing."""
    rig = Rig(quick(max_open_requests=1))
    _, second = pair(rig)
    session, sources = second.session, frozenset({peer(5), peer(6)})
    for number in range(100):
        session._missing.notice(
            peer(1000 + number), 1, 1, peer(5 + number % 2), rig.now + number / 97
        )
    now, asked, woken = rig.now, [], set()
    while now < rig.now + 20:
        asked += session._fetcher.pull(sources, now)
        now = session._missing.next_wake
        woken.add(now)
    assert len(asked) == 1
    assert len(woken) < 60


@pytest.mark.parametrize("news", [True, False])
def test_a_member_that_does_no_rounds_keeps_what_it_hears_and_saves_nothing_twice(
    news: bool,
) -> None:
    rig = Rig(quick())
    first = founded(rig)
    idle = rig.add(quick(auto_start=False))
    rig.join(idle)
    finish_evaluation(rig, idle)
    rig.pass_time(3.0)
    saves = idle.saves
    if news:
        rig.train(first, contribution(KEYS, 5.0))
    rig.pass_time(3.0)
    assert idle.saves == saves + news
    assert idle.session.phase == "waiting"


@pytest.mark.parametrize("new", [True, False])
def test_a_member_that_comes_into_reach_is_told_soon_what_we_have(new: bool) -> None:
    """It may be the only way to a part of the group that was cut off."""
    rig = Rig(SessionSettings(auto_start=False, heartbeat_seconds=2.0))
    first = rig.add()
    rig.give(first, ev.DiscoveryEnded(alone=True))
    rig.give(first, ev.MembersReachable(frozenset({peer(7)})))
    rig.pass_time(120.0)
    spoken: list[float] = []

    def heard(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        spoken.append(rig.now)
        return True

    rig.add()
    rig.lost = heard
    while not spoken:  # it has just spoken, and its next interval is the longest
        rig.pass_time(0.05)
    spoken.clear()
    others = {peer(7), peer(8)} if new else {peer(7)}
    rig.give(first, ev.MembersReachable(frozenset(others)))
    rig.pass_time(2.1)
    assert bool(spoken) == new


def test_a_newcomer_that_hears_of_missing_deltas_before_its_snapshot_sleeps_until_it_is_there() -> (
    None
):
    rig = Rig()
    first = founded(rig)
    second = rig.add()
    effects = second.session.handle(ev.MembersReachable(frozenset({first.peer_id})), rig.now)
    assert [type(effect) for effect in effects] == [ev.Request]  # its answer is still on its way
    later = inline_delta(first, seqno=2, value=5.0)
    second.session.handle(ev.GossipReceived(first.peer_id, first.peer_id, later), rig.now)
    now = rig.now + 0.9  # what is missing before number 2 is due, but the snapshot will fill it
    second.session.handle(ev.TimerFired(), now)
    assert second.session.next_wake > now


def test_a_newcomer_asks_another_member_when_the_first_gives_no_snapshot() -> None:
    rig = Rig()
    first, second = pair(rig)
    rig.unanswered = {first.peer_id}
    for number in range(2, 8):
        third = rig.add(number=number)
        rig.join(third)
        rig.pass_time(1.0)
        assert third.session.replica.digest() == second.session.replica.digest()
        third.online = False
    asked = {r[1] for r in rig.requests if r[2] == wire.SNAPSHOT_PROTOCOL}
    assert first.peer_id in asked


def test_a_newcomer_whom_nobody_gives_a_snapshot_catches_up_from_gossip() -> None:
    rig = Rig()
    first, second = pair(rig)
    rig.unanswered = {first.peer_id, second.peer_id}
    third = rig.add()
    rig.join(third)
    rig.pass_time(3.0)
    assert third.session.phase == "learning"
    assert [tell.level for tell in third.told if tell.kind == "joined"] == ["warning"]
    rig.unanswered = set()
    rig.pass_time(20.0)
    assert third.session.replica.version_of(first.peer_id).seqno > 0


def snapshot_requests(effects: list[ev.Effect]) -> list[ev.Request]:
    asked = [effect for effect in effects if isinstance(effect, ev.Request)]
    return [request for request in asked if request.protocol == wire.SNAPSHOT_PROTOCOL]


def asks_one_that_is_silent(rig: Rig, members: int) -> tuple[Member, ev.Request]:
    """A newcomer to a group of so many, and its first request: the answer does not come yet."""
    for _ in range(members):
        rig.join(rig.add())
    teacher = rig.members[0]
    rig.pass_time(1.2)
    rig.train(teacher, contribution(KEYS, 2.0))
    newcomer = rig.add()
    others = frozenset(m.peer_id for m in rig.members if m is not newcomer)
    (request,) = snapshot_requests(newcomer.session.handle(ev.MembersReachable(others), rig.now))
    return newcomer, request


def test_a_member_that_is_silent_is_not_waited_for_alone() -> None:
    rig = Rig()
    newcomer, first = asks_one_that_is_silent(rig, 3)
    early = rig.now + HEDGE_SNAPSHOT_SECONDS - 0.1
    assert snapshot_requests(newcomer.session.handle(ev.TimerFired(), early)) == []
    rig.now += HEDGE_SNAPSHOT_SECONDS
    assert newcomer.session.next_wake <= rig.now
    effects = newcomer.session.handle(ev.TimerFired(), rig.now)
    (second,) = snapshot_requests(effects)
    assert second.peer != first.peer
    later = newcomer.session.handle(ev.TimerFired(), rig.now + HEDGE_SNAPSHOT_SECONDS)
    assert snapshot_requests(later) == []  # two at once are enough
    rig._answer(newcomer, second)
    assert newcomer.session.phase != "joining"
    assert newcomer.session.replica.digest() == rig.members[0].session.replica.digest()
    # Whatever comes of the first is nobody's business any more.
    assert newcomer.session.handle(ev.AnswerReceived(first.token, first.peer, b"?"), rig.now) == []
    assert newcomer.session.faults == {}


def test_where_nobody_else_is_in_reach_a_silent_member_is_waited_for() -> None:
    rig = Rig()
    newcomer, _ = asks_one_that_is_silent(rig, 1)
    for _ in range(10):
        rig.now += HEDGE_SNAPSHOT_SECONDS
        effects = newcomer.session.handle(ev.TimerFired(), rig.now)
        assert snapshot_requests(effects) == []
        assert newcomer.session.next_wake > rig.now
    assert newcomer.session.phase == "joining"


def test_of_two_that_are_asked_one_may_fail_and_the_other_still_counts() -> None:
    rig = Rig()
    newcomer, first = asks_one_that_is_silent(rig, 2)
    rig.now += HEDGE_SNAPSHOT_SECONDS
    (second,) = snapshot_requests(newcomer.session.handle(ev.TimerFired(), rig.now))
    failed = ev.RequestFailed(second.token, second.peer, "no answer")
    assert snapshot_requests(newcomer.session.handle(failed, rig.now)) == []
    assert newcomer.session.phase == "joining"
    rig._answer(newcomer, first)
    assert newcomer.session.replica.digest() == rig.members[0].session.replica.digest()


def test_a_joining_member_that_hears_of_something_it_lacks_does_not_spin() -> None:
    rig = Rig()
    first = founded(rig)
    second = rig.add()
    rig.pass_time(3.0)  # the first one's heartbeats say what it has
    assert second.session.phase == "joining"
    assert second.session.next_wake > rig.now
    rig.join(second)
    assert second.session.replica.digest() == first.session.replica.digest()


def test_a_member_knows_whose_snapshot_it_joined_with() -> None:
    rig = Rig()
    first, second = pair(rig)
    assert first.session.snapshot_from is None
    assert second.session.snapshot_from == first.peer_id


def test_a_newcomer_passes_over_members_that_have_nothing_yet() -> None:
    rig = Rig(quick(auto_start=False))
    first = rig.add(quick())
    rig.join(first)
    rig.train(first, contribution(KEYS, 4.0))
    # Three that were cut off from everybody, and so have nothing.
    for _ in range(2):
        rig.give(rig.add(), ev.DiscoveryEnded(alone=True))
    for number in range(10, 16):
        newcomer = rig.add(number=number)
        rig.lost = lambda *_: True
        rig.join(newcomer)
        assert newcomer.session.replica.digest() == first.session.replica.digest()
        newcomer.online = False


def test_a_newcomer_among_nothing_but_newcomers_does_not_wait() -> None:
    rig = Rig(quick(auto_start=False))
    for _ in range(5):
        rig.join(rig.add())
    assert all(member.session.phase == "waiting" for member in rig.members)


def test_a_node_of_another_charter_is_refused_a_snapshot() -> None:
    rig = Rig()
    first = founded(rig)
    other = Charter("rig", "mean", CHARTER.tables, {}, seed=2)
    request = wire.encode_snapshot_request(wire.SnapshotRequest(other.group_id, {}, 1000))
    effects = first.session.handle(
        ev.RequestReceived(peer(9), wire.SNAPSHOT_PROTOCOL, request), rig.now
    )
    answer = effects[0]
    assert isinstance(answer, ev.Respond)
    refusal = wire.decode_items_answer(answer.payload)
    assert isinstance(refusal, wire.Refusal)
    assert refusal.code == "unknown-group"


def test_a_malformed_request_is_the_askers_fault() -> None:
    rig = Rig()
    first = founded(rig)
    with pytest.raises(DecodeError):
        first.session.handle(ev.RequestReceived(peer(9), wire.PULL_PROTOCOL, b"junk"), rig.now)


# --- rounds ---------------------------------------------------------------------------------------


def test_rounds_start_only_when_enough_members_are_present() -> None:
    rig = Rig(quick(wait_for_members=2))
    first = rig.add()
    rig.join(first)
    rig.pass_time(5.0)
    assert first.session.phase == "waiting"
    second = rig.add()
    rig.join(second)
    rig.pass_time(3.0)
    assert first.wants_training
    assert second.wants_training


def test_without_auto_start_a_member_relays_but_does_not_train() -> None:
    rig = Rig()
    first = founded(rig)
    quiet = rig.add(quick(auto_start=False))
    rig.join(quiet)
    rig.pass_time(10.0)
    assert quiet.session.phase == "waiting"
    assert not quiet.wants_training
    assert quiet.session.replica.digest() == first.session.replica.digest()


def test_rounds_keep_their_pace_whatever_others_do() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    second.online = False
    begun = []
    for _ in range(5):
        rig.pass_time(1.2)
        begun.append(rig.now)
        rig.train(first, contribution(KEYS, 1.0))
    assert first.session.round == 6
    assert np.allclose(np.diff(begun), 1.2)


def test_a_round_that_takes_longer_than_the_interval_is_not_started_twice() -> None:
    rig = Rig(quick())
    first = rig.add()
    rig.join(first)
    rig.pass_time(5.0)
    assert len(first.wants_training) == 1


def test_after_the_last_round_the_final_model_is_evaluated_and_training_ends() -> None:
    rig = Rig(quick(rounds=2))
    first = rig.add()
    rig.join(first)
    rig.train(first, contribution(KEYS, 1.0), fit=1.0)
    rig.pass_time(1.2)
    rig.train(first, contribution(KEYS, 2.0), fit=0.9)
    assert first.session.phase == "done"
    rig.pass_time(1.2)
    assert len(first.wants_evaluation) == 1
    finish_evaluation(rig, first, 0.8)
    assert first.session.history == [1.0, 0.9, 0.8]
    rig.pass_time(5.0)
    assert not first.wants_training
    assert not first.wants_evaluation  # nothing has changed since


def test_a_finished_member_evaluates_again_when_the_model_changes() -> None:
    rig = Rig(quick(rounds=1))
    first = rig.add()
    rig.join(first)
    rig.train(first, contribution(KEYS, 1.0))
    rig.pass_time(1.2)
    finish_evaluation(rig, first)
    second = rig.add(quick())
    rig.join(second)
    finish_evaluation(rig, second)
    rig.pass_time(1.2)
    rig.train(second, contribution((7,), 1.0))
    rig.pass_time(1.2)
    assert len(first.wants_evaluation) == 1


def test_members_that_train_together_do_not_start_in_lockstep() -> None:
    rig = Rig(quick(wait_for_members=5))
    for _ in range(5):
        rig.join(rig.add())
    begun: dict[int, float] = {}
    for _ in range(400):
        rig.pass_time(0.05)
        for number, member in enumerate(rig.members):
            if member.wants_training:
                begun.setdefault(number, rig.now)
    times = sorted(begun.values())
    assert len(times) == 5
    assert times[-1] - times[0] > 0.2


# --- gossip and its verdicts ----------------------------------------------------------------------


def test_a_published_contribution_reaches_everyones_model() -> None:
    rig = Rig()
    first, second = pair(rig)
    rig.pass_time(2.5)
    rig.train(first, contribution(KEYS, 8.0))
    assert second.session.deltas_merged >= 1
    assert second.session.replica.digest() == first.session.replica.digest()
    assert (Verdict.ACCEPT, "") in rig.verdicts


def test_a_delta_heard_twice_is_ignored_without_blame() -> None:
    rig = Rig()
    first, second = pair(rig)
    message = inline_delta(first, seqno=2, value=5.0)
    assert rig.gossip(first, message, second).verdict is Verdict.ACCEPT
    assert rig.gossip(first, message, second) == ev.Judge(Verdict.IGNORE, "duplicate")


def test_a_delta_of_an_older_epoch_is_ignored_without_blame() -> None:
    rig = Rig()
    first, second = pair(rig)
    message = inline_delta(first, seqno=9, value=5.0, epoch=first.session.epoch - 1)
    assert rig.gossip(first, message, second) == ev.Judge(Verdict.IGNORE, "older-epoch")


def test_a_delta_published_by_another_than_its_signer_is_rejected() -> None:
    rig = Rig()
    first, second = pair(rig)
    third = rig.add()
    before = second.session.replica.digest()
    message = inline_delta(first, seqno=2, value=5.0)
    assert rig.gossip(third, message, second).verdict is Verdict.REJECT
    assert second.session.replica.digest() == before
    assert second.session.faults == {"bad-signature": 1}


@pytest.mark.parametrize("junk", [b"", b"\x00", b"\xff" * 50, b"\xa1\x61t\x65delta"])
def test_junk_on_the_topic_is_rejected_and_counted(junk: bytes) -> None:
    rig = Rig()
    first, second = pair(rig)
    assert rig.gossip(first, junk, second).verdict is Verdict.REJECT
    assert second.session.faults == {"undecodable": 1}


def test_a_delta_at_the_charters_bound_is_accepted_and_one_beyond_it_rejected() -> None:
    rig = Rig()
    first, second = pair(rig)
    bound = inline_delta(first, seqno=2, value=TABLE.value_limit)
    assert rig.gossip(first, bound, second).verdict is Verdict.ACCEPT
    lax = replace(TABLE, value_limit=1e6)
    beyond = inline_delta(first, seqno=3, value=1.01 * TABLE.value_limit, schema=lax)
    assert rig.gossip(first, beyond, second).verdict is Verdict.REJECT
    assert second.session.faults == {"invalid-contribution": 1}


def test_an_author_that_floods_is_ignored_beyond_its_rate() -> None:
    rig = Rig()
    first, second = pair(rig)
    third = rig.add()
    flood = [inline_delta(first, seqno=n, value=1.0) for n in range(2, 400)]
    verdicts = [rig.gossip(first, message, second) for message in flood]
    ignored = [v for v in verdicts if v.reason == "rate"]
    assert 100 < len(ignored) < 398
    assert rig.gossip(third, inline_delta(third, seqno=1, value=1.0), second).verdict is (
        Verdict.ACCEPT
    )


def test_what_does_not_fit_the_limits_is_ignored_and_counted() -> None:
    rig = Rig()
    first = founded(rig)
    small = rig.add(quick(limits=tight(max_members=1)))
    rig.join(small)
    other = rig.add()
    verdict = rig.gossip(other, inline_delta(other, seqno=1, value=1.0), small)
    assert verdict == ev.Judge(Verdict.IGNORE, "max-members")
    assert small.session.faults["refused-max-members"] == 1
    assert first.session.replica.digest() == small.session.replica.digest()


def test_a_member_that_signs_two_deltas_under_one_number_is_found_out() -> None:
    rig = Rig()
    first, second = pair(rig)
    rig.gossip(first, inline_delta(first, seqno=2, value=5.0), second)
    rig.gossip(first, inline_delta(first, seqno=2, value=6.0), second)
    assert second.session.faults["equivocation"] == 1
    assert "equivocation" in second.kinds()


# --- repair ---------------------------------------------------------------------------------------


def lose_deltas_to(victim: Member) -> object:
    def lost(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        return receiver is victim and isinstance(message, wire.InlineDelta)

    return lost


def test_a_lost_delta_is_pulled_after_the_next_heartbeat() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    rig.lost = lose_deltas_to(second)  # type: ignore[assignment]
    rig.pass_time(1.2)
    rig.train(first, contribution(KEYS, 7.0))
    assert second.session.replica.digest() != first.session.replica.digest()
    rig.pass_time(5.0)
    assert second.session.replica.digest() == first.session.replica.digest()
    assert any(r[2] == wire.PULL_PROTOCOL for r in rig.requests)


def test_a_missing_delta_is_noticed_from_the_next_delta_and_pulled() -> None:
    rig = Rig(quick(heartbeat_seconds=1000.0))
    first, second = pair(rig)
    rig.lost = lose_deltas_to(second)  # type: ignore[assignment]
    rig.pass_time(1.2)
    rig.train(first, contribution((50, 51), 7.0))
    rig.lost = lambda *_: False
    rig.pass_time(1.2)
    rig.train(first, contribution((60, 61), 7.0))
    rig.pass_time(1.0)
    assert second.session.replica.digest() == first.session.replica.digest()
    assert any(r[2] == wire.PULL_PROTOCOL for r in rig.requests)


def test_a_lost_delta_is_pulled_from_a_third_member_when_its_author_is_gone() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    third = rig.add()
    rig.join(third)
    rig.lost = lose_deltas_to(second)  # type: ignore[assignment]
    rig.pass_time(1.2)
    rig.train(first, contribution(KEYS, 7.0))
    first.online = False
    rig.connect()
    rig.pass_time(8.0)
    assert second.session.replica.digest() == third.session.replica.digest()
    assert second.session.replica.version_of(first.peer_id).seqno == 2


def test_a_large_delta_is_announced_and_pulled_once() -> None:
    rig = Rig(quick(inline_limit_bytes=1024))
    first = founded(rig)
    second = rig.add()
    rig.join(second)
    finish_evaluation(rig, second)
    many = tuple(range(100, 1100))
    kinds: list[type] = []

    def watch(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        kinds.append(type(message))
        return False

    rig.lost = watch
    rig.pass_time(1.2)
    rig.train(first, contribution(many, 3.0))
    rig.pass_time(0.5)
    assert wire.Announce in kinds
    assert wire.InlineDelta not in kinds
    pulls = [r for r in rig.requests if r[2] == wire.PULL_PROTOCOL]
    assert len(pulls) == 1
    assert second.session.replica.digest() == first.session.replica.digest()


def test_an_author_that_announces_another_delta_is_to_blame_and_not_who_serves_it() -> None:
    rig = Rig(quick(inline_limit_bytes=1024))
    first = founded(rig)
    second = rig.add()
    rig.join(second)
    rig.unanswered = {first.peer_id}
    announced = wire.Announce(bytes(32), 5000, first.session.epoch, 2)
    rig.gossip(first, wire.encode_gossip(announced), second)
    rig.lost = lambda *_: True
    rig.pass_time(1.2)
    rig.train(first, contribution(KEYS, 3.0))
    rig.unanswered = set()
    rig.pass_time(3.0)
    assert second.penalized == [(first.peer_id, "announced-otherwise")]
    assert second.session.faults["announced-otherwise"] == 1
    # Signed by the same author: all members end with the same.
    assert second.session.replica.digest() == first.session.replica.digest()


def made_up(number: int) -> wire.HeardVersion:
    return wire.HeardVersion(peer(1000 + number), 1, 5, 0)


def test_a_liar_can_make_up_only_so_many_members() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    for start in (0, 200):
        beat = wire.Heartbeat(
            1, 1, 1, 1, None, 300, tuple(made_up(start + n) for n in range(200)), bytes(16)
        )
        rig.gossip(second, wire.encode_gossip(beat), first)
    assert len(first.session.members(rig.now)) <= 2 + MAX_HEARSAY
    assert first.session.faults["hearsay-full"] >= 300
    rig.pass_time(first.session.settings.presence_seconds + 1)
    assert len(first.session.members(rig.now)) == 2


def answering(rig: Rig, joiner: Member, page: Callable[[int], wire.ItemsAnswer], dt: float) -> int:
    """Answer every request of the joiner with the next page; how many there were."""
    asked = 0
    effects = joiner.session.handle(ev.MembersReachable(frozenset([peer(7)])), rig.now)
    effects += joiner.session.handle(ev.DiscoveryEnded(False), rig.now)
    (request,) = [e for e in effects if isinstance(e, ev.Request)]
    while asked < 10_000:
        asked += 1
        rig.now += dt
        answer = wire.encode_answer(page(asked))
        effects = joiner.session.handle(
            ev.AnswerReceived(request.token, request.peer, answer), rig.now
        )
        more = [e for e in effects if isinstance(e, ev.Request)]
        if not more:
            break
        (request,) = more
    return asked


@pytest.mark.parametrize(
    ("page", "dt", "most"),
    [
        pytest.param(lambda n: Cursor(peer(1), 1, 1), 0.1, 3, id="in-a-circle"),
        pytest.param(lambda n: Cursor(peer(1), 1, n), 0.1, 17, id="with-nothing-new"),
        pytest.param(lambda n: Cursor(peer(1), 1, n), 4.9, 8, id="slowly"),
    ],
)
def test_an_endless_snapshot_is_given_up(
    page: Callable[[int], Cursor], dt: float, most: int
) -> None:
    rig = Rig(quick())
    joiner = rig.add()
    asked = answering(rig, joiner, lambda n: wire.ItemsAnswer((), (), page(n), bytes(16)), dt)
    assert 1 < asked <= most


def test_an_author_that_floods_is_blamed_and_one_that_only_relays_is_not() -> None:
    rig = Rig(quick(messages_per_second=1.0))
    first, second = pair(rig)
    payload = wire.encode_gossip(wire.Announce(bytes(32), 10, 1, 1))
    for _ in range(20):
        rig.give(first, ev.GossipReceived(second.peer_id, peer(99), payload))
    assert first.session.faults["gossip-rate"] > 10
    assert first.penalized == []
    rig.give(first, ev.GossipReceived(second.peer_id, second.peer_id, payload))
    assert first.penalized == [(second.peer_id, "gossip-rate")]


def test_what_nobody_can_deliver_is_not_asked_for_without_end() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    announced = wire.Announce(bytes(32), 5000, first.session.epoch, 99)
    rig.gossip(first, wire.encode_gossip(announced), second)
    rig.requests.clear()
    rig.pass_time(30.0)
    pulls = [r for r in rig.requests if r[2] == wire.PULL_PROTOCOL]
    assert 1 <= len(pulls) <= 6


def test_heartbeats_grow_rare_when_nothing_changes() -> None:
    rig = Rig(quick(auto_start=False, heartbeat_seconds=1.0))
    beats = [0]

    def count(sender: Member, receiver: Member, message: wire.GossipPayload) -> bool:
        beats[0] += isinstance(message, wire.Heartbeat)
        return False

    rig.lost = count
    for _ in range(2):
        rig.join(rig.add())
    rig.pass_time(8.0)
    early = beats[0]
    rig.pass_time(80.0)
    late = (beats[0] - early) / 10
    assert early > late
    assert late > 0


def test_members_of_a_large_quiet_group_all_stay_present() -> None:
    rig = Rig(quick(auto_start=False, heartbeat_seconds=1.0))
    for _ in range(24):
        rig.join(rig.add())
    for _ in range(4):
        rig.pass_time(10.0, step=0.25)
        assert {len(m.session.members(rig.now)) for m in rig.members} == {24}


# --- presence, leaving, expiry --------------------------------------------------------------------


def test_everyone_sees_who_is_there() -> None:
    rig = Rig(quick())
    for _ in range(4):
        rig.join(rig.add())
    rig.pass_time(4.0)
    names = {m.peer_id for m in rig.members}
    for member in rig.members:
        assert {view.peer_id for view in member.session.members(rig.now)} == names
        assert member.session.members(rig.now)[0].me


def test_a_member_that_went_silent_is_away_but_its_teaching_stays() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    first.online = False
    rig.connect()
    rig.pass_time(rig.settings.presence_seconds + 3)
    assert [view.peer_id for view in second.session.members(rig.now)] == [second.peer_id]
    assert "member-away" in second.kinds()
    assert second.session.replica.version_of(first.peer_id).seqno == 1


def test_a_member_silent_beyond_its_time_to_live_leaves_the_model_as_it_was_without_it() -> None:
    rig = Rig(quick(auto_start=False, limits=tight(member_ttl_seconds=60.0)))
    first = rig.add(quick(limits=tight(member_ttl_seconds=60.0)))
    rig.join(first)
    rig.train(first, contribution(KEYS, 4.0))
    second = rig.add()
    rig.join(second)
    third = rig.add()
    rig.join(third)
    first.online = False
    rig.pass_time(70.0)
    for member in (second, third):
        assert "member-expired" in member.kinds()
        assert member.session.replica.digest() == Replica(CHARTER).digest()
    # Neither brings it back to the other.
    rig.pass_time(60.0)
    assert second.session.replica.member_count == 0


def test_a_member_that_finished_long_ago_still_teaches_newcomers() -> None:
    rig = Rig(quick(rounds=1, limits=tight(member_ttl_seconds=60.0)))
    first = founded(rig)
    finish_evaluation(rig, first)
    rig.pass_time(100.0)  # longer than silence may last, but it was not silent
    second = rig.add()
    rig.join(second)
    assert second.session.replica.member_count == 1
    assert second.session.replica.digest() == first.session.replica.digest()


def test_a_leavers_influence_is_gone_everywhere_and_stays_gone() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    late = inline_delta(first, seqno=2, value=9.0)
    rig.give(first, ev.LeaveRequested())
    assert second.session.replica.digest() == Replica(CHARTER).digest()
    assert "member-left" in second.kinds()
    assert rig.gossip(first, late, second) == ev.Judge(Verdict.IGNORE, "left")
    third = rig.add()
    first.online = False
    rig.join(third)
    assert third.session.replica.member_count == 0


@pytest.mark.parametrize("counting", [1, 2])
def test_a_leave_that_did_not_arrive_is_pulled_from_whoever_heard_it(counting: int) -> None:
    rig = Rig(quick(auto_start=False))
    first = rig.add(quick())
    rig.join(first)
    rig.train(first, contribution(KEYS, 4.0))
    others = [rig.add() for _ in range(3)]
    for member in others:
        rig.join(member)
    rig.pass_time(3.0)
    deaf = others[:counting]
    rig.lost = lambda _, to, message: to in deaf and isinstance(message, wire.LeaveNotice)
    rig.give(first, ev.LeaveRequested())
    first.online = False
    rig.connect()
    assert [m.session.replica.member_count for m in others] == [1] * counting + [0] * (3 - counting)
    rig.pass_time(12.0)
    assert [m.session.replica.member_count for m in others] == [0, 0, 0]
    # Then there is peace: nobody is asked for it any more.
    rig.requests.clear()
    rig.pass_time(120.0)
    assert rig.requests == []
    assert all(m.session.faults == {} for m in others)


def test_a_lie_that_a_member_left_takes_nobody_out() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    liar = rig.add()
    named = wire.HeardVersion(first.peer_id, first.session.epoch, wire.GONE, 0)
    lie = wire.Heartbeat(1, 0, 0, 0, None, 1, (named,), bytes(16))
    rig.gossip(liar, wire.encode_gossip(lie), second)
    rig.pass_time(5.0)
    assert second.session.replica.member_count == 1
    assert first.peer_id in {view.peer_id for view in second.session.members(rig.now)}


def test_a_member_that_left_does_nothing_any_more() -> None:
    rig = Rig(quick())
    first, _ = pair(rig)
    rig.give(first, ev.LeaveRequested())
    assert first.session.next_wake == float("inf")
    assert rig.give(first, ev.TimerFired()) == []
    assert rig.give(first, ev.LeaveRequested()) == []


def test_a_restarted_member_replaces_everything_it_had_published() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    first.online = False
    again = rig.add(epoch=first.session.epoch + 1, number=0)
    rig.members.remove(first)
    rig.join(again)
    finish_evaluation(rig, again)
    rig.pass_time(1.2)
    rig.train(again, contribution((9,), 2.0))
    rows = second.session.replica.member_rows(again.peer_id, TABLE.name)
    assert rows.keys.tolist() == [9]


def test_a_member_whose_clock_went_back_goes_on_above_its_own_past() -> None:
    rig = Rig(quick())
    first, second = pair(rig)
    first.online = False
    again = rig.add(epoch=first.session.epoch - 1000, number=0)
    rig.members.remove(first)
    rig.join(again)
    finish_evaluation(rig, again)
    assert again.session.epoch == first.session.epoch + 1
    rig.pass_time(1.2)
    rig.train(again, contribution(KEYS, 2.0))
    assert second.session.replica.digest() == again.session.replica.digest()
    assert second.session.replica.version_of(again.peer_id).epoch == again.session.epoch
