"""A node in the background, from `start --detach` to `stop`, with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openfl.app.home_folder import is_locked
from tests.process_rig import PATIENCE_SECONDS, deal_homes, environment, openfl_node, until

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (home,) = deal_homes(tmp_path, "a")
    try:
        yield home
    finally:
        if is_locked(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_of(home), signal.SIGKILL)
            until(lambda: not is_locked(home), "the end of the node")


def process_of(home: Path) -> int:
    return int((home / "lock").read_text())


def command(*argv: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Its output is read to the end: a node in the background must not hold it open."""
    return subprocess.run(
        [sys.executable, "-m", "openfl_cli", *argv],
        capture_output=True,
        text=True,
        env=environment() | settings,
        cwd=cwd,
        timeout=PATIENCE_SECONDS,
    )


class Followed:
    """`logs -f --json`, read as it comes."""

    def __init__(self, home: Path) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openfl_cli", "logs", "-f", "-n", "all", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | {"OPENFL_HOME": str(home)},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def find(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in list(self.lines) if line["event"] == kind]

    def count(self, kind: str) -> int:
        return len(self.find(kind))

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_a_node_is_started_followed_restarted_killed_and_stopped(home: Path) -> None:
    folder = home.parent
    # Relative, and by the environment, as people do it; the log is put aside now and then.
    started = command(
        *("start", "--detach", "--home", "a", "--data", "a/ratings.csv", "--interval", "0.2"),
        cwd=folder,
        OPENFL_NETWORK_HOST="127.0.0.1",
        OPENFL_LOG_FILE_MEGABYTES="0.1",
    )
    assert (started.returncode, started.stderr) == (0, "")
    first = process_of(home)
    assert f"(process {first})" in started.stdout
    identity = json.loads(openfl_node("id", "--home", str(home), "--json"))
    assert identity["running"] is True
    assert f"peer id  {identity['peer_id']}" in started.stdout
    assert f"  {identity['multiaddrs'][0]}\n" in started.stdout
    assert os.getsid(first) == first  # a session of its own: no terminal's end is its end

    again = command("start", "--detach", "--home", "a", "--data", "a/ratings.csv", cwd=folder)
    assert again.returncode == 6
    assert f"another node (process {first}) is running in this home folder" in again.stderr

    followed = Followed(home)
    try:
        openfl_node("wait", "--home", str(home), "--round", "2", "--timeout", str(PATIENCE_SECONDS))
        assert openfl_node("status", "--healthy", "--home", str(home)).startswith("healthy: round")
        until(lambda: followed.count("round") >= 2, "rounds in the log")

        # From elsewhere, with another environment: it is started as it was.
        openfl_node("restart", "--home", str(home))
        second = process_of(home)
        assert second != first
        until(lambda: followed.count("listening") == 2, "the log of the second run")
        assert followed.count("stopped") == 1
        status = json.loads(openfl_node("status", "--home", str(home), "--json"))
        assert status["peer_id"] == identity["peer_id"]
        assert all(text.startswith("/ip4/127.0.0.1/") for text in status["multiaddrs"])

        # Whatever a killed node leaves behind is in nobody's way.
        (stopped,) = followed.find("stopped")
        os.kill(second, signal.SIGKILL)
        until(lambda: not is_locked(home), "the end of the node")
        assert (home / "control.sock").is_socket()
        openfl_node("status", "--healthy", "--home", str(home), code=10)
        openfl_node("restart", "--home", str(home))
        status = json.loads(openfl_node("status", "--home", str(home), "--json"))
        assert status["peer_id"] == identity["peer_id"]
        assert status["group"]["name"] == "music"
        assert status["round"] >= stopped["data"]["round"] >= 2
        until(lambda: followed.count("listening") == 3, "the log of the third run")
        until(lambda: followed.count("resumed") == 2, "the group of before")

        assert openfl_node("stop", "--home", str(home)) == "stopped\n"
        assert not is_locked(home)
        until(lambda: followed.count("stopped") == 2, "the end in the log")
    finally:
        code = followed.end()
    assert code == 0
    times = [line["time"] for line in followed.lines]
    assert times == sorted(times)
    openfl_node("stop", "--home", str(home), code=7)


def test_a_start_in_the_background_fails_as_one_in_the_foreground_does(home: Path) -> None:
    (home / "bad.csv").write_text("user_id,song_id,rating\n1,2,great\n")
    options = ("start", "--home", str(home), "--data", str(home / "bad.csv"))
    foreground = command(*options, cwd=home)
    background = command(*options, "--detach", cwd=home)
    assert background.returncode == foreground.returncode == 4
    assert background.stderr == foreground.stderr
    assert "bad.csv" in background.stderr
    assert background.stdout == ""
    assert not is_locked(home)
