"""`openfl-node init` on a terminal: four questions, and what is in the home afterwards."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import signal
import socket
import stat
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from openfl.config import load_config
from openfl.config.edit import SHORT_HEAD
from openfl_cli import wizard
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import environment, fork_on_terminal

PEER = "12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C, CTRL_D = "\x03", "\x04"
PROGRAM = f"""\
import sys
from openfl.app import who_is_there
who_is_there.ask_who_is_there = lambda place, key: {PEER!r}
from openfl_cli.main import main
main()
"""


class Terminal:
    """A command at 80x24, and what it has shown."""

    def __init__(self, folder: Path, *argv: str) -> None:
        self.pid, self._terminal = fork_on_terminal()
        if self.pid == 0:
            os.chdir(folder)
            kept = {**environment(), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
            os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *argv], kept)
        self.shown = ""
        self._seen = 0
        self.code: int | None = None

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:
            return False
        self.shown += SEQUENCES.sub("", data.decode(errors="replace")).replace("\r", "")
        return bool(data)

    def wait_for(self, text: str) -> str:
        """What was shown since the last wait, up to and with `text`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (at := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.shown[-800:]}"
            assert self._read() or text in self.shown[self._seen :], self.shown[-800:]
        before, self._seen = self._seen, at + len(text)
        return self.shown[before : self._seen]

    def answer(self, prompt: str, keys: str) -> str:
        shown = self.wait_for(f"{prompt}: ")
        self._wait_until_it_reads()
        os.write(self._terminal, keys.encode())
        return shown

    def _wait_until_it_reads(self) -> None:
        """The prompt is there a moment before the keyboard is read, and readline misses a Ctrl-C
        that comes between the two (it looks for signals, then waits); no person is that fast."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while psutil.Process(self.pid).status() != psutil.STATUS_SLEEPING:
            assert time.monotonic() < deadline, self.shown[-800:]
            time.sleep(0.005)

    def wait_end(self) -> int:
        """The exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.shown[-800:]
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def end(self) -> None:
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)


DATA, JOIN = "file or folder [none yet]", "address, lan or first [first]"
GROUP, LISTEN = "name [the largest that fits]", "with or without upnp [any]"


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, "--home", str(tmp_path / "node"), "init")
    try:
        yield terminal
    finally:
        terminal.end()


def export(folder: Path) -> Path:
    """As Spotify hands it out."""
    file = folder / "my spotify data.zip"
    plays = [
        f'{{"endTime": "2024-01-0{n % 9 + 1} 10:00", "artistName": "Artist {n % 7}",'
        f' "trackName": "Song {n}", "msPlayed": 200000}}'
        for n in range(40)
    ]
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("MyData/StreamingHistory_music_0.json", f"[{','.join(plays)}]")
    return file


def test_four_answers_make_a_short_configuration(init: Terminal, tmp_path: Path) -> None:
    file = export(tmp_path)
    init.answer(DATA, "nowhere.zip\r")
    assert "there is no" in init.answer(DATA, f"'{file}'\r")
    shown = init.answer(JOIN, "nonsense\r")
    assert "Spotify" in shown
    assert "40 plays of 40 songs by 1 person" in shown
    assert "neither an address" in init.answer(JOIN, "friend.example.org:4001\r")
    shown = init.wait_for("[y/N] ")
    assert f"peer id      {PEER}" in shown
    os.write(init._terminal, b"y\r")
    init.answer(GROUP, " bad\u200bname\r")
    assert "cannot be seen" in init.answer(GROUP, "my jazz\r")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        init.answer(LISTEN, f"{taken.getsockname()[1]}\r")
        assert "is in use" in init.answer(LISTEN, "upnp\r")
    assert init.wait_end() == 0
    assert f"start it with: openfl-node start --home {tmp_path}/node\n" in init.shown
    assert max(map(len, init.shown.splitlines())) <= 200
    text = (tmp_path / "node" / "config.toml").read_text()
    assert text.startswith(SHORT_HEAD)
    assert text.removeprefix(SHORT_HEAD).split("\n") == [
        "",
        "[data]",
        f'ratings_file = "{file}"',
        "",
        "[network]",
        f'bootstrap = ["/dns/friend.example.org/tcp/4001/p2p/{PEER}"]',
        "upnp = true",
        "",
        "[group]",
        'name = "my jazz"',
        "",
    ]
    load_config(tmp_path / "node" / "config.toml", {}, {})
    assert stat.S_IMODE((tmp_path / "node" / "identity.key").stat().st_mode) == 0o600


