"""A program on a terminal as a person has it: bash on a pseudo-terminal, keys, and a screen that
shows what a terminal would (pyte)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping

import pyte  # type: ignore[import-untyped]

from tests.patience import PATIENCE_SECONDS
from tests.process_rig import fork_on_terminal

KEYS: Mapping[str, str] = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "tab": "\t",
    "backtab": "\x1b[Z",
    "enter": "\r",
    "backspace": "\x7f",
    "esc": "\x1b",
    "wheel-up": "\x1b[<64;9;9M",
    "wheel-down": "\x1b[<65;9;9M",
    "ctrl-c": "\x03",
    "ctrl-l": "\x0c",
    "ctrl-z": "\x1a",
    "ctrl-\\": "\x1c",
}
ALTERNATE = re.compile(r"\x1b\[\?1049([hl])")
PROMPT = "ready>"


class Terminal:
    """bash under job control; `raw` is all that was ever written to the terminal."""

    def __init__(self, columns: int = 80, lines: int = 24, **environment: str) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self.raw = ""
        self._undecoded = b""
        self._unfed = ""
        inherited = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PS1": f"{PROMPT} "}
        inherited["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        inherited["PATH"] = os.environ["PATH"]
        inherited["HOME"] = os.environ.get("HOME", "/")
        self.pid, self._terminal = fork_on_terminal()
        if self.pid == 0:
            bash = ["bash", "--norc", "--noprofile", "-i"]
            os.execvpe("bash", bash, inherited | environment)
        self.resize(columns, lines)
        self.wait_for(PROMPT)

    # --- what a person does ---

    def type(self, text: str) -> None:
        """Letters as they are."""
        os.write(self._terminal, text.encode())

    def press(self, *keys: str) -> None:
        """Keys by their names in `KEYS`, or letters."""
        for key in keys:
            self.type(KEYS.get(key, key))

    def run(self, command: str) -> None:
        """Type a command and Enter."""
        self.type(f"{command}\r")

    def resize(self, columns: int, lines: int) -> None:
        """As when a window is dragged."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        self.screen.resize(lines, columns)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    # --- what a person sees ---

    @property
    def lines(self) -> list[str]:
        """The screen now, without spaces at the ends of lines."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The screen now."""
        return "\n".join(self.lines)

    def wait_for(self, *texts: str, gone: tuple[str, ...] = ()) -> str:
        """Until all of `texts` are on the screen, and none of `gone`; the screen then."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (
            all(text in self.text for text in texts) and not any(text in self.text for text in gone)
        ):
            assert time.monotonic() < deadline, f"{texts} never came:\n{self.text}"
            self._read(1.0)
        return self.text

    def wait_for_raw(self, text: str, since: int = 0) -> None:
        """Until `text` is among what was written."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.raw[since:]:
            assert time.monotonic() < deadline, f"{text!r} was never written:\n{self.text}"
            self._read(1.0)

    def settings(self) -> set[str]:
        """Words of `stty -a`; typed at the shell."""
        self.run("stty -a; echo settled-$((40+2))")
        seen = self.wait_for("settled-42")
        return set(re.split(r"[\s;]+", seen))

    def _read(self, seconds: float) -> None:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return
        try:
            self._undecoded += os.read(self._terminal, 1 << 16)
        except OSError:  # the shell is gone
            time.sleep(0.05)
            return
        text = self._undecoded.decode(errors="ignore")
        if text.encode() != self._undecoded:
            return  # half a letter
        self._undecoded = b""
        self.raw += text
        # pyte has one screen only; a switch that is cut in two is fed when it is whole.
        text, self._unfed = self._unfed + text, ""
        if cut := re.search(r"\x1b\[?\??\d*\Z", text):
            text, self._unfed = text[: cut.start()], cut[0]
        for part in re.split(r"(\x1b\[\?1049[hl])", text):
            if ALTERNATE.fullmatch(part):
                self.screen.reset()
            else:
                self._stream.feed(part)

    def end(self) -> None:
        """Of the shell, and of what it has started."""
        with contextlib.suppress(OSError):
            os.killpg(os.tcgetpgrp(self._terminal), signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextlib.contextmanager
def terminal(columns: int = 80, lines: int = 24, **environment: str) -> Iterator[Terminal]:
    """One that does not outlive the block. What fails in it tells what was on the screen."""
    opened = Terminal(columns, lines, **environment)
    try:
        yield opened
    except BaseException as error:
        error.add_note(f"on the screen:\n{opened.text}")
        raise
    finally:
        opened.end()


def has_bash() -> bool:
    """Whether there is a shell to run."""
    return shutil.which("bash") is not None
