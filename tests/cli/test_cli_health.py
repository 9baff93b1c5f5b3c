"""`status --healthy` and `wait`: what counts as healthy, and what is still missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import T0, FakeControl, make_snapshot

from openfl.core.errors import NotRunningError, StateError
from openfl.core.telemetry import NodeEvent, Notice
from openfl.node.notices import LASTING
from openfl_cli import exit_codes, main
from openfl_cli.health import HARMLESS, PHASES, Wanted, what_is_wrong


def shot(**changes: Any) -> Any:
    return replace(make_snapshot(interval_seconds=2.0), **changes)


def test_a_node_that_learns_is_healthy() -> None:
    assert what_is_wrong(shot()) == ""


@pytest.mark.parametrize("phase", ["waiting", "done"])
def test_a_node_that_has_nothing_to_learn_now_is_healthy(phase: str) -> None:
    assert what_is_wrong(shot(phase=phase, time=T0 + 1e6)) == ""


@pytest.mark.parametrize("phase", ["starting", "joining", "stopping", "stopped"])
def test_a_node_in_no_group_is_not(phase: str) -> None:
    assert what_is_wrong(shot(phase=phase)).startswith(f"{phase}: it is in no group")


@pytest.mark.parametrize("kind", sorted({*LASTING, "waiting"}))
def test_a_notice_says_what_is_wrong_unless_it_is_harmless(kind: str) -> None:
    said = what_is_wrong(shot(notices=(Notice(kind, "what is the matter\x1b[2J"),)))
    assert said == ("" if kind in HARMLESS else f"{kind}: what is the matter\ufffd[2J")


def test_a_node_whose_rounds_stand_still_is_not() -> None:
    last = max(event.time for event in shot().events)
    assert what_is_wrong(shot(time=last + 120)) == ""
    still = what_is_wrong(shot(time=last + 121))
    assert still == "no round for 2:01, though one is due every 2 s (still round 7)"
    assert what_is_wrong(shot(time=last + 121, interval_seconds=30.0)) == ""
    assert what_is_wrong(shot(time=last + 301, interval_seconds=30.0))


def test_rounds_stand_still_although_other_things_happen() -> None:
    others = tuple(NodeEvent(T0 + n, "info", "peer-lost", "gone") for n in range(200, 250))
    assert what_is_wrong(shot(events=others, time=T0 + 250)) == ""
    assert what_is_wrong(shot(events=others, time=T0 + 321)).startswith("no round for 2:01")


def test_a_node_that_has_only_just_joined_has_time_for_its_first_round() -> None:
    joined = (NodeEvent(T0 + 500, "info", "joined", "joined"),)
    assert what_is_wrong(shot(events=joined, round=0, time=T0 + 510)) == ""
    assert what_is_wrong(shot(events=joined, round=0, time=T0 + 621))
    assert what_is_wrong(shot(events=(), round=0, started_at=T0, time=T0 + 100)) == ""


def test_the_command_says_it_in_a_line_and_an_exit_code(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["status", "--healthy"]) == exit_codes.UNMET
    assert capsys.readouterr().out.startswith("not healthy: no node is running in ")
    control.answers["snapshot"] = shot().to_plain()
    assert main.run(["status", "--healthy"]) == exit_codes.SUCCESS
    assert capsys.readouterr().out == "healthy: round 7 of music, 4 members, learning\n"
    control.answers["snapshot"] = shot(notices=(Notice("deaf", "hears nobody"),)).to_plain()
    assert main.run(["status", "--healthy", "--json"]) == exit_codes.UNMET
    plain = json.loads(capsys.readouterr().out)
    assert (plain["healthy"], plain["why"]) == (False, "deaf: hears nobody")


@pytest.mark.parametrize(
    "command",
    [["status"], ["status", "--healthy"], ["status", "--watch"], ["wait"], ["peers"]],
)
@pytest.mark.parametrize("plain", [{**shot().to_plain(), "of_tomorrow": 1}, {}, None])
def test_a_node_of_another_version_is_said_to_be_one(
    command: list[str], plain: Any, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an upgrade, before the restart."""
    control.answers["snapshot"] = plain
    assert main.run(command) == exit_codes.STATE
    said = capsys.readouterr().err
    assert "another version of OpenFL than this command: openfl-node restart" in said


