"""`SnapshotFetch`, `Look`, `FirstLook`: whom they ask, for how long, and what they make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from openfl.core.contribution import Charter, GroupCard, GroupId, PeerId
from openfl.group import events as session_events
from openfl.learning.comparison import Comparison
from openfl.network.base import PeerAddress
from openfl.switching import events as ev
from openfl.switching.directory import Directory
from openfl.switching.look import (
    FIRST_LOOK_GROUPS,
    FIRST_LOOK_MORE_SECONDS,
    FIRST_LOOK_SECONDS,
    MAX_AT_ONCE,
    MAX_RETRY_SECONDS,
    RETRY_SECONDS,
    FirstLook,
    Look,
    LookMemory,
    LookSettings,
)
from openfl.switching.policy import Candidate, Finding, LookOrder
from openfl.switching.probe import Probes, ProbeSettings
from openfl.switching.snapshot_fetch import (
    CONNECT_SECONDS,
    FETCH_SECONDS,
    LOOK_UP_SECONDS,
    MAX_SOURCES,
    SnapshotFetch,
)
from openfl.switching.standpoint import Standpoint
from openfl.wire import messages as wire
from tests.group_rig import (
    CHARTER,
    Member,
    Rig,
    RigSealer,
    evaluation,
    peer,
    quick,
    taught_by,
)

ME = RigSealer(peer(99))
HERE = replace(CHARTER, name="here")
Effect = ev.LookEffect


def comparison(gain: float) -> Comparison:
    return Comparison(evaluation(1.0), evaluation(1.0 - gain), gain, 0.01, 100)


def served(charter: Charter, members: int = 2) -> list[Member]:
    return taught_by(charter, *range(members))


@dataclass
class Situation:
    """What a node knows, and what becomes of what it orders. Time stands still but for `now`."""

    settings: LookSettings = field(default_factory=LookSettings)
    probe_settings: ProbeSettings = field(default_factory=ProbeSettings)
    fits: Callable[[Charter], bool] = lambda charter: True
    seed: int = 0
    now: float = 1000.0
    effects: list[Effect] = field(default_factory=list)
    """All that was ordered, in order."""

    def __post_init__(self) -> None:
        self.directory = Directory(me=ME.peer_id)
        self.probes = Probes(ME, self.probe_settings)
        self.memory = LookMemory(
            ME.peer_id,
            self.directory,
            self.probes,
            lambda charter: None if self.fits(charter) else "another task",
            np.random.default_rng(self.seed),
            self.settings,
        )

    def tells(self, charter: Charter, *issuers: int, members: int = 3) -> Candidate:
        """Cards of the group, the one of the last issuer latest."""
        for place, number in enumerate(issuers):
            card = GroupCard(charter, members, 9, "rmse", 1.0, 1.0, peer(number), 1.0)
            self.directory.add(card, b"card", self.now, float(len(issuers) - place))
        return Candidate(charter.group_id, charter.name, members)

    def is_candidate(self, charter: Charter) -> bool:
        candidates = self.memory.candidates(HERE.group_id, self.now)
        return charter.group_id in {candidate.group_id for candidate in candidates}

    def do(self, effects: Sequence[Effect]) -> Sequence[Effect]:
        self.effects += effects
        return effects

    def ordered(self, kind: type[object]) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


def address(*numbers: int) -> tuple[PeerAddress, ...]:
    return tuple(PeerAddress(peer(number)) for number in numbers)


def answer_of(member: Member, request: ev.RequestSnapshot, now: float) -> bytes:
    asked = session_events.RequestReceived(ME.peer_id, request.protocol, request.payload)
    effects = member.session.handle(asked, now)
    (answer,) = (e.payload for e in effects if isinstance(e, session_events.Respond))
    return answer


REFUSAL = wire.encode_answer(wire.Refusal("unknown-group", "not a member"))

# --- SnapshotFetch --------------------------------------------------------------------------------


@dataclass
class Fetching:
    """One fetch of `CHARTER`, driven by hand."""

    situation: Situation = field(default_factory=Situation)
    summary: bool = False

    def __post_init__(self) -> None:
        self.situation.tells(CHARTER, 1, 2)
        memory = self.situation.memory
        begun = memory.summarize(CHARTER) if self.summary else memory.fetch(CHARTER)
        self.fetch: SnapshotFetch = begun
        self.effects: Sequence[Effect] = self.fetch.start(self.situation.now)

    @property
    def last(self) -> Effect:
        return self.effects[-1]

    def give(self, event: ev.LookEvent, after: float = 0.0) -> Effect:
        self.situation.now += after
        self.effects = self.fetch.handle(event, self.situation.now)
        return self.last

    def found(self, *numbers: int) -> Effect:
        return self.give(ev.MembersFound(CHARTER.group_id, address(*numbers)))

    def connect(self, connected: bool = True, after: float = 0.0) -> Effect:
        return self.give(ev.ConnectEnded(CHARTER.group_id, connected), after)

    def fail(self, reason: str = "reset", after: float = 0.0) -> Effect:
        return self.give(ev.NotAnswered(CHARTER.group_id, reason), after)

    def ask(self, connected: bool = True) -> PeerId:
        """Who is dialled now, and is asked once connected."""
        assert isinstance(self.last, ev.Connect)
        dialled = self.last.member.peer_id
        self.connect(connected)
        return dialled


def test_members_at_hand_are_asked_first_then_who_is_looked_up_then_who_signed_cards() -> None:
    one = Fetching()
    assert one.last == ev.FindMembers(CHARTER.group_id, "at hand", 1000.0 + FETCH_SECONDS)
    one.found(5)
    assert one.ask() == peer(5)
    assert one.fail() == ev.FindMembers(CHARTER.group_id, "looked up", 1000.0 + LOOK_UP_SECONDS)
    one.found(6)
    assert one.ask() == peer(6)
    one.fail()
    assert one.ask() == peer(2), "whose card is the latest"
    one.fail()
    assert one.ask() == peer(1)
    assert one.fail("refused") == ev.NotFetched(CHARTER.group_id, "refused")


def test_nobody_is_asked_twice_nor_the_node_itself() -> None:
    one = Fetching()
    one.found(1, 2, 99)
    assert {one.ask(), one.fail() and one.ask()} == {peer(1), peer(2)}
    assert isinstance(one.fail(), ev.FindMembers)
    assert one.found(1, 2) == ev.NotFetched(CHARTER.group_id, "reset")


def test_who_cannot_be_reached_is_tried_again_when_another_source_names_it() -> None:
    one = Fetching()
    one.found(1)
    assert one.ask(connected=False) == peer(1)
    one.found(1)  # looked up, with an address this time
    assert one.ask() == peer(1)
    assert isinstance(one.last, ev.RequestSnapshot)


def test_no_more_than_so_many_members_are_asked() -> None:
    one = Fetching()
    one.found(*range(10, 20))
    asked = [one.ask()]
    while isinstance(one.fail(), ev.Connect):
        asked.append(one.ask())
    assert len(set(asked)) == len(asked) == MAX_SOURCES
    assert isinstance(one.last, ev.NotFetched)


def test_members_at_hand_are_asked_in_any_order_but_those_looked_up_as_they_were_named() -> None:
    def first(seed: int) -> PeerId:
        one = Fetching(Situation(seed=seed))
        one.found(*range(10, 20))
        return one.ask()

    assert len({first(seed) for seed in range(20)}) > 3
    one = Fetching()
    one.found()
    one.found(*range(10, 20))
    assert one.ask() == peer(10)


def test_no_member_known_is_said_so() -> None:
    one = Fetching(Situation())
    one.situation.directory.expire(1e6)
    one.found()
    assert one.found() == ev.NotFetched(CHARTER.group_id, "no member is known")


def test_members_that_cannot_be_reached_are_said_so() -> None:
    one = Fetching()
    one.found()
    one.found()
    one.ask(connected=False)
    one.ask(connected=False)
    assert one.last == ev.NotFetched(CHARTER.group_id, "no member can be reached")


def test_nothing_is_waited_for_beyond_the_time_for_the_group() -> None:
    one = Fetching()
    end = 1000.0 + FETCH_SECONDS
    one.found(1, 2, 3)
    assert isinstance(one.last, ev.Connect)
    assert one.last.deadline == 1000.0 + CONNECT_SECONDS
    one.connect(False, after=CONNECT_SECONDS)
    one.connect(after=0.5)
    assert isinstance(one.last, ev.RequestSnapshot)
    assert one.last.deadline == end, "a request has less than its usual time"
    assert one.fail(after=end - one.situation.now) == ev.NotFetched(
        CHARTER.group_id, "no answer in time"
    )


@pytest.mark.parametrize("step", [0.1, 1 / 3, 0.7])
def test_a_clock_that_adds_up_in_floats_does_not_ask_once_more_at_the_deadline(step: float) -> None:
    one = Fetching()
    one.situation.now += step
    one.found(1, 2)
    one.connect()
    assert isinstance(one.last, ev.RequestSnapshot)
    late = one.situation.now + (1000.0 + FETCH_SECONDS - one.situation.now)
    assert isinstance(one.fail(after=late - one.situation.now - 1e-9), ev.NotFetched)


def test_a_snapshot_is_fetched_page_by_page_and_its_authors_are_known_as_members() -> None:
    small = ProbeSettings(page_bytes=1)
    one, members = Fetching(Situation(probe_settings=small)), served(CHARTER)
    one.found(0)
    one.connect()
    pages = 0
    while isinstance(one.last, ev.RequestSnapshot):
        pages += 1
        payload = answer_of(members[0], one.last, one.situation.now)
        one.give(ev.Answered(CHARTER.group_id, payload))
    end = one.last
    assert isinstance(end, ev.Fetched)
    assert pages > 1
    assert end.peer == peer(0)
    assert end.probe.replica.digest() == members[0].session.replica.digest()
    one.situation.tells(CHARTER, 0)
    assert one.situation.directory.standing(CHARTER.group_id) > 0


def test_who_refuses_is_passed_over_and_who_breaks_the_protocol_is_blamed() -> None:
    one, members = Fetching(), served(CHARTER)
    one.found(0)
    one.connect()
    one.give(ev.Answered(CHARTER.group_id, REFUSAL))
    assert not any(isinstance(effect, ev.Penalize) for effect in one.effects)
    one.found(7)
    one.connect()
    one.give(ev.Answered(CHARTER.group_id, b"no message"))
    assert isinstance(one.effects[0], ev.Penalize)
    assert one.effects[0].peer == peer(7)
    one.connect()
    assert isinstance(one.last, ev.RequestSnapshot)
    payload = answer_of(members[0], one.last, one.situation.now)
    assert isinstance(one.give(ev.Answered(CHARTER.group_id, payload)), ev.Fetched)


def test_what_came_from_a_member_that_broke_off_is_kept_for_the_next_look() -> None:
    small = ProbeSettings(page_bytes=1)
    one, members = Fetching(Situation(probe_settings=small)), served(CHARTER)
    one.found(0)
    one.connect()
    assert isinstance(one.last, ev.RequestSnapshot)
    payload = answer_of(members[0], one.last, one.situation.now)
    one.give(ev.Answered(CHARTER.group_id, payload))
    one.fail()
    one.found()
    while not isinstance(one.last, ev.NotFetched):
        one.ask(connected=False)
    assert one.situation.probes.take(CHARTER).replica.member_count == 1


def summarizing(situation: Situation | None = None) -> Fetching:
    """A fetch that is to begin with a summary, of which members 0 and 1 have been named."""
    one = Fetching(situation if situation is not None else Situation(), summary=True)
    one.found(0, 1)
    one.connect()
    assert isinstance(one.last, ev.RequestSnapshot)
    assert one.last.protocol == wire.SUMMARY_PROTOCOL
    return one


def test_a_summary_comes_page_by_page_and_no_probe_is_made_for_it() -> None:
    one, members = (
        summarizing(Situation(probe_settings=ProbeSettings(page_bytes=1))),
        served(CHARTER),
    )
    pages = 0
    while isinstance(one.last, ev.RequestSnapshot):
        pages += 1
        one.give(ev.Answered(CHARTER.group_id, answer_of(members[0], one.last, one.situation.now)))
    assert pages == 2
    assert isinstance(one.last, ev.Summarized)
    assert list(one.last.summary.model.keys("weights")) == [1, 2]
    assert one.last.summary.members == 2


def test_who_does_not_know_what_a_summary_is_is_asked_for_its_snapshot() -> None:
    one, members = summarizing(), served(CHARTER)
    asked = one.last
    assert isinstance(asked, ev.RequestSnapshot)
    one.fail()  # at once: nobody speaks that protocol there
    assert isinstance(one.last, ev.RequestSnapshot)
    assert (one.last.peer, one.last.protocol) == (asked.peer, wire.SNAPSHOT_PROTOCOL)
    payload = answer_of(members[0], one.last, one.situation.now)
    assert isinstance(one.give(ev.Answered(CHARTER.group_id, payload)), ev.Fetched)


def test_who_does_not_answer_in_time_is_not_asked_for_anything_else() -> None:
    one = summarizing()
    asked = one.last
    assert isinstance(asked, ev.RequestSnapshot)
    one.fail(after=asked.deadline - one.situation.now)
    assert isinstance(one.last, ev.Connect)
    one.connect()
    assert isinstance(one.last, ev.RequestSnapshot)
    assert one.last.peer != asked.peer
    assert one.last.protocol == wire.SUMMARY_PROTOCOL


def test_a_summary_that_is_refused_or_malformed_is_asked_of_the_next() -> None:
    one = summarizing()
    one.give(ev.Answered(CHARTER.group_id, REFUSAL))
    assert not any(isinstance(effect, ev.Penalize) for effect in one.effects)
    one.connect()
    one.give(ev.Answered(CHARTER.group_id, b"no message"))
    assert isinstance(one.effects[0], ev.Penalize)


def test_an_event_out_of_turn_is_an_error_of_the_driver() -> None:
    one = Fetching()
    with pytest.raises(ValueError, match="Answered is not what _Finding is for"):
        one.give(ev.Answered(CHARTER.group_id, b""))


# --- Look -----------------------------------------------------------------------------------------


WORSE = -0.5
"""So clearly that nobody would look closer."""
GROUPS = [replace(CHARTER, name=name) for name in ("ska", "dub", "soul", "funk", "punk")]


@dataclass
class Looking:
    """A look or a first look. Members of the groups in `serving` answer; of the others nobody can
    be reached. What is to be compared waits for `judge`."""

    situation: Situation
    serving: Mapping[GroupId, list[Member]]
    results: list[Effect] = field(default_factory=list)
    comparing: list[ev.Compare] = field(default_factory=list)
    asking: list[tuple[ev.RequestSnapshot, Member]] = field(default_factory=list)
    silent: bool = False
    """Requests wait for `answer`."""
    circle_gain: float = 0.0

    def run(self, machine: Look | FirstLook, effects: Sequence[Effect]) -> None:
        """Carry out what follows until all wait."""
        now = self.situation.now
        for effect in self.situation.do(effects):
            event: ev.LookEvent
            match effect:
                case ev.FindMembers():
                    members = self.serving.get(effect.group_id, [])
                    found = tuple(PeerAddress(m.peer_id) for m in members[:1])
                    event = ev.MembersFound(effect.group_id, found)
                case ev.Connect():
                    event = ev.ConnectEnded(effect.group_id, effect.group_id in self.serving)
                case ev.RequestSnapshot():
                    member = self.serving[effect.group_id][0]
                    if self.silent:
                        self.asking.append((effect, member))
                        continue
                    event = ev.Answered(effect.group_id, answer_of(member, effect, now))
                case ev.Compare():
                    self.comparing.append(effect)
                    continue
                case ev.CompareAlone():
                    event = ev.AloneCompared(comparison(0.5))
                case ev.CompareCircle():
                    event = ev.CircleCompared(comparison(self.circle_gain))
                case _:
                    self.results.append(effect)
                    continue
            self.run(machine, machine.handle(event, now))

    def answer(self, machine: Look | FirstLook) -> None:
        request, member = self.asking.pop(0)
        payload = answer_of(member, request, self.situation.now)
        event = ev.Answered(request.group_id, payload)
        self.run(machine, machine.handle(event, self.situation.now))

    def judge(self, machine: Look, gain: float | None, closer: float | None = None) -> None:
        """The comparison that waits longest; and, when the group is looked at closer, that one, too
        (closer: its gain; by default the same)."""
        there = self.comparing.pop(0).there
        event = ev.Compared(there.group_id, None if gain is None else comparison(gain))
        self.run(machine, machine.handle(event, self.situation.now))
        again = next((compare for compare in self.comparing if compare.there == there), None)
        if again is not None:
            self.comparing.remove(again)
            self.comparing.insert(0, again)
            self.judge(machine, gain if closer is None else closer)


def may_be_better(finding: Finding) -> bool:
    """As a policy would say: all but the clearly worse is to be looked at closer."""
    return finding.comparison.gain + finding.comparison.standard_error > -0.01


def look(
    serving: Sequence[Charter] = GROUPS,
    *,
    alone: bool = False,
    situation: Situation | None = None,
    members: Callable[[Charter], list[Member]] = served,
    promising: Callable[[Finding], bool] = may_be_better,
    circle: bool = False,
) -> tuple[Looking, Look]:
    """A look at all `GROUPS`, of which those of `serving` give a snapshot."""
    situation = situation if situation is not None else Situation()
    candidates = tuple(situation.tells(charter, 40 + n) for n, charter in enumerate(GROUPS))
    run = Looking(situation, {charter.group_id: members(charter) for charter in serving})
    current = served(HERE)[0].session.replica.view()
    here = Standpoint(HERE, current, current if circle else None, promising)
    machine = Look(situation.memory, here, LookOrder(candidates, alone, circle))
    run.run(machine, machine.start(situation.now))
    return run, machine


def result_of(run: Looking) -> ev.LookResult:
    (result,) = run.results
    assert isinstance(result, ev.LookResult)
    return result


def test_groups_are_found_in_the_order_of_the_candidates_whoever_answers_first() -> None:
    run, machine = look()
    while run.comparing:
        run.comparing.reverse()
        run.judge(machine, 0.1)
    found = result_of(run).findings
    assert [f.candidate.name for f in found] == [charter.name for charter in GROUPS]
    assert all(f.members == 2 for f in found)
    assert result_of(run).gave_nothing == {}


def test_so_many_groups_are_looked_at_beside_each_other_until_they_are_judged() -> None:
    run, machine = look()
    assert len(run.comparing) == MAX_AT_ONCE
    run.judge(machine, WORSE)
    assert len(run.comparing) == MAX_AT_ONCE
    assert len(run.situation.ordered(ev.Compare)) == MAX_AT_ONCE + 1


def test_the_model_compared_is_the_group_s_without_this_node() -> None:
    run, machine = look(GROUPS[:1], members=lambda charter: taught_by(charter, 0, 99))
    (compare,) = run.comparing
    assert compare.there == GROUPS[0]
    assert list(compare.model.keys("weights")) == [1]
    run.judge(machine, 0.1)
    assert [f.members for f in result_of(run).findings] == [1]


def test_each_group_that_gave_nothing_says_why() -> None:
    empty = {GROUPS[1].group_id}

    def members(charter: Charter) -> list[Member]:
        return served(charter, 0 if charter.group_id in empty else 2) or [
            Rig(quick(), charter).add()
        ]

    run, machine = look(GROUPS[:3], members=members)
    run.judge(machine, 0.1)
    run.judge(machine, None)
    result = result_of(run)
    assert [f.candidate.name for f in result.findings] == ["ska"]
    assert result.gave_nothing == {
        GROUPS[1].group_id: "nobody else has taught it anything",
        GROUPS[2].group_id: "this node has no data to compare by",
        GROUPS[3].group_id: "no member can be reached",
        GROUPS[4].group_id: "no member can be reached",
    }


def test_a_group_whose_cards_have_expired_is_not_looked_at() -> None:
    situation = Situation()
    order = LookOrder((Candidate(GROUPS[0].group_id, "ska", 3),), alone=False)
    here = Standpoint(HERE, served(HERE)[0].session.replica.view())
    machine = Look(situation.memory, here, order)
    (result,) = machine.start(situation.now)
    assert isinstance(result, ev.LookResult)
    assert result.gave_nothing == {GROUPS[0].group_id: "it is not known any more"}


def test_training_alone_is_compared_last_and_only_when_that_was_ordered() -> None:
    run, machine = look(alone=True)
    for _ in GROUPS:
        assert not run.situation.ordered(ev.CompareAlone)
        run.judge(machine, 0.1)
    assert len(run.situation.ordered(ev.CompareAlone)) == 1
    assert result_of(run).alone == comparison(0.5)
    run, machine = look(())
    assert result_of(run).alone is None
    assert not run.situation.ordered(ev.CompareAlone)


@pytest.mark.parametrize(
    ("gain", "asked"),
    [(WORSE, [wire.SUMMARY_PROTOCOL]), (0.1, [wire.SUMMARY_PROTOCOL, wire.SNAPSHOT_PROTOCOL])],
)
def test_what_a_look_has_fetched_is_not_fetched_again(gain: float, asked: list[str]) -> None:
    situation = Situation()
    kept = {charter.group_id: served(charter) for charter in GROUPS[:1]}
    sizes = []
    for _ in range(2):
        situation.effects.clear()
        run, machine = look(GROUPS[:1], situation=situation, members=lambda c: kept[c.group_id])
        run.judge(machine, gain)
        requests = [e for e in situation.effects if isinstance(e, ev.RequestSnapshot)]
        assert [request.protocol for request in requests] == asked
        (member, *_) = kept[GROUPS[0].group_id]
        sizes.append([len(answer_of(member, request, situation.now)) for request in requests])
    assert all(second < first / 2 for first, second in zip(*sizes, strict=True)), sizes


def test_a_group_that_is_clearly_worse_is_judged_by_its_summary_alone() -> None:
    run, machine = look(GROUPS[:1])
    run.judge(machine, WORSE)
    (found,) = result_of(run).findings
    assert (found.signed, found.members, found.comparison) == (False, 2, comparison(WORSE))
    assert run.situation.probes.take(GROUPS[0]).replica.member_count == 0


def test_one_that_may_be_better_is_fetched_signed_and_that_is_what_counts() -> None:
    run, machine = look(GROUPS[:1])
    run.judge(machine, 0.2, closer=0.15)
    (found,) = result_of(run).findings
    assert (found.signed, found.members, found.comparison) == (True, 2, comparison(0.15))
    compared = [e.model for e in run.situation.effects if isinstance(e, ev.Compare)]
    summary, signed = (model.rows("weights", model.keys("weights")) for model in compared)
    assert np.abs(summary - signed).max() <= np.abs(signed).max() / 127


def test_what_is_to_be_looked_at_closer_is_the_caller_s_to_say() -> None:
    asked: list[tuple[float, int]] = []

    def never(found: Finding) -> bool:
        asked.append((found.comparison.gain, found.members))
        return False

    run, machine = look(GROUPS[:1], promising=never)
    run.judge(machine, 0.1)
    assert asked == [(0.1, 2)]
    assert not result_of(run).findings[0].signed


@pytest.mark.parametrize("circle_gain", [0.0, 0.1])
def test_who_is_in_a_group_is_looked_up_when_a_circle_of_its_own_may_be_better(
    circle_gain: float,
) -> None:
    run, machine = look(GROUPS[:2], circle=True)
    run.circle_gain = circle_gain
    run.situation.memory.acquaintances.judged({peer(0): 2.0, peer(1): 2.0})
    run.judge(machine, WORSE)
    run.judge(machine, WORSE)
    while run.comparing:
        run.judge(machine, WORSE)
    found = result_of(run).findings
    better = circle_gain > 0
    assert [(f.signed, f.kin) for f in found] == [(better, better)] * 2
    assert result_of(run).circle == comparison(circle_gain)


def test_whose_summary_promised_too_much_is_asked_for_none_again() -> None:
    situation = Situation()
    for gain, closer, asked in (
        (0.2, 0.19, [wire.SUMMARY_PROTOCOL, wire.SNAPSHOT_PROTOCOL]),  # about what it said
        (0.2, -0.2, [wire.SUMMARY_PROTOCOL, wire.SNAPSHOT_PROTOCOL]),
        (0.2, 0.2, [wire.SNAPSHOT_PROTOCOL]),
    ):
        situation.effects.clear()
        run, machine = look(GROUPS[:1], situation=situation)
        run.judge(machine, gain, closer)
        requests = [e for e in situation.effects if isinstance(e, ev.RequestSnapshot)]
        assert [request.protocol for request in requests] == asked


def test_a_summary_of_a_group_that_serves_no_snapshot_moves_nobody() -> None:
    run, machine = look(GROUPS[:1])
    run.silent = True
    run.judge(machine, 0.3)
    while run.asking:
        request, _ = run.asking.pop()
        assert request.protocol == wire.SNAPSHOT_PROTOCOL
        event = ev.Answered(request.group_id, REFUSAL)
        run.run(machine, machine.handle(event, run.situation.now))
    assert result_of(run).findings == ()
    assert result_of(run).gave_nothing[GROUPS[0].group_id]


def test_a_group_of_which_nobody_answered_waits_twice_as_long_each_time() -> None:
    situation = Situation()
    pauses = []
    for _ in range(8):
        look((), situation=situation)
        began = situation.now
        for charter in GROUPS[1:]:
            situation.memory.gave_something(charter.group_id)
        while all(
            c.name != "ska" for c in situation.memory.candidates(HERE.group_id, situation.now)
        ):
            situation.now += 1.0
            situation.tells(GROUPS[0], 40)
        pauses.append(situation.now - began)
    expected = [min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0**n) for n in range(8)]
    assert pauses == expected


def test_one_that_answers_again_is_looked_at_as_usual() -> None:
    situation = Situation()
    look((), situation=situation)
    situation.memory.gave_something(GROUPS[0].group_id)
    (candidate,) = situation.memory.candidates(HERE.group_id, situation.now)
    assert candidate.name == "ska"


def test_groups_that_this_node_cannot_join_are_no_candidates_nor_is_its_own() -> None:
    situation = Situation(fits=lambda charter: charter.name != "dub")
    for charter in (*GROUPS, HERE):
        situation.tells(charter, 40)
    names = {c.name for c in situation.memory.candidates(HERE.group_id, situation.now)}
    assert names == {"ska", "soul", "funk", "punk"}


def test_a_minute_s_bytes_are_not_exceeded_by_looks_and_come_back_with_time() -> None:
    situation = Situation(settings=LookSettings(bytes_per_minute=500.0))
    run, machine = look(GROUPS[:3], situation=situation)
    for _ in range(3):
        run.judge(machine, 0.1)
    assert len(result_of(run).findings) == 3, "what is under way comes to its end"
    run, _ = look(situation=situation)
    reasons = set(result_of(run).gave_nothing.values())
    assert reasons == {"enough was fetched for this minute"}
    situation.now += 300.0
    run, machine = look(GROUPS[:1], situation=situation)
    assert run.comparing


# --- FirstLook ------------------------------------------------------------------------------------


def first_look(
    charters: Sequence[Charter], sizes: Mapping[str, int], *, silent: bool = False
) -> tuple[Looking, FirstLook]:
    situation = Situation()
    candidates = [situation.tells(charter, 40) for charter in charters]
    kept = {c.group_id: served(c, sizes[c.name]) for c in charters if c.name in sizes}
    run = Looking(situation, kept, silent=silent)
    machine = FirstLook(situation.memory, candidates)
    run.run(machine, machine.start(situation.now))
    return run, machine


def begun_in(run: Looking) -> list[tuple[str, int]]:
    (result,) = run.results
    assert isinstance(result, ev.FirstLookResult)
    return [(one.charter.name, one.members) for one in result.served]


def test_the_group_of_most_contributions_comes_first() -> None:
    run, _ = first_look(GROUPS[:3], {"ska": 1, "dub": 3})
    assert begun_in(run) == [("dub", 3), ("ska", 1)]


def test_a_first_look_of_no_groups_is_over_at_once() -> None:
    run, _ = first_look((), {})
    assert begun_in(run) == []


def test_others_are_waited_for_a_little_once_one_has_come() -> None:
    run, machine = first_look(GROUPS[:2], {"ska": 1, "dub": 2}, silent=True)
    assert machine.next_wake == run.situation.now + FIRST_LOOK_SECONDS
    run.answer(machine)
    assert not run.results
    assert machine.next_wake == run.situation.now + FIRST_LOOK_MORE_SECONDS
    run.situation.now = machine.next_wake
    run.run(machine, machine.handle(ev.TimerFired(), run.situation.now))
    assert len(begun_in(run)) == 1


def test_nobody_waits_longer_than_for_the_first_look() -> None:
    run, machine = first_look(GROUPS[:2], {"ska": 1, "dub": 2}, silent=True)
    run.situation.now = machine.next_wake
    run.run(machine, machine.handle(ev.TimerFired(), run.situation.now))
    assert begun_in(run) == []


def test_no_more_than_so_many_groups_are_asked_half_of_them_by_lot() -> None:
    charters = [replace(CHARTER, name=f"group-{n:02}") for n in range(20)]

    def asked(seed: int) -> set[GroupId]:
        situation = Situation(seed=seed)
        candidates = [situation.tells(c, n, members=20 - n) for n, c in enumerate(charters)]
        machine = FirstLook(situation.memory, candidates)
        effects = machine.start(situation.now)
        return {effect.group_id for effect in effects if isinstance(effect, ev.FindMembers)}

    best = {charter.group_id for charter in charters[: FIRST_LOOK_GROUPS // 2]}
    drawn = [asked(seed) for seed in range(5)]
    assert all(len(groups) == FIRST_LOOK_GROUPS and best < groups for groups in drawn)
    assert len(set.union(*drawn)) > FIRST_LOOK_GROUPS


def test_nothing_of_a_first_look_is_kept() -> None:
    run, _ = first_look(GROUPS[:1], {"ska": 2})
    assert run.situation.probes.take(GROUPS[0]).replica.member_count == 0
