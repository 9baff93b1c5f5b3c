"""`start` with a node that does not exist: what is printed, how it ends, which code it gives."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import PEER_IDS, FakeNode, FakeRuntime, make_event, make_snapshot

from openfl.core.errors import DataError, NetworkError, StateError
from openfl.core.telemetry import NodeEvent
from openfl_cli import exit_codes, main
from openfl_cli.commands.start import overrides
from openfl_cli.reporters import JsonLines, TextLines
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import fork_on_terminal

ADDRESS = f"/ip4/192.0.2.7/tcp/41001/p2p/{PEER_IDS[0]}"


@pytest.fixture(autouse=True)
def ratings(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratings file whose first user is called `first`."""
    clean_environment.mkdir()
    file = clean_environment / "ratings.csv"
    file.write_text("song_id,user_id,rating\n1,first,3\n2,second,4\n")
    monkeypatch.setenv("OPENFL_DATA_RATINGS_FILE", str(file))


def start(*argv: str) -> int:
    return main.run(["start", *argv])


def raise_signal(number: int) -> Any:
    return lambda *_: os.kill(os.getpid(), number)


def test_the_addresses_are_printed_each_on_a_line_as_soon_as_the_node_listens(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--rounds", "1") == exit_codes.SUCCESS
    assert capsys.readouterr().out.splitlines()[:2] == ["listening on", f"  {ADDRESS}"]


def test_a_node_that_does_its_rounds_ends_with_recommendations(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--rounds", "3", "--user", "ann", "--top", "2") == exit_codes.SUCCESS
    shown = capsys.readouterr().out
    assert shown.count("round ") == 6  # kind and message
    assert "For ann:" in shown
    assert "Song 2" in shown
    assert "Song 3" not in shown
    assert runtime.closed == 1


def test_without_a_user_named_the_first_of_the_data_is_recommended_to(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    assert start("--rounds", "1") == exit_codes.SUCCESS
    assert "For first:" in capsys.readouterr().out
    (clean_environment / "ratings.csv").unlink()
    assert start("--rounds", "1") == exit_codes.SUCCESS
    assert "For " not in capsys.readouterr().out


@pytest.mark.parametrize(("options", "skips"), [([], False), (["--skip-bad-rows"], True)])
def test_bad_rows_are_skipped_only_when_asked(
    options: list[str], skips: bool, runtime: FakeRuntime
) -> None:
    start("--rounds", "1", *options)
    assert runtime.nodes[0].config.data.skip_bad_rows is skips


def test_recommendations_can_be_turned_off(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    start("--rounds", "1", "--set", "recommend.auto=false")
    assert "For first" not in capsys.readouterr().out


def test_json_lines_are_one_object_each_with_the_documented_keys(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--rounds", "2", "--log-format", "json") == exit_codes.SUCCESS
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == [
        "listening",
        "round",
        "round",
        "recommendations",
    ]
    assert all(set(line) == {"time", "level", "event", "message", "data"} for line in lines)
    assert lines[0]["data"]["multiaddrs"] == [ADDRESS]
    assert lines[-1]["data"]["items"][0]["title"] == "Song 1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_node_cleanly_and_says_what_is_saved_and_how_to_go_on(
    number: int,
    runtime: FakeRuntime,
    capsys: pytest.CaptureFixture[str],
    clean_environment: Path,
) -> None:
    runtime.on_wait = raise_signal(number)
    assert start() == exit_codes.SUCCESS
    assert runtime.closed == 1
    assert runtime.nodes[0].stop_asked.is_set()
    shown = capsys.readouterr().out
    assert "For first:" in shown
    assert shown.splitlines()[-1].endswith(
        f"stopped        round 7 of group music is saved in {clean_environment};"
        " go on with: openfl-node start"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    number: int, runtime: FakeRuntime
) -> None:
    """`nohup`, and background jobs of a shell without job control."""

    def both(node: FakeNode) -> None:
        os.kill(os.getpid(), number)  # heeded, the second would not wait for the node
        os.kill(os.getpid(), signal.SIGTERM)

    runtime.on_wait = both
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert start() == exit_codes.SUCCESS
    finally:
        signal.signal(number, before)


def test_a_node_that_ignores_every_signal_is_stopped_by_the_command(runtime: FakeRuntime) -> None:
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    runtime.on_wait = FakeNode.request_stop
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        assert start() == exit_codes.SUCCESS
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("kind", "message", "data", "said"),
    [
        ("round", "round 7", {}, "round 7 of group music is saved in {home}; go on with: "),
        ("left", "left group music for good", {"for_good": True}, "music is left for good; begin"),
        ("left", "told group 0123 that this node left it", {}, "round 7 of group music is saved"),
        ("not-saved", "the disk is full", {}, "the last state is not saved: the disk is full"),
        ("saved-again", "state is being saved again", {}, "round 7 of group music is saved"),
    ],
)
def test_a_stopped_node_says_what_has_become_of_its_state(
    kind: str,
    message: str,
    data: dict[str, Any],
    said: str,
    runtime: FakeRuntime,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def stop(node: FakeNode) -> None:
        node.on_event(NodeEvent(0.0, "info", kind, message, data))
        node.request_stop()

    runtime.on_wait = stop
    home = tmp_path / "a node"
    assert start("--home", str(home)) == exit_codes.SUCCESS
    last = capsys.readouterr().out.splitlines()[-1]
    assert said.format(home=home) in last
    assert last.endswith(f"openfl-node start --home '{home}'") is (kind != "not-saved")
    assert start("--home", str(home), "--log-format", "json") == exit_codes.SUCCESS
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert event["event"] == "stopped"
    assert event["data"] == {
        "home": str(home),
        "group": "music",
        "round": 7,
        "saved": kind != "not-saved" and "for_good" not in data,
    }


def test_a_node_that_was_in_no_group_has_nothing_to_say_it_saved(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.on_wait = FakeNode.request_stop
    monkeypatch.setattr(FakeNode, "snapshot", lambda _: make_snapshot(group_name="", round=0))
    assert start() == exit_codes.SUCCESS
    assert "it was in no group yet; begin again with: openfl-node start" in capsys.readouterr().out


def test_a_signal_while_the_node_is_still_opening_ends_it_too(runtime: FakeRuntime) -> None:
    runtime.on_open = raise_signal(signal.SIGINT)
    runtime.open_blocks = True
    assert start() == exit_codes.SUCCESS


def test_a_second_signal_does_not_wait_for_the_node(runtime: FakeRuntime) -> None:
    def stubborn(node: FakeNode) -> None:
        def ask_again(leave: bool = False) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        node.request_stop = ask_again  # type: ignore[method-assign]
        os.kill(os.getpid(), signal.SIGINT)

    runtime.on_wait = stubborn
    assert start() == exit_codes.INTERRUPTED
    assert runtime.closed == 1


@pytest.mark.parametrize(("option", "left"), [([], False), (["--leave"], True)])
def test_contributions_are_withdrawn_only_when_asked(
    option: list[str], left: bool, runtime: FakeRuntime
) -> None:
    start("--rounds", "1", *option)
    assert runtime.nodes[0].leave is left


def test_a_node_told_to_serve_stays_after_its_rounds_until_it_is_stopped(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_soon(node: FakeNode) -> None:
        recommend = node.recommend

        def recommend_then_stop(user: str, top: int) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return recommend(user, top)

        node.recommend = recommend_then_stop  # type: ignore[method-assign]

    runtime.on_wait = stop_soon
    assert start("--rounds", "1", "--set", "training.when_done=serve") == exit_codes.SUCCESS
    assert runtime.nodes[0].stop_asked.is_set()
    assert "For first" in capsys.readouterr().out


@pytest.mark.parametrize("error", [NetworkError("port 4001 is in use"), DataError("no data")])
def test_a_node_that_cannot_open_says_why_in_one_line(
    error: Any, runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    runtime.on_open = fail
    assert start() == error.exit_code
    assert capsys.readouterr().err == f"openfl-node: error: {error}\n"


def test_a_bug_in_the_node_is_not_swallowed(runtime: FakeRuntime) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    runtime.on_wait = fail
    with pytest.raises(BaseExceptionGroup) as caught:
        start()
    assert caught.group_contains(ZeroDivisionError)
    assert runtime.closed == 1


def test_a_wrong_configuration_opens_nothing(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start("--rounds", "-3") == exit_codes.CONFIG
    assert runtime.homes == []
    assert "command line: training.rounds" in capsys.readouterr().err


LOST = {"closed": ">&-", "closed, stderr too": ">&- 2>&-", "full": ">/dev/full", "unread": "| :"}


@pytest.mark.parametrize("redirection", LOST.values(), ids=LOST)
def test_a_node_goes_on_without_its_lines(redirection: str, clean_environment: Path) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this platform")
    script = clean_environment / "start.py"
    script.write_text(runtime_script(clean_environment, "output.prepare()"))
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" "$1" {redirection}', sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (exit_codes.SUCCESS, "", "")
    assert "round: round 400" in (clean_environment / "node.log").read_text()


def test_everything_is_written_to_the_log_in_the_home_folder(
    runtime: FakeRuntime, clean_environment: Path
) -> None:
    import logging

    def library_warns(node: FakeNode) -> None:
        logging.getLogger("some.library").warning("a stream was reset")

    runtime.on_wait = library_warns
    start("--rounds", "1")
    log = (clean_environment / "node.log").read_text()
    assert "round: round 1" in log
    assert "WARNING some.library a stream was reset" in log
    assert logging.getLogger().level == logging.WARNING


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this platform")
def test_a_log_on_a_full_disk_costs_lines_and_nothing_else(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise StateError("node.state: cannot be saved: the disk is full")

    monkeypatch.setattr(
        "openfl_cli.logs.open_own", lambda path, flags: os.open("/dev/full", os.O_WRONLY)
    )
    assert start("--rounds", "1") == exit_codes.SUCCESS
    runtime.on_open = full
    assert start("--rounds", "1") == exit_codes.STATE
    assert capsys.readouterr().err == (
        "openfl-node: error: node.state: cannot be saved: the disk is full\n"
    )


def test_options_become_configuration_keys_and_absent_ones_do_not() -> None:
    parse = main.build_parser().parse_args
    assert overrides(parse(["start"])) == {}
    assert overrides(
        parse(
            [
                *("start", "--data", "r.csv", "--bootstrap", "/a", "--bootstrap", "/b"),
                *("--group", "g", "--listen", "/l", "--rounds", "0", "--interval", "0.5"),
                "--no-view",
            ]
        )
    ) == {
        "data.ratings_file": "r.csv",
        "network.bootstrap": ("/a", "/b"),
        "network.listen": ("/l",),
        "group.name": "g",
        "training.rounds": 0,
        "training.interval_seconds": "0.5",
        "view.enabled": False,
    }


# --- reporters ---------------------------------------------------------------------------------


def test_lines_below_the_level_are_left_out_but_never_the_addresses() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream, "warning")
    lines.event(make_event(1, "info"))
    lines.event(make_event(2, "warning"))
    lines.event(NodeEvent(0.0, "info", "listening", "", {"multiaddrs": [ADDRESS]}))
    kinds = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert kinds == ["round", "listening"]


def test_a_json_line_is_json_whatever_the_event_holds() -> None:
    stream = io.StringIO()
    data = {"fit": float("nan"), "gains": [float("inf"), 1.0]}
    JsonLines(stream, "info").event(NodeEvent(0.0, "info", "round", "", data))
    line = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert line["data"] == {"fit": None, "gains": [None, 1.0]}


def test_a_text_line_is_one_line_whatever_the_event_says() -> None:
    stream = io.StringIO()
    TextLines(stream, "info").event(make_event(1, "warning", "a\nb\x1b[2J"))
    assert stream.getvalue().count("\n") == 1
    assert "warning: a b\ufffd[2J" in stream.getvalue()


def test_a_full_disk_under_the_log_costs_lines_not_the_node() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    lines = TextLines(Full(), "info")
    lines.event(make_event(1))


# --- the screen --------------------------------------------------------------------------------


def test_on_a_terminal_the_live_view_is_drawn_and_the_last_picture_stays(
    runtime: FakeRuntime, clean_environment: Path
) -> None:
    shown = in_a_terminal(runtime_script(clean_environment), columns=100, lines=28)
    assert "\x1b[?1049h" in shown  # the alternate screen was entered
    before, _, after = shown.partition("\x1b[?1049l")  # and left
    assert "4 members ──" in plain(before)
    assert "round 49" in plain(before)  # the newest event is not cut off at the bottom
    assert "4 members of the group" in plain(after)
    assert "For first:" in after


def test_without_colour_the_view_has_no_colour_codes(clean_environment: Path) -> None:
    script = runtime_script(clean_environment)
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert colour.search(in_a_terminal(script, columns=100, lines=40))
    assert not colour.search(in_a_terminal(script, columns=100, lines=40, NO_COLOR="1"))


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(clean_environment: Path) -> None:
    shown = in_a_terminal(runtime_script(clean_environment), columns=100, lines=40, TERM="dumb")
    assert "\x1b[?1049h" not in shown
    assert "listening on" in shown


def plain(text: str) -> str:
    """Without colour codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def runtime_script(home: Path, first: str = "pass") -> str:
    """A program that does `first`, then runs `start` with the stand-in runtime."""
    return (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import cli_fakes, openfl.app\n"
        "openfl.app.runtime = sys.modules['openfl.app.runtime'] = cli_fakes.FakeRuntime()\n"
        "from openfl_cli import main, output\n"
        f"{first}\n"
        f"argv = ['start', '--rounds', '400', '--home', {str(home)!r}, '--user', 'first']\n"
        "sys.exit(main.run(argv))\n"
    )


def in_a_terminal(script: str, columns: int, lines: int, **environment: str) -> str:
    """What the program writes to a pseudo-terminal of that size."""
    import fcntl
    import struct
    import termios

    paths = os.pathsep.join(path for path in sys.path if path)
    pid, terminal = fork_on_terminal()
    if pid == 0:
        inherited = {"TERM": "xterm-256color", "PYTHONPATH": paths, "LANG": "C.UTF-8"}
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        os.execve(sys.executable, [sys.executable, "-c", script], kept | inherited | environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    shown = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode(errors="replace")
    return shown.decode(errors="replace")


@pytest.mark.parametrize(
    ("option", "pin", "auto"),
    [
        ([], None, True),
        (["--pin"], True, True),
        (["--auto-switch"], False, True),
        (["--no-auto-switch"], None, False),
        (["--pin", "--no-auto-switch"], True, False),
    ],
)
def test_options_say_whether_the_node_may_move(
    option: list[str], pin: bool | None, auto: bool, runtime: FakeRuntime
) -> None:
    start("--rounds", "1", *option)
    assert runtime.pins == [pin]
    assert runtime.nodes[0].config.switching.auto is auto


def test_pinned_and_free_at_once_is_refused(
    runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["start", "--pin", "--auto-switch"]) == exit_codes.USAGE
    assert "opposite things" in capsys.readouterr().err
