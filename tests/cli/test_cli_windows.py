"""On Windows itself a command says where a node runs; it does not fall over what is not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.process_rig import PATIENCE_SECONDS, environment

AS_ON_WINDOWS = """\
import importlib.abc, os, signal, socket, sys
GONE = ("termios", "fcntl", "pwd", "grp", "resource", "tty", "pty", "readline")

class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
for name in GONE:
    sys.modules.pop(name, None)
for module, names in (
    (os, "O_NONBLOCK O_NOCTTY O_NOFOLLOW O_CLOEXEC O_DIRECTORY geteuid fork getpgrp tcgetpgrp"),
    (socket, "AF_UNIX"),
    (signal, "SIGHUP SIGTSTP SIGUSR1 SIGTTOU SIGSTOP SIGPIPE"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"
sys.argv[0] = "openfl-node"
from openfl_cli.main import main
main()
"""


def on_windows(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, *argv],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_SECONDS,
    )


@pytest.mark.parametrize("argv", [["start"], ["init"], ["status", "--json"], ["demo"]])
def test_every_command_says_in_one_line_what_is_missing_and_where_a_node_runs(
    argv: list[str],
) -> None:
    done = on_windows(*argv)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "what Windows itself lacks" in line
    assert "WSL" in line


def test_help_and_version_are_there() -> None:
    assert "first steps" in on_windows("--help").stdout
    assert on_windows("--version").stdout.startswith("openfl-node ")