def test_a_node_that_hangs_does_not_make_a_script_wait_longer(
    control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience: list[float] = []

    def hangs(home: Path, command: str, timeout_seconds: float = 10.0, **_: Any) -> Any:
        patience.append(timeout_seconds)
        raise NotRunningError("it did not answer")

    monkeypatch.setattr("openfl.app.control_socket.call", hangs)
    assert main.run(["wait", "--timeout", "0.2"]) == exit_codes.UNMET
    assert max(patience) <= 1


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (Wanted(), ()),
        (Wanted(members=4, round=7, group="music", phase="learning", useful=True), ()),
        (Wanted(members=5), ("4 of 5 members",)),
        (Wanted(round=8), ("round 7 of 8",)),
        (Wanted(group="jazz"), ("in group music, not jazz",)),
        (Wanted(group="0123"), ()),
        (Wanted(group="012"), ("in group music, not 012",)),
        (Wanted(phase="done"), ("phase learning, not done",)),
        (Wanted(members=5, round=8), ("4 of 5 members", "round 7 of 8")),
    ],
)
def test_what_is_waited_for_and_missing_is_said(wanted: Wanted, missing: tuple[str, ...]) -> None:
    assert wanted.missing(shot(useful_after=1.0)) == missing


def test_what_is_not_there_at_all_is_missing() -> None:
    assert Wanted(useful=True).missing(shot()) == ("no model that others taught",)
    nowhere = shot(group_name="", group_id="")
    assert Wanted(group="music").missing(nowhere) == ("in no group, not music",)


@pytest.mark.parametrize("phase", [*PHASES, "stopping", "stopped"])
def test_who_has_done_its_rounds_has_learned(phase: str) -> None:
    assert (Wanted(phase="learning").missing(shot(phase=phase)) == ()) is (
        phase in ("learning", "done")
    )


def test_wait_ends_once_all_is_so_at_the_same_time(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    course = [
        NotRunningError("no node is running"),
        replace(make_snapshot(members=1), round=1),
        replace(make_snapshot(members=4), round=2),
        replace(make_snapshot(members=3), round=3),
        replace(make_snapshot(members=4), round=3),
        replace(make_snapshot(members=1), round=4),
    ]
    looks = iter(course)

    def snapshot() -> Any:
        look = next(looks)
        return look if isinstance(look, Exception) else look.to_plain()

    control.answers["snapshot"] = snapshot
    assert main.run(["wait", "--members", "4", "--round", "3"]) == exit_codes.SUCCESS
    assert capsys.readouterr().out == "round 3 of music, 4 members, learning\n"
    assert len(control.calls) == 5


def test_wait_says_at_the_end_what_is_missing(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["wait", "--timeout", "0.01"]) == exit_codes.UNMET
    assert "not so after 0.01 s: no node is running" in capsys.readouterr().err
    control.answers["snapshot"] = shot().to_plain()
    options = ["--members", "9", "--phase", "done", "--timeout", "0.01"]
    assert main.run(["wait", *options]) == exit_codes.UNMET
    assert capsys.readouterr().err == (
        "openfl-node: not so after 0.01 s: 4 of 9 members; phase learning, not done"
        " (it is in round 7 of music, 4 members, learning)\n"
    )


def test_what_waiting_does_not_mend_ends_it(control: FakeControl) -> None:
    control.answers["snapshot"] = StateError("control.sock belongs to somebody else")
    assert main.run(["wait"]) == exit_codes.STATE


@pytest.mark.parametrize(
    "options", [["--members", "0"], ["--round", "x"], ["--phase", "joining"], ["--timeout", "0"]]
)
def test_what_cannot_be_waited_for_is_refused(options: list[str], tmp_path: Path) -> None:
    assert main.run(["wait", *options]) == exit_codes.USAGE
