"""The terminal, which a shell lends to its foreground job, and only for as long as it is there.

Whoever draws on the terminal, or changes how it takes keys, asks `in_foreground` first; a job in
the background prints lines at most. What was changed is put back whenever the shell takes over:
when the job is stopped (Ctrl-Z) and when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TextIO

import trio

FROZEN_SECONDS = 1.0
"""How long a terminal that takes nothing is waited for."""


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

    def silence(self, by_key: bool = False) -> None:
        """Nothing in the background: there the keyboard is the shell's. by_key: each key can be
        read at once, instead of lines."""
        if self._before is not None or not in_foreground():
            return
        with contextlib.suppress(termios.error):
            before = termios.tcgetattr(sys.stdout.fileno())
            quiet = list(before)
            quiet[3] &= ~termios.ECHO
            if by_key:
                # IEXTEN: or Ctrl-V would quote the next key, and Ctrl-O drop what is written.
                quiet[3] &= ~(termios.ICANON | termios.IEXTEN)
                quiet[6] = list(before[6])
                quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
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


class Tty:
    """The terminal under standard output, opened anew: it never blocks this process, and nobody who
    shares the terminal notices. What cannot be written, because the terminal is gone, is lost."""

    def __init__(self) -> None:
        out = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._one_writer = trio.Lock()
        self._descriptor = _opened_anew(out)

    def close(self) -> None:
        """Afterwards it is of no use."""
        os.close(self._descriptor)

    def size(self) -> tuple[int, int]:
        """(columns, lines); 80x24 where the terminal does not say."""
        try:
            columns, lines = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, lines = 0, 0
        return columns or 80, lines or 24

    async def write(self, text: str) -> bool:
        """False: not all of it was taken within `FROZEN_SECONDS`, as by a terminal that Ctrl-S
        has stopped. It is not cut short by being cancelled."""
        rest = text.encode(self._encoding, "replace")
        deadline = trio.current_time() + FROZEN_SECONDS
        with trio.CancelScope(deadline=deadline, shield=True):
            async with self._one_writer:
                while rest:
                    try:
                        rest = rest[os.write(self._descriptor, rest) :]
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._descriptor)
                    except OSError:
                        return False
        return not rest

    def write_now(self, text: str) -> None:
        """For the last that is written: it lets a stopped terminal go on."""
        rest = text.encode(self._encoding, "replace")
        with contextlib.suppress(OSError, termios.error):
            termios.tcflow(self._descriptor, termios.TCOON)
            while rest and select.select((), (self._descriptor,), (), FROZEN_SECONDS)[1]:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(self._descriptor, rest) :]

    async def read(self, most: int) -> bytes:
        """The next bytes that were typed; empty when the terminal is gone."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                return os.read(self._descriptor, most)
            except BlockingIOError:
                continue
            except OSError:
                return b""


def _opened_anew(out: int) -> int:
    """Of the terminal `out`, where it can be opened: its name may be of another user (sudo), or not
    be there (a container); `/dev/tty` is then the same, if we are under its control."""
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(os.ttyname(out), flags)
    if sys.platform == "linux":  # others cannot wait for it
        with contextlib.suppress(OSError):
            os.tcgetpgrp(out)
            return os.open("/dev/tty", flags)
    return os.dup(out)


@contextlib.contextmanager
def restoring_at_quit(restore: Callable[[], None]) -> Iterator[None]:
    """Ctrl-\\ ends this process as ever, after `restore`."""
    if signal.getsignal(signal.SIGQUIT) is not signal.SIG_DFL:
        yield
        return

    def restore_and_quit(*_: object) -> None:
        restore()
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGQUIT)

    signal.signal(signal.SIGQUIT, restore_and_quit)
    try:
        yield
    finally:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


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
