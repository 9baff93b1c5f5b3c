"""Every key of the live view on a real terminal; the node behind it is a stand-in."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fakes import PEER_IDS, make_snapshot

from openfl_cli.screen import ENTER, LEAVE
from tests.patience import PATIENCE_SECONDS
from tests.situation import until
from tests.terminal_rig import PROMPT, Terminal, has_bash, terminal

pytestmark = pytest.mark.skipif(not has_bash(), reason="needs bash")

NODE = f"""\
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import cli_fakes, openfl.app
openfl.app.runtime = sys.modules["openfl.app.runtime"] = cli_fakes.FakeRuntime()
with open("pid", "w") as file:
    file.write(str(os.getpid()))
from openfl_cli import main, output
output.prepare()
sys.exit(main.run(["start", "--home", "home", "--user", "first"]))
"""


@pytest.fixture
def view(tmp_path: Path) -> Iterator[Terminal]:
    """A node that runs in the shell's foreground, and its view."""
    (tmp_path / "node.py").write_text(NODE)
    with terminal() as shell:
        shell.run(f"cd {tmp_path}; {sys.executable} node.py")
        shell.wait_for("q quit", "4 members", "round 49", "jazz")
        yield shell


def is_restored(shell: Terminal) -> bool:
    """Whether the shell has its terminal as it was, and everything asked of it is undone."""
    assert shell.raw.rindex(LEAVE) > shell.raw.rindex(ENTER)
    return {"icanon", "echo", "iexten"} <= shell.settings()


def test_every_key_does_what_help_says_at_every_size(view: Terminal) -> None:
    keys_of_panes(view)
    keys_of_groups(view)
    sizes(view)
    quitting(view)


def keys_of_panes(view: Terminal) -> None:
    view.press("?")
    seen = view.wait_for("hold the picture still", "together  error of")
    assert seen.splitlines()[0].startswith("OpenFL 12D3…6QR000  music")
    view.press("esc")
    view.wait_for("▸ 4 members", gone=("hold the picture still",))
    view.press("tab")
    view.wait_for("▸ 50 events")
    view.press("enter")
    view.wait_for("round 31", gone=("4 members",))
    view.press("up", "up")
    view.wait_for("round 47", gone=("round 48",))
    view.press("wheel-up")
    view.wait_for("round 44", gone=("round 45",))
    view.press("wheel-down", "end")
    view.wait_for("round 49")
    view.press("home")
    view.wait_for("round 0:")
    view.press("pagedown", "pageup", "s")
    view.wait_for("events: newest first")
    view.press("/", "4", "8", "enter")
    view.wait_for("1 of 50 events", "/48")
    view.press("esc", "backtab")
    view.wait_for("▸ 4 members")
    view.press("tab", "esc")
    view.wait_for("▸ 50 events", gone=("1 of 50 events",))
    view.press("w")
    view.wait_for("nothing is known yet", "Data and members")
    view.press("w", "p")
    view.wait_for("paused", "p go on", gone=("Data and members",))
    view.press("p")
    view.wait_for("up 1:40")
    view.press("c")
    address = f"/ip4/192.0.2.7/tcp/41001/p2p/{PEER_IDS[0]}"
    seen = view.wait_for("The address is copied", address[:80])
    # Two rows of the screen, and one text: a terminal copies it unbroken.
    assert address[80:] in seen.splitlines()
    view.wait_for_raw("\x1b]52;c;")
    assert address in view.raw
    view.press("esc", "ctrl-l")
    view.wait_for("c copies it whole", "q quit")


def keys_of_groups(view: Terminal) -> None:
    view.press("g")
    view.wait_for("▸ 2 groups", "by worth to you", "Enter try or switch", gone=("4 members",))
    view.press("enter")
    view.wait_for("this node is in music")
    view.press("down")
    view.wait_for("▸  jazz")
    view.press("enter")
    view.wait_for("jazz: t tries it on your data, s switches to it")
    view.press("t")
    view.wait_for("jazz: 4.2 % better ± 1.0")
    view.press("enter", "s")
    view.wait_for("Leave music and switch to jazz? y/n")
    view.press("n")
    view.wait_for("Enter try or switch", gone=("y/n",))
    view.press("enter", "s", "y")
    view.wait_for("now in group jazz")
    view.press("esc")
    view.wait_for("q quit", "4 members")