def test_enter_four_times_sets_nothing(init: Terminal, tmp_path: Path) -> None:
    for prompt in (DATA, JOIN, GROUP, LISTEN):
        init.answer(prompt, "\r")
    assert init.wait_end() == 0
    assert (tmp_path / "node" / "config.toml").read_text() == SHORT_HEAD
    assert "start it with: openfl-node start --home" in init.shown
    assert "--data PATH" in init.shown


@pytest.mark.parametrize(("key", "code"), [(CTRL_C, 130), (CTRL_D, 2)])
def test_leaving_in_the_middle_leaves_nothing(
    key: str, code: int, init: Terminal, tmp_path: Path
) -> None:
    init.answer(DATA, "\r")
    init.answer(JOIN, "lan\r")
    init.answer(GROUP, key)
    assert init.wait_end() == code
    assert "nothing was made" in init.shown
    assert "Traceback" not in init.shown
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept_and_options_ask_nothing(tmp_path: Path) -> None:
    home = tmp_path / "node"
    for argv, said in (
        (["init", "--full"], "wrote"),
        (["init"], "kept"),
        (["init", "--group", "x", "--force"], "wrote"),
    ):
        terminal = Terminal(tmp_path, "--home", str(home), *argv)
        try:
            assert terminal.wait_end() == 0
            assert said in terminal.shown
        finally:
            terminal.end()
    assert len((home / "config.toml").read_text().splitlines()) > 300


# --- single answers -------------------------------------------------------------------------------


def test_a_table_that_a_node_reads_itself_says_what_it_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays = tmp_path / "plays.csv"
    rows = "".join(f"ann,s{n},{n + 1}\n" for n in range(30))
    plays.write_text(f"user_id,song_id,plays\n{rows}")
    assert wizard.data_answer(str(plays)) == {
        "data.ratings_file": str(plays),
        "task.kind": "implicit",
    }
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(wizard.Again):
        wizard.data_answer(str(tmp_path / "empty.csv"))


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("", {}),
        ("any", {}),
        ("upnp", {"network.upnp": True}),
        ("any, upnp", {"network.upnp": True}),
    ],
)
def test_where_it_listens(text: str, answers: wizard.Answers) -> None:
    assert wizard.listen_answer(text) == answers


@pytest.mark.parametrize("text", ["65536", "-1", "4001 4002", "x", "\u0661"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(wizard.Again, match="no port"):
        wizard.listen_answer(text)


@pytest.mark.parametrize("typed", ["{}/a b.zip", "'{}/a b.zip'", '"{}/a b.zip"', r"{}/a\ b.zip"])
def test_a_path_is_taken_as_it_is_typed_or_dropped(typed: str, tmp_path: Path) -> None:
    (tmp_path / "a b.zip").touch()
    assert wizard.as_typed(typed.format(tmp_path)) == tmp_path / "a b.zip"
    assert wizard.as_typed("it's here") == Path("it's here")


@pytest.mark.parametrize("typed", ["~nobody-of-this-name/a.zip", "a" * 5000, "'~nobody-of-this/a'"])
def test_a_path_that_cannot_be_is_asked_for_again(typed: str) -> None:
    with pytest.raises(wizard.Again, match=r"there is no|too long"):
        wizard.data_answer(typed)


def test_bytes_that_are_no_text_are_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter([b"\xe9", b"jazz"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed).decode())
    assert wizard._asked(3, "Which?", "name", wizard.group_answer) == {"group.name": "jazz"}
    assert "not text" in capsys.readouterr().out


def test_a_name_that_no_file_of_text_can_hold_is_asked_for_again() -> None:
    with pytest.raises(wizard.Again, match="no UTF-8"):
        wizard.data_answer("caf\udce9.csv")


def test_the_questions_fit_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    wizard.ask_all(argparse.Namespace(), Path("/home/ann"))
    assert max(map(len, capsys.readouterr().out.splitlines())) < 60
