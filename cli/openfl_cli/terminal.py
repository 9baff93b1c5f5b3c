"""The terminal, which a shell lends to its foreground job, and only for as long as it is there.

Whoever draws on the terminal, or changes how it takes keys, asks `in_foreground` first; a job in
the background prints lines at most. What was changed is put back whenever the shell takes over:
when the job is stopped (Ctrl-Z) and when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

import trio


def in_foreground(stream: TextIO | None = None) -> bool:
    """Whether `stream` (default: standard output) is a terminal, and this process in its
    foreground. One that is not our controlling terminal (`setsid`) belongs to somebody else."""
    try:
        return os.tcgetpgrp((stream or sys.stdout).fileno()) == os.getpgrp()
    except OSError:
        return False


def never_stop_for_output() -> None:
    """A node in the background is not stopped because it prints a line (`stty tostop`)."""
    if hasattr(signal, "SIGTTOU"):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def stop_this_process() -> None:
    """As Ctrl-Z does; returns once the shell lets it go on (`fg`, `bg`)."""
    os.kill(os.getpid(), signal.SIGSTOP)


class Keyboard:
    """Silenced, keys are neither shown nor kept: what was typed at a picture must not be run by
    the shell afterwards. Ctrl-C and Ctrl-Z work as ever. Restored at the end of a `with`."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def silence(self) -> None:
        """Nothing in the background: there the keyboard is the shell's."""
        if self._before is not None or not in_foreground():
            return
        with contextlib.suppress(termios.error):
            before = termios.tcgetattr(sys.stdout.fileno())
            quiet = list(before)
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(sys.stdout.fileno(), termios.TCSANOW, quiet)
            self._before = before

    def restore(self) -> None:
        """As it was; what was typed meanwhile is thrown away."""
        before, self._before = self._before, None
        if before is None or not in_foreground():
            return  # in the background it is the shell's, which has its own settings
        with contextlib.suppress(termios.error):
            # Not TCSAFLUSH: it would wait for output that Ctrl-S holds up.
            termios.tcflush(sys.stdout.fileno(), termios.TCIFLUSH)
            termios.tcsetattr(sys.stdout.fileno(), termios.TCSANOW, before)

    def __enter__(self) -> Keyboard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.restore()


@contextlib.contextmanager
def noticing_suspension() -> Iterator[trio.Event]:
    """Ctrl-Z sets the event instead of stopping this process, which can put the terminal in order
    and then stop itself. Where it was ignored at the start it stays ignored."""
    asked = trio.Event()
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
        yield asked
        return
    token = trio.lowlevel.current_trio_token()
    before = signal.signal(signal.SIGTSTP, lambda *_: token.run_sync_soon(asked.set))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTSTP, before)