def sizes(view: Terminal) -> None:
    view.resize(60, 20)
    seen = view.wait_for("4 members", "round 49", "c: whole")
    assert len(seen.splitlines()) == 20
    view.resize(30, 8)
    view.wait_for("too small: 60x20 at least")
    view.resize(120, 40)
    # Side by side.
    seen = view.wait_for("4 members", "50 events")
    assert any("4 members" in line and "50 events" in line for line in seen.splitlines())


def quitting(view: Terminal) -> None:
    view.press("q")
    view.wait_for("End this node? 3 other nodes use it. What it learned is saved. y/n")
    view.press("n")
    view.wait_for("q quit", gone=("y/n",))
    view.press("q", "y")
    seen = view.wait_for("is saved in", PROMPT)
    assert "For first:" in seen
    assert is_restored(view)


def test_a_signal_leaves_the_terminal_as_it_was_and_no_key_for_the_shell(
    view: Terminal, tmp_path: Path
) -> None:
    view.type("touch leaked\r")
    view.wait_for("The address is copied")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGHUP)
    view.wait_for("is saved in", PROMPT)
    assert is_restored(view)
    assert not (tmp_path / "leaked").exists()


def test_ctrl_z_and_fg_bring_the_view_back_and_ctrl_backslash_ends_it(view: Terminal) -> None:
    view.press("tab")
    view.wait_for("▸ 50 events")
    view.press("ctrl-z")
    view.wait_for("Stopped", PROMPT)
    assert is_restored(view)
    view.run("fg")
    view.wait_for("▸ 50 events", "q quit")
    view.press("ctrl-\\")
    view.wait_for("Quit", PROMPT)
    assert is_restored(view)


def test_after_sigstop_and_fg_the_view_takes_the_terminal_again(
    view: Terminal, tmp_path: Path
) -> None:
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    view.wait_for("Stopped")
    written = len(view.raw)
    view.run("fg")
    view.wait_for_raw(ENTER, written)
    view.wait_for("q quit", gone=("Stopped",))
    view.press("?")
    view.wait_for("hold the picture still")
    view.press("q", "q", "y")
    view.wait_for("is saved in", PROMPT)
    assert is_restored(view)


TOP = f"""\
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import trio, cli_fakes
from pathlib import Path
from openfl.app.control_socket import serve_control
from openfl.app.node_commands import node_commands
from types import SimpleNamespace

async def main():
    node = cli_fakes.FakeNode(None, print)
    home = Path(sys.argv[1])
    async with serve_control(home, node_commands(node)):
        Path(home / "up").touch()
        await node.stop_asked.wait()

trio.run(main)
"""


def test_top_is_the_same_view_and_leaves_the_node_alone(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "served.py").write_text(TOP)
    paths = os.pathsep.join(path for path in sys.path if path)
    served = subprocess.Popen(
        [sys.executable, str(tmp_path / "served.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        until((tmp_path / "up").exists, "the stand-in answers")
        with terminal() as shell:
            top = f"{sys.executable} -m openfl_cli top --home {tmp_path}"
            shell.run(top)
            seen = shell.wait_for("4 members", "q leave", "2 groups")
            assert make_snapshot().group_name in seen
            shell.press("g", "down")
            shell.wait_for("▸  jazz")
            shell.press("enter", "t")
            shell.wait_for("jazz: 4.2 % better ± 1.0")
            shell.press("q")
            shell.wait_for(PROMPT, gone=("2 groups",))
            assert is_restored(shell)
            assert served.poll() is None
            shell.run(top)
            shell.wait_for("q leave")
            shell.press("x")
            shell.wait_for("End this node? 3 other nodes use it.")
            shell.press("y")
            # What was seen last stays, and says that it is over.
            shell.wait_for("the view has ended: no node is running in", PROMPT)
            assert is_restored(shell)
            shell.run(f"{top}; echo code-$?")
            shell.wait_for("code-7")
        assert served.wait(PATIENCE_SECONDS) == 0
    finally:
        served.kill()
        served.wait()
