"""Standard output and error in every state they may be in: closed, on a full disk, without a
reader.

None of that is a bug of ours, and the rule is the same for everything that prints:

- a command whose output is lost ends with one line and a documented exit code: `ReaderGone` (141,
  silently, as all programs of a pipeline do) or `OutputLost` (6);
- a node goes on without its lines (`go_on_without_output`): nobody's terminal, disk or pipe decides
  whether it lives;
- what cannot be said on standard error stays unsaid.

Both are raised by the stream itself, so commands print as they like and handle nothing.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import Any, TextIO

from openfl.core.errors import StateError


class ReaderGone(Exception):
    """Whoever read standard output went away. No BrokenPipeError: rich would end the process."""


class OutputLost(StateError):
    """Standard output cannot be written: it is closed, or a full disk is under it."""


class _Raw(io.FileIO):
    """One of the standard streams. A loss is raised once; afterwards, or with `may_be_lost`, what
    cannot be written is thrown away, so that no buffer fails again at the end of the process."""

    may_be_lost = False

    def write(self, data: Any) -> int:
        while True:
            try:
                written = super().write(data)
            except OSError as error:
                if not self.may_be_lost:
                    self.may_be_lost = True
                    raise _loss(error) from None
                return memoryview(data).nbytes
            if written is not None:
                return written
            # Somebody who shares the terminal or pipe with us made it non-blocking.
            select.select((), (self,), ())


def _loss(error: OSError) -> Exception:
    if error.errno == errno.EPIPE:
        return ReaderGone()
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)
    return OutputLost(f"standard output cannot be written: {reason}")


def prepare() -> None:
    """Replace this process's own streams by these. Called once, before anything else.

    A standard descriptor that is closed is taken first: or the next file or socket to be opened
    would get its number, and everything that is printed.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # For reading only, so that writing fails as it does on a closed descriptor.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = _stream(1, sys.stdout)
    sys.stderr = _stream(2, sys.stderr, may_be_lost=True)


def _stream(descriptor: int, before: TextIO | None, may_be_lost: bool = False) -> TextIO:
    raw = _Raw(descriptor, "w", closefd=False)
    raw.may_be_lost = may_be_lost
    at_once = descriptor == 2 or raw.isatty() or getattr(before, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        # A title that the terminal's encoding lacks must not end a command.
        errors="replace",
        line_buffering=at_once,
    )


def go_on_without_output() -> None:
    """From now on what cannot be written to standard output is left out: for a running node."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Raw):
        raw.may_be_lost = True
