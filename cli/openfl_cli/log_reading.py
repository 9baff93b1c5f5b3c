"""Reading node.log and the pieces it has been put aside in, as `openfl_cli.logs` writes them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from openfl.app.home_folder import Home
from openfl.core.errors import NotRunningError, StateError
from openfl.core.event_kinds import EVENT_KINDS
from openfl.core.files import open_own

LIBRARY = "library"
"""The kind of what is no event: lines of libraries, and what ended the node."""

_LINE = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d{3}(?:[+-]\d\d:\d\d)?) ([A-Z]+) (\S+) (.*)", re.DOTALL
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the log. `time` is unix seconds; a `message` may have several lines."""

    time: float
    level: str
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


def parse(record: str) -> Entry | None:
    """A record with its further lines; None when it does not begin like one."""
    found = _LINE.fullmatch(record)
    if found is None:
        return None
    try:
        time = datetime.fromisoformat(found[1].replace(",", ".")).timestamp()
    except ValueError:
        return None
    level = found[2].lower()
    if level not in ("debug", "info", "warning", "error"):
        level = "error" if level == "critical" else "info"
    first, *others = found[4].split("\n")
    text, tab, data = first.partition("\t")
    kind, colon, message = text.partition(": ")
    # Version 0.1.0 wrote events without their data.
    if tab or (colon and found[3] == "openfl.node" and kind in EVENT_KINDS):
        return Entry(time, level, kind, message, _data(data))
    lines = [text, *(line.removeprefix("  ") for line in others)]
    return Entry(time, level, LIBRARY, "\n".join(lines), {"logger": found[3]})


def _data(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def records(lines: Iterable[str]) -> Iterator[str]:
    """Lines put together: each record begins with a date, whatever follows belongs to it."""
    record: list[str] = []
    for line in lines:
        if record and _LINE.fullmatch(line):
            yield "\n".join(record)
            record = []
        record.append(line)
    if record:
        yield "\n".join(record)


class LogReader:
    """First `last`, then `more` as often as one likes: what has been written since, through any
    number of rotations and restarts of the node."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = Home(home).log_file
        self._file: BinaryIO | None = None
        self._rest = b""
        self._pending: list[str] = []
        """The lines of the last record, which may go on."""

    def last(self, most: int | None, since: float | None) -> list[Entry]:
        """At most the last `most` entries since then (unix seconds); oldest first.
        NotRunningError when there is no log; StateError when it cannot be read."""
        found: list[str] = []
        seen: set[int] = set()
        for path in self._pieces():
            file = self._open(path)
            if file is None:
                continue
            inode = os.fstat(file.fileno()).st_ino
            if inode in seen:  # put aside just now
                file.close()
                continue
            seen.add(inode)
            lines = self._lines_of(file)
            if self._file is None:
                self._file = file
            else:
                file.close()
            found = [*records(lines), *found]
            if most is not None and len(found) >= most:
                break
            if since is not None and found and _is_before(found[0], since):
                break
        if self._file is None:
            raise NotRunningError(f"there is no log in {self._home} yet: no node has run there")
        if since is None and most is not None:
            found = found[len(found) - min(most, len(found)) :]
        entries = [entry for entry in map(parse, found) if entry is not None]
        if since is not None:
            entries = [entry for entry in entries if entry.time >= since]
        return entries if most is None else entries[len(entries) - min(most, len(entries)) :]

    def more(self) -> list[Entry]:
        """What has been written since; empty when nothing was. A record is told once the next one
        begins, or nothing has been added to it from one call to the next."""
        lines: list[str] = []
        for file in self._files_since():
            lines += self._lines_of(file)
        if lines:
            *whole, last = records([*self._pending, *lines])
            self._pending = last.split("\n")
        else:
            whole, self._pending = ["\n".join(self._pending)] if self._pending else [], []
        return [entry for entry in map(parse, whole) if entry is not None]

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _pieces(self) -> list[Path]:
        """node.log and what was put aside, newest first."""
        numbers = []
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            number = path.name.removeprefix(f"{self._path.name}.")
            if number.isascii() and number.isdigit():
                numbers.append(int(number))
        return [self._path, *(Path(f"{self._path}.{number}") for number in sorted(numbers))]

    def _open(self, path: Path) -> BinaryIO | None:
        try:
            return os.fdopen(open_own(path), "rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None

    def _files_since(self) -> Iterator[BinaryIO]:
        """The file read last, and those begun after it; the newest is the one to go on with."""
        if self._file is not None:
            status = os.fstat(self._file.fileno())
            if status.st_size < self._file.tell():
                self._file.seek(0)  # somebody has emptied it
                self._rest = b""
            yield self._file
        newer: list[BinaryIO] = []
        for path in self._pieces():
            file = self._open(path)
            if file is None:
                continue
            if self._file is not None and os.path.sameopenfile(file.fileno(), self._file.fileno()):
                file.close()
                break
            newer.append(file)
        for file in reversed(newer):
            if self._file is not None:
                # Once more: it may have got a last line before it was put aside.
                yield self._file
                self._file.close()
            self._file, self._rest = file, b""
            yield file

    def _lines_of(self, file: BinaryIO) -> list[str]:
        """The whole lines from where the file was left; the rest of node.log is kept for later."""
        data = self._rest if file is self._file else b""
        while chunk := file.read(_CHUNK):
            data += chunk
        *lines, rest = data.split(b"\n")
        if self._file is None or file is self._file:
            self._rest = rest
        return [line.decode("utf-8", "replace") for line in lines]


def _is_before(record: str, since: float) -> bool:
    entry = parse(record)
    return entry is not None and entry.time < since
