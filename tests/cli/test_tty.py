"""The terminal under the view: it may be stopped, or gone, and blocks nobody."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import sys
import termios
from collections.abc import Iterator

import pytest
import trio

from openfl_cli import terminal
from openfl_cli.terminal import Tty
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import environment, fork_on_terminal
from tests.situation import within


class Ends:
    """A pseudo-terminal that is this process's standard output. `far`: what shows it."""

    def __init__(self) -> None:
        self.far, self.near = pty.openpty()
        self.stdout = os.fdopen(self.near, "w", encoding="utf-8")

    def wait_for(self, text: str) -> None:
        """Until the last that was shown is `text`; the kernel hands it on in its own time."""
        seen = bytearray()
        while not seen.endswith(text.encode()):
            assert select.select([self.far], [], [], PATIENCE_SECONDS)[0], bytes(seen[-100:])
            seen += os.read(self.far, 1 << 16)


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    ends = Ends()
    monkeypatch.setattr(sys, "stdout", ends.stdout)
    yield ends
    ends.stdout.close()
    with contextlib.suppress(OSError):
        os.close(ends.far)


@pytest.fixture
def tty(ends: Ends) -> Iterator[Tty]:
    opened = Tty()
    yield opened
    opened.close()


async def test_what_is_written_is_shown_and_what_is_typed_is_read(ends: Ends, tty: Tty) -> None:
    assert await tty.write("voilà")
    ends.wait_for("voilà")
    os.write(ends.far, b"q\n")
    assert await tty.read(10) == b"q\n"


async def test_a_terminal_that_takes_nothing_is_given_up_and_tried_again(
    ends: Ends, tty: Tty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "FROZEN_SECONDS", 0.01)
    termios.tcflow(ends.near, termios.TCOOFF)  # as Ctrl-S does
    with within(PATIENCE_SECONDS, "the writer gives up"):
        assert not await tty.write("x" * 1_000_000)
    monkeypatch.setattr(terminal, "FROZEN_SECONDS", PATIENCE_SECONDS)
    termios.tcflow(ends.near, termios.TCOON)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tty.write, "y")
        await trio.to_thread.run_sync(ends.wait_for, "y")


def test_the_last_that_is_written_lets_a_stopped_terminal_go_on(ends: Ends, tty: Tty) -> None:
    termios.tcflow(ends.near, termios.TCOOFF)
    tty.write_now("the end")
    ends.wait_for("the end")


async def test_a_terminal_that_is_gone_takes_and_gives_nothing(ends: Ends, tty: Tty) -> None:
    os.close(ends.far)
    with within(PATIENCE_SECONDS, "a terminal that is gone is noticed"):
        assert not await tty.write("x")
        assert await tty.read(10) == b""
    tty.write_now("x")
    assert tty.size() == (80, 24)


async def test_the_writer_does_not_make_the_terminal_non_blocking_for_others(
    ends: Ends, tty: Tty
) -> None:
    assert await tty.write("x")
    assert os.get_blocking(ends.near)


NAMELESS = """\
import os

def unknown(descriptor):
    raise PermissionError("somebody else's")

os.ttyname = unknown
from openfl_cli.terminal import Tty
tty = Tty()
print("blocking", os.get_blocking(tty._descriptor), os.get_blocking(1), os.isatty(tty._descriptor))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there can /dev/tty be waited for")
def test_a_terminal_that_cannot_be_opened_by_its_name_blocks_nobody_either() -> None:
    child, far = fork_on_terminal()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", NAMELESS], environment())
    seen = b""
    with contextlib.suppress(OSError):  # how a terminal whose program has ended is read
        while data := os.read(far, 1 << 16):
            seen += data
    os.close(far)
    assert os.waitpid(child, 0)[1] == 0, seen
    assert seen.split() == [b"blocking", b"False", b"True", b"True"]
