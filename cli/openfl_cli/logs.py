"""node.log in the home folder: every event, what ended the node, and the warnings of the libraries
underneath.

Libraries log through `logging`; without a handler Python would write their warnings over the live
view. The file is bounded: when it is full it becomes node.log.1, that node.log.2, and so on.
An event's line ends with a tab and its data as JSON, so that `openfl-node logs` can tell all that
`start` does; a message holds no tab. `openfl_cli.log_reading` reads what is written here.
"""

from __future__ import annotations

import contextlib
import io
import logging
import logging.handlers
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from openfl.app.home_folder import Home
from openfl.core.errors import StateError, UserError
from openfl.core.files import open_own
from openfl.core.telemetry import NodeEvent
from openfl_cli.text import clean, to_json

MAX_MESSAGE_CHARS = 4_000
MAX_DATA_CHARS = 200_000
"""Recommendations of a thousand songs fit; what is longer is left out of the log."""
DATA = "openfl_data"
"""The attribute of a record that holds an event's data."""


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

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """With the offset from UTC: a log may be read elsewhere, or after the clocks change."""
        local = datetime.fromtimestamp(record.created).astimezone()
        return local.isoformat(" ", "milliseconds")

    def format(self, record: logging.LogRecord) -> str:
        # The lines of a traceback, indented: none of them begins like a record.
        lines = super().format(record).split("\n")
        text = "\n  ".join(clean(line, MAX_MESSAGE_CHARS) for line in lines)
        data = getattr(record, DATA, None)
        if data is None:
            return text
        plain = to_json(data)
        return f"{text}\t{plain if len(plain) <= MAX_DATA_CHARS else '{}'}"


class LogFile:
    """Writes NodeEvents beside what libraries log."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("openfl.node")

    def event(self, event: NodeEvent) -> None:
        """Log it at its own level; whether that is written is for `log_to_file` to say. Where we
        listen is written at every level, as `start` prints it."""
        self._write(event.level, event.kind, event.message, event.data)

    def recommendations(self, plain: Mapping[str, Any]) -> None:
        """Log the closing recommendations. plain: `Recommendations.to_plain()`."""
        text = f"recommendations for {plain['user']}"
        self._write("info", "recommendations", text, plain)

    def _write(self, level: str, kind: str, message: str, data: Mapping[str, Any]) -> None:
        number = logging.getLevelNamesMapping()[level.upper()]
        if kind != "listening" and not self._logger.isEnabledFor(number):
            return
        record = self._logger.makeRecord(
            self._logger.name, number, "", 0, "%s: %s", (kind, message), None, extra={DATA: data}
        )
        self._logger.handle(record)


@contextlib.contextmanager
def log_to_file(
    home: Path, level: str, megabytes: float = 5.0, files: int = 3
) -> Iterator[LogFile]:
    """Sends all logging to node.log in `home`, which is made when there is none, while open; at
    most `files` pieces of `megabytes` are kept. What the block raises is logged too: whoever looks
    for why a node in the background ended finds it here. StateError when the log cannot be written,
    or the home is not ours."""
    place = Home(home)
    place.prepare()
    try:
        handler = _QuietFileHandler(
            place.log_file,
            maxBytes=int(megabytes * 1e6),
            backupCount=files - 1,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise StateError(f"{place.log_file}: {error.strerror or error}") from None
    _remove_more_than(place.log_file, files)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("openfl")
    before = root.level, ours.level
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    ours.setLevel(level.upper())
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        yield LogFile()
    except BaseException as error:
        _log_end(error)
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])
        handler.close()


def _remove_more_than(log: Path, files: int) -> None:
    """Pieces of a time when more were kept."""
    for path in log.parent.glob(f"{log.name}.*"):
        number = re.fullmatch(r"\d+", path.name.removeprefix(f"{log.name}."))
        if number and int(number[0]) >= files:
            with contextlib.suppress(OSError):
                path.unlink()


def _log_end(error: BaseException) -> None:
    """What ends the node, unless it was asked to end (KeyboardInterrupt, a cancelled task). In the
    form of an event, so that a bug report leaves the text out: it may hold names."""
    reasons = [leaf for leaf in _leaves(error) if isinstance(leaf, Exception)]
    logger = logging.getLogger("openfl.node")
    if reasons and all(isinstance(reason, UserError) for reason in reasons):
        logger.error("ended: %s", reasons[0])
    elif reasons:
        logger.error("ended: by a bug", exc_info=error)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
