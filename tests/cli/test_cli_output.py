"""Output that cannot be written: one line and a documented exit code, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fakes import make_snapshot

from openfl.storage.home import Home
from openfl.storage.last_run import SNAPSHOT_KIND, SNAPSHOT_VERSION
from openfl.storage.state_files import write_state
from openfl_cli import exit_codes, main
from tests.patience import PATIENCE_SECONDS

ROOTS = os.pathsep.join(path for path in sys.path if path)
# What rich prints, `print` and argparse.
COMMANDS = ("status", "status --json", "id", "--help")


@pytest.fixture
def home(clean_environment: Path) -> Path:
    """Of a node that has run: what `status` and `id` show."""
    place = Home(clean_environment)
    place.prepare()
    write_state(
        place.state_file("last"),
        SNAPSHOT_KIND,
        SNAPSHOT_VERSION,
        make_snapshot(members=60).to_plain(),
    )
    return clean_environment


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `node` is the program; a pipeline fails with its first part."""
    program = f'node() {{ "{sys.executable}" -m openfl_cli "$@"; }}; '
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", program + line],
        env={**os.environ, "PYTHONPATH": ROOTS, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of stderr but the remark that no node runs."""
    return [line for line in done.stderr.splitlines() if "last saved" not in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_lost_output_is_one_line_and_its_exit_code(command: str, home: Path) -> None:
    closed = shell(f"node {command} >&-")
    assert closed.returncode == exit_codes.STATE
    assert complaints(closed) == [
        "openfl-node: error: standard output cannot be written: it is closed"
    ]
    if Path("/dev/full").exists():
        full = shell(f"node {command} > /dev/full")
        assert full.returncode == exit_codes.STATE
        assert complaints(full) == [
            "openfl-node: error: standard output cannot be written: No space left on device"
        ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away_is_exit_code_141_and_no_word(command: str, home: Path) -> None:
    unread = shell(f"node {command} | :")
    assert unread.returncode == exit_codes.BROKEN_PIPE
    assert complaints(unread) == []


def test_a_remark_that_cannot_be_written_changes_nothing(home: Path) -> None:
    peer_id = make_snapshot().peer_id
    for redirection in ("2>/dev/full", "<&- 2>&-"):
        done = shell(f"node id {redirection}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(peer_id)
    refused = shell("node bogus >&- 2>&-")
    assert refused.returncode == exit_codes.USAGE


def test_no_file_takes_the_number_of_a_closed_stream() -> None:
    script = "import os; from openfl_cli import output; output.prepare(); print(os.open('/', 0))"
    done = shell(f'"{sys.executable}" -c "{script}" <&- 2>&-')
    assert int(done.stdout) > 2


def test_output_that_does_not_wait_is_waited_for(home: Path) -> None:
    """A pipe that somebody made non-blocking, and that is full: nothing is lost."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    script = (
        "from openfl_cli import output; output.prepare()\n"
        "print('x' * 1_000_000); import sys; sys.stdout.flush()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=writes, env={**os.environ, "PYTHONPATH": ROOTS}
    ) as process:
        os.close(writes)
        with os.fdopen(reads, "rb") as pipe:
            assert len(pipe.read()) == 1_000_001
    assert process.returncode == 0


# --- where a node could live --------------------------------------------------------------------

LATIN_1 = "caf\udce9"
"""A name in Latin-1, as Python holds it: not UTF-8."""


@pytest.mark.parametrize("command", ["start", "init", "status", "id", "stop", "config show"])
def test_a_home_whose_name_is_not_utf_8_is_refused_before_anything_is_made(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*command.split(), "--home", str(tmp_path / LATIN_1)]) == exit_codes.STATE
    assert "must be UTF-8 text" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_data_file_that_could_not_be_remembered_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / LATIN_1
    folder.mkdir()
    (folder / "ratings.csv").write_text("user_id,song_id,rating\n1,1,1\n")
    monkeypatch.chdir(folder)
    home = tmp_path / "home"
    for argv in (["start", "--data", "ratings.csv"], ["init", "--data", "ratings.csv"]):
        assert main.run([*argv, "--home", str(home)]) == exit_codes.CONFIG
        assert "data.ratings_file: is in a folder whose name" in capsys.readouterr().err
    assert not home.exists()


def test_a_working_folder_that_is_gone_matters_to_relative_paths_only(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main.run(["config", "show", "--home", str(home)]) == exit_codes.SUCCESS
    assert main.run(["status", "--home", "nodes/a"]) == exit_codes.STATE
    assert "the folder this was started in is gone" in capsys.readouterr().err


def test_without_any_home_of_the_user_one_has_to_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container that runs as a number without a name: nobody knows what ~ is."""
    monkeypatch.delenv("OPENFL_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", _nobody)
    for argv in (["status"], ["status", "--home", "~/node"]):
        assert main.run(argv) == exit_codes.STATE
        assert "name a home folder with --home or OPENFL_HOME" in capsys.readouterr().err


def _nobody(uid: int) -> None:
    raise KeyError(uid)


@pytest.mark.parametrize("columns", ["0", "1", "7", "x"])
def test_a_terminal_without_room_ends_no_command(columns: str, home: Path) -> None:
    done = shell("node status && node id --help", COLUMNS=columns, TERM="")
    assert done.returncode == 0, done.stderr
