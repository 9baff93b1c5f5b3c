"""`HomeLabels`: what others told of what items are called, in `state/labels.state`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import trio

from openfl.core.errors import DecodeError
from openfl.group.labels import LABELS_VERSION, Heard, labels_from_plain, labels_to_plain
from openfl.storage.home import Home
from openfl.storage.state_files import peek_state, read_state, set_aside, write_state

LABELS_KIND = "labels"


class HomeLabels:
    """A `KeptLabels` in a home folder. `tell(problem)`: told of a file of no use, moved aside."""

    def __init__(self, home: Home, tell: Callable[[str], None]) -> None:
        self._path = home.state_file("labels")
        self._tell = tell

    async def load(self, kind: str) -> Heard:
        """See `KeptLabels`."""
        heard, problem = await trio.to_thread.run_sync(_read, self._path, kind)
        if problem is not None:
            self._tell(f"{problem}; asking the group again")
        return heard

    async def save(self, heard: Heard) -> None:
        """See `KeptLabels`."""
        plain = labels_to_plain(heard)
        await trio.to_thread.run_sync(write_state, self._path, LABELS_KIND, LABELS_VERSION, plain)


def _read(path: Path, kind: str) -> tuple[Heard, str | None]:
    found = read_state(path, LABELS_KIND, LABELS_VERSION, time.time())
    if found.content is None:
        return Heard(kind), found.problem
    try:
        return labels_from_plain(kind, found.content), None
    except DecodeError as error:
        return Heard(kind), set_aside(path, "corrupt", f"holds {error}", time.time()).problem


def peek_labels(home: Home, kind: str) -> Heard:
    """The labels kept in a home, which may be another process's; none when the file is of no
    use."""
    plain = peek_state(home.state_file("labels"), LABELS_KIND, LABELS_VERSION)
    try:
        return Heard(kind) if plain is None else labels_from_plain(kind, plain)
    except DecodeError:
        return Heard(kind)
