from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from cli_fakes import T0, make_event, make_snapshot
from rich.console import Console
from syrupy.assertion import SnapshotAssertion

from openfl.core.telemetry import (
    DecisionView,
    ItemsView,
    NodeSnapshot,
    Notice,
    PrivacyView,
    SwitchingView,
)
from openfl_cli.status_json import status_json
from openfl_cli.view import NodeView, bar


def drawn(shot: NodeSnapshot, width: int = 80, running: bool = True) -> str:
    """The view as text without colour, lines stripped of trailing spaces."""
    console = Console(width=width, height=25, file=io.StringIO(), color_system=None, _environ={})
    options = console.options.update(width=width)
    text = "".join(part.text for part in console.render(NodeView(shot, running), options))
    return "\n".join(line.rstrip() for line in text.split("\n"))


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Wall-clock times in the pictures do not depend on where the tests run."""
    import time

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_view_at_a_fixed_width(width: int, snapshot: SnapshotAssertion) -> None:
    assert drawn(make_snapshot(), width) == snapshot


def test_how_many_items_the_group_knows_and_rows_that_were_skipped_are_seen() -> None:
    shot = make_snapshot(items=ItemsView("songs", 300, 0, 301), skipped_rows=5)
    text = drawn(shot, 80)
    words = " ".join(text.split())
    asked = "known 0 of your 300 songs are among the group's 301: are the ids written alike?"
    assert asked in words
    assert "5 rows of the data skipped" in words
    plain = status_json(shot, running=True)
    known = {"noun": "songs", "mine": 300, "known": 0, "group": 301}
    assert plain["items"] == known
    named = make_snapshot(items=ItemsView("songs", 300, 5, 301, named=290))
    words = " ".join(drawn(named, 80).split())
    assert "5 of your 300 songs are among the group's 301; 290 have a name here" in words
    assert status_json(named, running=True)["items"]["named"] == 290
    assert plain["skipped_rows"] == 5
    assert "known" not in drawn(make_snapshot(), 80)
    assert status_json(make_snapshot(), running=True)["items"] is None


def with_left_out(reason: str) -> NodeSnapshot:
    """The usual snapshot, but for one member that this node leaves out."""
    shot = make_snapshot()
    last = replace(shot.members[-1], left_out=reason)
    return replace(shot, members=(*shot.members[:-1], last))


def test_who_is_left_out_is_seen_with_the_reason() -> None:
    text = drawn(with_left_out("harms predictions here"), 80)
    assert "1 left out of this node's model" in text
    assert "harms predictions here" in text


def test_where_nobody_is_left_out_nothing_is_said_of_it() -> None:
    assert "left out" not in drawn(make_snapshot(), 120)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_reason_does_not_break_a_narrow_view(width: int) -> None:
    text = drawn(with_left_out("claims much evidence, unproven"), width)
    assert max(len(line) for line in text.splitlines() if "/p2p/" not in line) <= width
    (line,) = (line for line in text.splitlines() if "claim" in line)
    assert "0.8400" in line, "numbers are not cut short for it"


def test_a_node_that_has_nothing_yet_is_drawn() -> None:
    bare = make_snapshot(
        members=0,
        events=0,
        phase="starting",
        multiaddrs=(),
        round=0,
        rounds=0,
        validation=None,
        alone=None,
        history=(),
    )
    picture = drawn(bare)
    assert "0 members" in picture
    assert "0 peers connected" in picture
    assert "opening the network" in picture
    assert "course" not in picture


def test_a_multiaddr_is_never_cut_because_people_copy_it() -> None:
    address = make_snapshot().multiaddrs[0]
    for width in (60, 120):
        assert address in drawn(make_snapshot(), width).splitlines()


def test_events_cannot_steer_the_terminal_or_style_themselves() -> None:
    shot = make_snapshot(events=0)
    nasty = make_event(1, message="\x1b[2Jgone [bold red]big[/]\nsecond line")
    picture = drawn(NodeSnapshot(**{**vars_of(shot), "events": (nasty,)}))
    assert "\x1b" not in picture
    assert "[bold red]big[/] second line" in picture


def test_warnings_are_marked_in_words_not_only_in_colour() -> None:
    warning = make_event(1, level="warning", message="bootstrap unreachable")
    shot = NodeSnapshot(**{**vars_of(make_snapshot(events=0)), "events": (warning,)})
    assert "warning: bootstrap unreachable" in drawn(shot)


def test_what_is_wrong_is_shown_as_long_as_it_lasts() -> None:
    text = "waiting for 1 bootstrap address: connection refused, next try in 8 s"
    shot = make_snapshot(notices=(Notice("waiting", text, {"addresses": 1}),))
    assert f"note   {text}" in drawn(shot, 80)
    assert text not in drawn(shot, running=False)  # that was so when it was saved
    assert NodeSnapshot.from_plain(shot.to_plain()) == shot
    assert "note   " not in drawn(make_snapshot(), 80)


def test_an_interval_that_the_load_lengthens_is_shown() -> None:
    text = "interval 2.0 -> 5.1 s: the processor is the limit"
    notices = (Notice("interval-lengthened", text, {}),)
    shot = make_snapshot(notices=notices, interval_seconds=5.62)
    assert f"note   {text}" in drawn(shot, 80)
    assert "one every 5.6 s" in drawn(shot, 80)
    assert "one every" not in drawn(make_snapshot(interval_seconds=2.0), 80)


def test_a_saved_picture_says_that_the_node_is_not_running() -> None:
    assert "not running" in drawn(make_snapshot(), running=False)
    assert "not running" not in drawn(make_snapshot())


def test_since_when_the_node_is_useful_is_seen_while_it_runs() -> None:
    shot = NodeSnapshot(**{**vars_of(make_snapshot()), "useful_after": 1.44})
    assert ", useful after 1.4 s" in drawn(shot)
    assert "useful" not in drawn(shot, running=False)
    assert "useful" not in drawn(make_snapshot())
    assert NodeSnapshot.from_plain(shot.to_plain()) == shot
    assert status_json(shot, running=True)["useful_after_seconds"] == 1.44
    assert "useful_after_seconds" not in status_json(shot, running=False)


def test_faults_survived_are_told_in_words_and_none_is_silent() -> None:
    kinds = {"identify-failed": 3, "undecodable": 1, "gossip-rate": 2, "dht-slow": 1, "new": 1}
    picture = drawn(make_snapshot(faults=kinds))
    assert "faults a peer left while it introduced itself, 3 times" in picture
    assert "faults a member sent messages faster than it may, twice" in picture
    assert "faults and 2 other kinds, all survived" in picture
    assert "faults" not in drawn(make_snapshot(faults={}))


def test_why_it_is_where_it_is_is_told_while_that_is_news() -> None:
    moved = DecisionView(T0 + 90, "move", "moved from music to jazz: 4.2 % better")
    stayed = DecisionView(T0 + 95, "stay", "stayed in jazz: nothing better is known")
    shot = make_snapshot(switching=SwitchingView(why="moved to jazz", decisions=(moved, stayed)))
    assert "why    moved from music to jazz: 4.2 % better" in drawn(shot)
    assert "why" not in drawn(replace(shot, time=T0 + 2000))
    only_stayed = SwitchingView(why="stayed in jazz: nothing better", decisions=(stayed,))
    assert "why" not in drawn(make_snapshot(switching=only_stayed))


def test_what_was_spent_of_the_privacy_budget_is_shown_where_there_is_one() -> None:
    assert "privacy" not in drawn(make_snapshot())
    budget = PrivacyView(4.123, 8.0, 1e-5, 1.8, 3.0, 3, 5)
    again = NodeSnapshot.from_plain(make_snapshot(privacy=budget).to_plain())
    assert again.privacy == budget
    line = "privacy epsilon 4.12 of 8 spent (delta 1e-05), 5 rounds left"
    assert line in drawn(make_snapshot(privacy=budget))
    spent = replace(budget, epsilon_spent=7.99, releases_left=0)
    line = "privacy epsilon 7.99 of 8 spent (delta 1e-05), spent: nothing more is published"
    assert line in drawn(make_snapshot(privacy=spent))


def test_rounds_are_of_so_many_only_while_that_makes_sense() -> None:
    assert "round 7 of 12  ━" in drawn(make_snapshot())
    for rounds in (0, 5):
        assert "round 7\n" in drawn(make_snapshot(rounds=rounds))


def test_the_bar_is_full_when_done_and_never_overflows() -> None:
    assert bar(5, 10, 10) == "━" * 5 + "─" * 5
    assert bar(12, 10, 10) == "━" * 10
    assert bar(0, 10, 4, ascii_only=True) == "...."


def test_a_terminal_without_unicode_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    console = Console(file=stream, width=80, color_system=None, _environ={})
    console.print(NodeView(make_snapshot()))
    stream.flush()
    picture = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "course 1.1000 #" in picture
    assert "?" not in picture.replace("12D3?", "")


def vars_of(shot: NodeSnapshot) -> dict[str, Any]:
    return {name: getattr(shot, name) for name in shot.__dataclass_fields__}
