"""Nodes in the background, with stand-ins: what is remembered of a start, `restart`, `stop`, what
`start --detach` says. With real processes: tests/loopback/test_background.py."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import PEER_IDS, FakeControl, FakeRuntime, make_snapshot

from openfl.core.errors import StateError
from openfl.storage.home import Home
from openfl_cli import background, exit_codes, last_start, main
from openfl_cli.last_start import LastStart, start_arguments


@pytest.fixture
def home(clean_environment: Path) -> Path:
    clean_environment.mkdir()
    return clean_environment


class Spawned:
    """Stands in for the processes of `openfl_cli.background`."""

    def __init__(self) -> None:
        self.checked: list[LastStart] = []
        self.started: list[LastStart] = []
        self.check_code = exit_codes.SUCCESS

    def check_start(self, home: Path, start: LastStart) -> int:
        self.checked.append(start)
        return self.check_code

    def start_detached(self, home: Path, start: LastStart, as_json: bool) -> int:
        self.started.append(start)
        return exit_codes.SUCCESS


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> Spawned:
    fake = Spawned()
    monkeypatch.setattr(background, "check_start", fake.check_start)
    monkeypatch.setattr(background, "start_detached", fake.start_detached)
    return fake


@contextlib.contextmanager
def running(home: Path, control: FakeControl) -> Iterator[None]:
    """A node that holds its home until it is asked to stop."""
    place = Home(home)
    place.prepare()
    with contextlib.ExitStack() as held:
        held.enter_context(place.lock())

        def stop(leave: bool) -> None:
            held.close()

        control.answers["stop"] = stop
        yield


# --- what is remembered -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (["start"], []),
        (["--home", "x", "start", "--rounds", "3"], ["--rounds", "3"]),
        (["--home=x", "start", "--home", "y", "--detach", "--mdns"], ["--mdns"]),
        (["start", "--home=y", "--ready-fd", "7", "--service", "user:a", "--pin"], ["--pin"]),
        (["start", "--stop-with-stdin", "--pin"], ["--pin"]),
        (["start", "--group", "start", "--data=--detach"], ["--group", "start", "--data=--detach"]),
    ],
)
def test_what_is_kept_of_a_start_is_all_but_its_home_and_how_it_runs(
    argv: list[str], kept: list[str]
) -> None:
    assert start_arguments(argv) == kept


def test_names_that_are_not_text_are_remembered_too(home: Path) -> None:
    start = LastStart(("--data", os.fsdecode(b"\xff.csv"), "--group", "ünïcode"), "/")
    last_start.save(home, start)
    assert last_start.load(home) == start


def test_a_place_that_was_confirmed_is_remembered_with_its_peer() -> None:
    argv = ["start", "--bootstrap", "a:1", "--http", "a:1", "--bootstrap=b:2", "--bootstrap", "/c"]
    start = LastStart.of(argv, "/", {}, whole={"a:1": "/A", "b:2": "/B", "/c": "/c"})
    assert start.arguments == (
        *("--bootstrap", "/A", "--http", "a:1", "--bootstrap=/B", "--bootstrap", "/c"),
    )


def test_every_start_is_remembered_with_its_folder_and_variables(
    runtime: FakeRuntime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setenv("OPENFL_TRAINING_INTERVAL_SECONDS", "0.5")
    assert main.run(["start", "--rounds", "1", "--home", str(home)]) == exit_codes.SUCCESS
    variables = {"OPENFL_TRAINING_INTERVAL_SECONDS": "0.5"}
    assert last_start.load(home) == LastStart(("--rounds", "1"), str(home), variables)
    assert (home / "last-start.json").stat().st_mode & 0o777 == 0o600


def test_a_start_that_cannot_be_remembered_starts_all_the_same(
    runtime: FakeRuntime, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StateError("last-start.json: cannot be saved: the disk is full")

    monkeypatch.setattr(last_start, "save", full)
    assert main.run(["start", "--rounds", "1"]) == exit_codes.SUCCESS
    assert "last-start.json: cannot be saved" in (home / "node.log").read_text()


def test_a_start_that_fails_is_not_remembered(runtime: FakeRuntime, home: Path) -> None:
    def fail() -> None:
        raise StateError("another node is running in this home folder")

    runtime.on_open = fail
    assert main.run(["start", "--rounds", "1"]) == exit_codes.STATE
    assert last_start.load(home) is None


def test_what_root_tries_for_somebody_is_tried_in_their_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: dict[str, Any] = {}

    def run(words: list[str], **how: Any) -> Any:
        ran.update(how)
        return subprocess.CompletedProcess(words, exit_codes.SUCCESS)

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("subprocess.run", run)
    start = LastStart((), "/", {"OPENFL_VIEW_ENABLED": "false"})
    assert background.check_start(home, start, "nobody") == exit_codes.SUCCESS
    nobody = pwd.getpwnam("nobody")
    assert (ran["user"], ran["env"]["HOME"]) == (nobody.pw_uid, nobody.pw_dir)
    assert ran["env"]["OPENFL_VIEW_ENABLED"] == "false"


def test_whose_variables_count_when_it_is_started_again() -> None:
    start = LastStart((), "/", {"OPENFL_A": "then"})
    now = {"OPENFL_A": "now", "OPENFL_B": "now", "PATH": "/bin"}
    assert start.environment_over(now) == {"OPENFL_A": "then", "PATH": "/bin"}


GOOD = {"format": 1, "arguments": ["--pin"], "folder": "/", "environment": {}, "service": ""}


@pytest.mark.parametrize(
    "plain",
    [
        {},
        [],
        {**GOOD, "format": 2},
        {**GOOD, "arguments": "--pin"},
        {**GOOD, "arguments": [1]},
        {**GOOD, "folder": "a\0b"},
        {**GOOD, "environment": {"LD_PRELOAD": "/tmp/evil.so"}},
        {**GOOD, "environment": {"OPENFL_A": 1}},
        {**GOOD, "environment": []},
    ],
)
def test_what_does_not_say_how_a_node_was_started_is_refused(plain: Any, home: Path) -> None:
    Home(home).start_file.write_text(json.dumps(GOOD))
    assert last_start.load(home) == LastStart(("--pin",), "/")
    Home(home).start_file.write_text(json.dumps(plain))
    with pytest.raises(StateError, match=r"last-start\.json: does not say how"):
        last_start.load(home)


# --- restart and stop ---------------------------------------------------------------------------


def test_restart_stops_the_node_and_starts_it_as_it_was_started(
    home: Path, control: FakeControl, spawned: Spawned, capsys: pytest.CaptureFixture[str]
) -> None:
    start = LastStart(("--rounds", "9"), "/", {"OPENFL_VIEW_ENABLED": "false"})
    last_start.save(home, start)
    with running(home, control):
        assert main.run(["restart"]) == exit_codes.SUCCESS
    assert spawned.checked == spawned.started == [start]
    assert [call[1] for call in control.calls] == ["stop"]
    assert capsys.readouterr().out == "stopped\n"


def test_restart_starts_a_node_that_does_not_run(
    home: Path, control: FakeControl, spawned: Spawned
) -> None:
    last_start.save(home, LastStart((), "/"))
    assert main.run(["restart"]) == exit_codes.SUCCESS
    assert len(spawned.started) == 1
    assert control.calls == []


def test_a_mistake_in_the_configuration_leaves_the_node_running(
    home: Path, control: FakeControl, spawned: Spawned, capsys: pytest.CaptureFixture[str]
) -> None:
    last_start.save(home, LastStart((), "/"))
    spawned.check_code = exit_codes.CONFIG
    with running(home, control):
        assert main.run(["restart"]) == exit_codes.CONFIG
    assert (spawned.started, control.calls) == ([], [])
    assert "the node goes on as it was" in capsys.readouterr().err


def test_restart_of_what_was_never_started_says_so(
    home: Path, control: FakeControl, spawned: Spawned, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["restart"]) == exit_codes.NOT_RUNNING
    with running(home, control):  # by version 0.1.0, which remembered nothing
        assert main.run(["restart"]) == exit_codes.STATE
    said = capsys.readouterr().err
    assert "no node was started" in said
    assert "stop it, and start it as before" in said
    assert (spawned.started, control.calls) == ([], [])


@pytest.mark.parametrize(
    ("service", "hint"),
    [
        ("user:openfl-node", "systemctl --user restart openfl-node"),
        ("system:openfl-node-b", "systemctl restart openfl-node-b"),
        ("launchd:openfl-node", "launchctl kickstart -k gui/$(id -u)/openfl-node"),
    ],
)
def test_a_service_is_restarted_by_its_manager(
    service: str,
    hint: str,
    home: Path,
    control: FakeControl,
    spawned: Spawned,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last_start.save(home, LastStart((), "/", {}, service))
    monkeypatch.setattr("openfl_cli.service_managers.is_installed", lambda label: True)
    assert main.run(["restart"]) == exit_codes.STATE
    assert hint in capsys.readouterr().err
    assert spawned.started == []
    monkeypatch.setattr("openfl_cli.service_managers.is_installed", lambda label: False)
    assert main.run(["restart"]) == exit_codes.SUCCESS
    assert len(spawned.started) == 1


def test_stop_waits_until_the_node_has_gone(
    home: Path, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(home, control):
        assert main.run(["stop", "--leave"]) == exit_codes.SUCCESS
    assert control.calls[0][2] == {"leave": True}
    assert capsys.readouterr().out == "stopped\n"


def test_stop_says_who_does_not_go_in_time(
    home: Path, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(home, control):
        control.answers["stop"] = None
        assert main.run(["stop", "--timeout", "0.01"]) == exit_codes.STATE
    said = capsys.readouterr().err
    assert f"(process {os.getpid()}) is still stopping after 0.01 s" in said


def test_a_node_that_does_not_answer_yet_is_stopped_once_it_does(
    home: Path, control: FakeControl
) -> None:
    with running(home, control):
        stop = control.answers.pop("stop")

        def soon(leave: bool) -> Any:
            control.answers["stop"] = stop
            raise_not_running()

        control.answers["stop"] = soon
        assert main.run(["stop"]) == exit_codes.SUCCESS
    assert len(control.calls) == 2


def raise_not_running() -> None:
    from openfl.core.errors import NotRunningError

    raise NotRunningError("no node is running")


# --- start --detach -----------------------------------------------------------------------------


def test_whoever_starts_a_node_in_the_background_is_told_what_to_go_on_with(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    addresses = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/192.0.2.7/tcp/1"]
    ready = {"peer_id": PEER_IDS[0], "multiaddrs": addresses}
    background._tell_started(home, 123, ready, as_json=False)
    shown = capsys.readouterr().out
    assert "(process 123)" in shown
    assert f"peer id  {PEER_IDS[0]}" in shown
    assert "\n  /ip4/192.0.2.7/tcp/1\n" in shown
    assert f"log      {home / 'node.log'}" in shown
    assert "openfl-node logs -f\n" in shown  # no --home: this is where a node lives anyway
    alone = {**ready, "multiaddrs": addresses[:2]}
    background._tell_started(home / "b c", 123, alone, as_json=False)
    shown = capsys.readouterr().out
    assert "\n  /ip4/127.0.0.1/tcp/1\n" in shown
    assert f"openfl-node stop --home '{home}/b c'" in shown
    background._tell_started(home, 123, ready, as_json=True)
    line = json.loads(capsys.readouterr().out)
    assert set(line) == {"time", "level", "event", "message", "data"}
    assert line["event"] == "listening"
    assert line["data"] == {**ready, "process": 123, "log": str(home / "node.log")}


def test_a_node_tells_once_that_it_listens_and_lets_go_of_standard_error() -> None:
    read, write = os.pipe()
    kept = os.dup(2)
    try:
        background.tell_ready(write, make_snapshot())
        with os.fdopen(read, "rb") as pipe:  # to its end: the other side is closed
            assert json.loads(pipe.read())["peer_id"] == PEER_IDS[0]
        assert os.path.samestat(os.fstat(2), os.stat(os.devnull))
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_options_that_contradict_each_other_or_are_wrong_start_nothing(
    home: Path, spawned: Spawned, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["start", "--detach", "--stop-with-stdin"]) == exit_codes.USAGE
    assert main.run(["start", "--detach", "--rounds", "-3"]) == exit_codes.CONFIG
    assert spawned.started == []
    assert main.run(["start", "--detach", "--rounds", "3"]) == exit_codes.SUCCESS
    assert spawned.started[0].arguments == ("--rounds", "3")


def test_a_check_starts_nothing(runtime: FakeRuntime, home: Path) -> None:
    assert main.run(["start", "--check"]) == exit_codes.SUCCESS
    assert main.run(["start", "--check", "--rounds", "-3"]) == exit_codes.CONFIG
    assert runtime.homes == []


def test_a_check_misses_nothing_that_would_leave_no_node_running(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`restart` stops the node once its check has found nothing."""
    nowhere = f"/dns/a..b/tcp/1/p2p/{PEER_IDS[1]}"
    assert main.run(["start", "--check", "--bootstrap", nowhere]) == exit_codes.CONFIG
    for data in (["a.csv"], ["a.csv", "--data", "b.csv"]):
        assert main.run(["start", "--check", "--data", *data]) == exit_codes.DATA
        assert "a.csv: no such file" in capsys.readouterr().err
    (home / "config.toml").write_text("[data]\nratings_file = 'gone.csv'\n")
    assert main.run(["start", "--check"]) == exit_codes.DATA
