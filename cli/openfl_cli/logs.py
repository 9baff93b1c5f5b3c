"""node.log in the home folder: every event, and the warnings of the libraries underneath.

Libraries log through `logging`; without a handler Python would write their warnings over the live
view. The file is bounded: two pieces of `MAX_BYTES`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import os
from collections.abc import Iterator
from pathlib import Path

from openfl.app.home_folder import Home
from openfl.core.errors import StateError
from openfl.core.files import open_own
from openfl.core.telemetry import NodeEvent
from openfl_cli.text import clean

MAX_BYTES = 4_000_000
MAX_MESSAGE_CHARS = 4_000


class _QuietFileHandler(logging.handlers.RotatingFileHandler):
    def _open(self) -> io.TextIOWrapper:
        """Readable by its owner only, whatever the umask and whatever it was before."""
        handle = open_own(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with contextlib.suppress(OSError):  # a file system without permissions
            os.fchmod(handle, 0o600)
        return open(handle, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs log lines, not the node, and not a traceback on the screen."""

    def close(self) -> None:
        # What could not be written is tried once more at the end.
        with contextlib.suppress(OSError):
            super().close()


class _OneLine(logging.Formatter):
    """Text of peers and files is made harmless as for the terminal, and cannot end a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = clean(record.message, MAX_MESSAGE_CHARS)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        # The lines of a traceback, indented: none of them begins like a record.
        lines = super().format(record).split("\n")
        return "\n  ".join(clean(line, MAX_MESSAGE_CHARS) for line in lines)


class LogFile:
    """Writes NodeEvents beside what libraries log."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("openfl.node")

    def event(self, event: NodeEvent) -> None:
        """Log it at its own level; whether that is written is for `log_to_file` to say."""
        level = logging.getLevelNamesMapping()[event.level.upper()]
        self._logger.log(level, "%s: %s", event.kind, event.message)


@contextlib.contextmanager
def log_to_file(home: Path, level: str) -> Iterator[LogFile]:
    """Sends all logging to node.log in `home`, which is made when there is none, while open.
    StateError when that cannot be written, or the home is not ours."""
    place = Home(home)
    place.prepare()
    try:
        handler = _QuietFileHandler(
            place.log_file, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", errors="replace"
        )
    except OSError as error:
        raise StateError(f"{place.log_file}: {error.strerror or error}") from None
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("openfl")
    before = root.level, ours.level
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    ours.setLevel(level.upper())
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield LogFile()
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        handler.close()
