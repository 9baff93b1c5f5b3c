"""A person's whole way in a terminal of 80x24: real nodes, real keys, every screen looked at."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from openfl_cli.screen import ENTER, LEAVE
from tests.process_rig import RunningNode, deal_homes, ending
from tests.terminal_rig import PROMPT, Terminal, has_bash, terminal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not has_bash(), reason="needs bash")]

NODE = f"{sys.executable} -m openfl_cli"
CHANGE = re.compile(r"error +0\.\d{4} together +0\.\d{4} alone +[-+]\d+\.\d %")
TRIED = re.compile(r"jazz: \d+\.\d % (better|worse) ± \d+\.\d")


def wait_for_pattern(shell: Terminal, pattern: re.Pattern[str]) -> None:
    """Until a line of the screen matches; the course of learning is not known in advance."""
    while not pattern.search(shell.text):
        shell.wait_for("OpenFL")
        shell._read(1.0)


@contextlib.contextmanager
def ending_detached(home: Path) -> Iterator[None]:
    """A node in the background does not outlive the block, either."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            node = psutil.Process(int((home / "lock").read_text().split()[0]))
            if "openfl_cli" in node.cmdline():  # the number may be somebody else's by now
                node.kill()


def test_from_the_wizard_to_stop(tmp_path: Path) -> None:
    first, jazz, _ = deal_homes(tmp_path, "abc")
    music = RunningNode(first, "--group", "music")
    nodes = [music]
    with (
        ending(nodes),
        ending_detached(tmp_path / "c"),
        terminal(80, 24, OPENFL_NETWORK_HOST="127.0.0.1") as shell,
    ):
        nodes.append(RunningNode(jazz, "--group", "jazz", "--bootstrap", music.address))
        nodes[1].wait_for("round")

        # the wizard
        shell.run(f"cd {tmp_path}; {NODE} init --home c")
        shell.wait_for("1/4", "file or folder [none yet]:")
        shell.run("nowhere.csv")
        shell.wait_for("there is no")
        shell.run("c/ratings.csv")
        shell.wait_for("ratings of 300 items", "address, lan or first [first]:")
        shell.run(music.address)
        shell.wait_for("name [the largest that fits]:")
        shell.run("music")
        shell.wait_for("4/4", "any, or a port, with or without upnp [any]:")
        shell.run("")
        shell.wait_for("config.toml", "start it with: openfl-node start --home", PROMPT)

        # start
        shell.run(f"{NODE} start --home c --interval 1 --no-auto-switch")
        seen = shell.wait_for("2 members", "2 groups", "2 peers", "this node", "q quit")
        lines = seen.splitlines()
        assert re.match(r"OpenFL 12D3….{6}  music  learning", lines[0])
        assert re.search(r"\d\d:\d\d:\d\d ", seen), "events are in sight, too"
        assert re.search(r"^address /ip4/127\.0\.0\.1/tcp/\d+/p2p/12D3…", lines[-2])
        wait_for_pattern(shell, CHANGE)

        # every key
        shell.press("?")
        shell.wait_for("hold the picture still")
        shell.press("esc", "tab")
        shell.wait_for("▸", "events", gone=("hold the picture still",))
        shell.press("enter")
        shell.wait_for("▸", "events", gone=("2 members",))
        shell.press("home", "end", "pageup", "pagedown", "up", "down", "wheel-up", "wheel-down")
        shell.press("/", *"round", "enter")
        shell.wait_for("/round", "rmse 0.")
        shell.press("esc", "s")
        shell.wait_for("events: newest first", gone=("/round",))
        shell.press("esc", "tab", "tab")
        shell.wait_for("▸ 2 peers")
        shell.press("tab", "w")
        shell.wait_for("moving by itself is switched off", "Data and members")
        shell.press("esc", "p")
        held = shell.wait_for("paused", "2 members", gone=("Data and members",))
        shell.press("p")
        shell.wait_for("up 0:", gone=("paused",))
        assert "paused" in held
        shell.press("c")
        seen = shell.wait_for("is copied")
        address = re.findall(r"^/ip4/127\.0\.0\.1/tcp/\S+", seen, re.MULTILINE)[0]
        assert len(address) == 80, "it goes on in the next row"
        shell.press("esc")

        # a smaller window, one too small, and back
        shell.resize(60, 20)
        shell.wait_for("2 members", "events", "c: whole")
        shell.resize(30, 8)
        shell.wait_for("too small: 60x20 at least")
        shell.resize(80, 24)
        shell.wait_for("2 members", "c copies it whole")

        # groups, try, switch
        shell.press("g")
        shell.wait_for("▸ 2 groups", "not tried", "Enter try or switch")
        shell.press("down", "enter")
        shell.wait_for("jazz: t tries it on your data")
        shell.press("t")
        wait_for_pattern(shell, TRIED)
        shell.press("enter", "s")
        shell.wait_for("Leave music and switch to jazz? y/n")
        shell.press("y")
        shell.wait_for("now in group jazz")
        shell.press("esc")
        seen = shell.wait_for("2 members", "2 groups")
        assert "  jazz  " in seen.splitlines()[0]

        # the end of the node, and the terminal as it was
        shell.press("q")
        shell.wait_for("End this node? ", "What it learned is saved. y/n")
        shell.press("y")
        seen = shell.wait_for("go on with:", PROMPT)
        assert "of group jazz is saved" in " ".join(seen.split())
        assert shell.raw.rindex(LEAVE) > shell.raw.rindex(ENTER)
        assert {"icanon", "echo"} <= shell.settings()

        # in the background: recommend, top
        shell.run(f"clear; {NODE} start --home c --interval 1 --no-auto-switch --detach")
        shell.wait_for("openfl-node logs", PROMPT)
        shell.run(f"clear; {NODE} recommend --home c --top 3; echo code-$?")
        shell.wait_for("code-0", "For ", "expected")
        shell.run(f"clear; {NODE} top --home c")
        seen = shell.wait_for("2 members", "2 groups", "  jazz  ", "q leave")
        assert re.search(r"^address /ip4/127\.0\.0\.1/tcp/\d+/p2p/12D3…", seen, re.MULTILINE)
        shell.press("g", "down", "enter")
        shell.wait_for("music: t tries it on your data")
        shell.press("esc", "esc", "q")
        shell.wait_for(PROMPT, gone=("q leave",))
        assert {"icanon", "echo"} <= shell.settings()

        # logs -f in another terminal, while it is stopped
        with terminal(80, 24) as other:
            other.run(f"cd {tmp_path}; {NODE} logs -f --home c")
            other.wait_for(" round ", "rmse 0.")
            shell.run(f"clear; {NODE} stop --home c; echo code-$?")
            shell.wait_for("code-0")
            other.wait_for("is saved in")
            other.press("ctrl-c")
            other.run("echo code-$((40+2))")
            other.wait_for("code-42")
