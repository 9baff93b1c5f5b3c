"""A node under a shell that controls jobs: real bash on a pseudo-terminal, a stand-in for the node.

Keys are typed as a person would; every wait is for what the terminal shows, and only a hang
reaches its ceiling.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process_rig import fork_on_terminal

CEILING_SECONDS = 60.0
SCREEN, NO_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CTRL_C, CTRL_Z = "\x03", "\x1a"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

NODE = f"""\
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import cli_fakes, openfl.app
openfl.app.runtime = sys.modules["openfl.app.runtime"] = cli_fakes.FakeRuntime()
folder = sys.argv[1]

def snapshot(node, real=cli_fakes.FakeNode.snapshot):
    if os.path.exists(folder + "/bug"):
        raise ZeroDivisionError
    return real(node)

cli_fakes.FakeNode.snapshot = snapshot
with open(folder + "/pid", "w") as file:
    file.write(str(os.getpid()))
from openfl_cli import main, output
output.prepare()
sys.exit(main.run(["start", "--home", folder + "/home", "--user", "first"]))
"""


class Shell:
    """bash, and what its terminal has shown so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "node.py").write_text(NODE)
        paths = os.pathsep.join(path for path in sys.path if path)
        environment = {
            "TERM": "xterm-256color",
            "PYTHONPATH": paths,
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "PS1": "ready> ",
            "NODE": f"{sys.executable} {folder}/node.py {folder}",
        }
        self.pid, self._terminal = fork_on_terminal()
        if self.pid == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], environment)
        self._raw = b""
        self._shown = ""
        self._seen = 0
        self.wait_for("ready> ")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wait_for(self, text: str) -> str:
        """All that was shown since the last wait, up to and with `text`."""
        deadline = time.monotonic() + CEILING_SECONDS
        while (at := self._shown.find(text, self._seen)) < 0:
            unseen = self._shown[self._seen :][-500:]
            assert time.monotonic() < deadline, f"{text!r} was never shown after {unseen!r}"
            if select.select([self._terminal], [], [], 1)[0]:
                self._raw += os.read(self._terminal, 1 << 16)
                self._shown = COLOUR.sub("", self._raw.decode(errors="replace"))
        before, self._seen = self._seen, at + len(text)
        return self._shown[before : self._seen]

    def asked(self, command: str) -> str:
        """What a command prints; it runs as soon as the shell reads again."""
        self.type(f"{command}; echo done-$((40+2))\r")
        return self.wait_for("done-42")

    def node(self) -> int:
        return int((self.folder / "pid").read_text())

    def end(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(self.node(), signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    try:
        yield shell
    finally:
        shell.end()


def echoes(shell: Shell) -> bool:
    settings = shell.asked("stty -a").split()
    assert ("echo" in settings) is not ("-echo" in settings)
    return "echo" in settings


@pytest.mark.parametrize("end", ["SIGTERM", "bug"])
def test_keys_typed_at_the_view_are_not_run_and_the_terminal_is_as_before(
    end: str, shell: Shell
) -> None:
    shell.type("$NODE\r")
    shell.wait_for(SCREEN)
    shell.wait_for("q quit")
    shell.type(f"touch {shell.folder}/typed\r")
    if end == "bug":
        (shell.folder / "bug").touch()
    else:
        os.kill(shell.node(), signal.SIGTERM)
    drawn = shell.wait_for(NO_SCREEN)
    assert "touch" not in drawn
    after = shell.wait_for("ready> ")
    assert ("ZeroDivisionError" if end == "bug" else "round 7 of group music is saved in") in after
    assert echoes(shell)
    assert not (shell.folder / "typed").exists()


def test_ctrl_c_at_the_view_leaves_picture_recommendations_and_how_to_go_on(shell: Shell) -> None:
    shell.type("$NODE\r")
    shell.wait_for(SCREEN)
    shell.type(CTRL_C)
    shell.wait_for(NO_SCREEN)
    after = shell.wait_for("ready> ")
    assert after.index("members of the group") < after.index("For first:")
    assert after.index("For first:") < after.index("round 7 of group music is saved in")
    assert f"openfl-node start --home {shell.folder}/home" in after.replace("\r\n", "")


def test_ctrl_z_gives_the_terminal_back_and_fg_brings_the_view_again(shell: Shell) -> None:
    shell.type("$NODE\r")
    for _ in range(2):
        shell.wait_for(SCREEN)
        shell.type(CTRL_Z)
        shell.wait_for(NO_SCREEN)
        shell.wait_for("Stopped")
        shell.wait_for("ready> ")
        assert echoes(shell)
        shell.type("fg\r")
    shell.wait_for(SCREEN)
    shell.type(CTRL_C)
    shell.wait_for("is saved in")


def test_a_node_in_the_background_leaves_the_screen_to_the_shell_until_fg(shell: Shell) -> None:
    shell.asked("stty tostop")  # whoever writes from the background is stopped
    shell.type("$NODE &\r")
    shown = shell.wait_for("listening on")
    shown += shell.asked("sleep 1; jobs")
    assert "Running" in shown
    assert SCREEN not in shown
    shell.type("fg\r")
    shell.wait_for(SCREEN)
    shell.type(CTRL_C)
    shell.wait_for("is saved in")
