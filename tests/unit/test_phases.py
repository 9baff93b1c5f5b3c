"""The table of phases: complete, used by the session, and shown as it is in the documents."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from openfl.group import events as ev
from openfl.group.phases import CAUSES, EVENTS, PHASES, TRANSITIONS, PhaseTracker, phases_markdown
from openfl.network.base import Verdict
from tests.group_rig import Rig, peer, quick

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"


def test_the_document_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition("<!-- phases -->\n")[2].partition("<!-- /phases -->\n")[0]
    assert shown == phases_markdown(), "run `make docs-phases`"


def test_every_event_phase_and_cause_is_in_the_table() -> None:
    assert set(EVENTS) == set(get_args(ev.Event))
    assert {place for row in EVENTS.values() for place in row.heard} == {*PHASES, "left"}
    assert {cause for _, cause in TRANSITIONS} == set(CAUSES)
    assert {phase for phase, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(PHASES)


def test_only_what_the_table_has_leads_on() -> None:
    tracker = PhaseTracker()
    with pytest.raises(ValueError, match="rounds-done"):
        tracker.follow("rounds-done")
    for cause, phase in (("joined", "waiting"), ("enough-members", "learning")):
        tracker.follow(cause)  # type: ignore[arg-type]
        assert tracker.phase == phase


def test_a_session_does_nothing_with_events_that_the_table_does_not_let_it_hear() -> None:
    rig = Rig(quick())
    member = rig.add()
    rig.join(member)
    assert member.session.phase == "learning"
    assert member.session.handle(ev.SnapshotGiven(None), rig.now) == []
    rig.give(member, ev.LeaveRequested())
    assert member.session.phase == "learning", "what it was when it left"
    for event in (
        ev.TimerFired(),
        ev.DiscoveryEnded(True),
        ev.MembersReachable(frozenset({peer(9)})),
        ev.AnswerReceived(1, peer(9), b""),
        ev.RequestFailed(1, peer(9), "no answer"),
        ev.LeaveRequested(),
    ):
        assert member.session.handle(event, rig.now) == []
    assert member.session.faults["request-failed"] == 1
    (judged,) = member.session.handle(ev.GossipReceived(peer(9), peer(9), b""), rig.now)
    assert judged == ev.Judge(Verdict.IGNORE, "left")
    assert member.session.next_wake == float("inf")
