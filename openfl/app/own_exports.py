"""What people have downloaded of themselves, as the files that a node learns from.

An export, a table in a form of its own, a folder or an archive is read by `openfl.sources`; what it
says is written into a folder, and the next export adds to it. A CSV file with the columns of a
node's own reader is learned from where it is. `start` does the former in a process of its own
(`data convert`), which takes with it the memory that reading took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openfl.config import Config
from openfl.core.errors import DataError
from openfl.learning.csv_table import column_names
from openfl.sources import own_form
from openfl.sources.collect import Collector
from openfl.sources.containers import open_parts
from openfl.sources.options import ROLES, ReadOptions
from openfl.sources.reading import Advance, Imported, no_advance, read_paths
from openfl.sources.registry import recognise
from openfl.sources.source import Items, head_of
from openfl.sources.summary import Task, task_of

OF_SONGS = ("rating", "implicit")
"""The kinds of learning that exports are for."""
_OWN_COLUMNS = {"user_id", "song_id"}


@dataclass(frozen=True)
class Taken:
    """What was read. data: the file to learn from; before: rows that were there already; task:
    what fits."""

    imported: Imported
    written: own_form.Written
    data: Path
    before: int
    task: Task


def read_options(config: Config) -> ReadOptions:
    """What the configuration says of data files."""
    data = config.data
    columns = {role: getattr(data, f"columns__{role}") for role in ROLES}
    named = {"tab": "\t", "space": " ", "\\t": "\t"}
    separator = named.get(data.separator.lower(), data.separator)
    return ReadOptions(data.format, separator, data.encoding, columns)


def take(
    paths: Sequence[Path],
    folder: Path,
    options: ReadOptions,
    person: str,
    advance: Advance = no_advance,
) -> Taken:
    """Read `paths`, and write what they say into `folder`, beside what is there.

    DataError: of `read_paths`, or a file there is not of this form; nothing was changed.
    StateError: it cannot be written; what was there is there still.
    """
    before = 0

    def read_first(collector: Collector, items: Items) -> None:
        nonlocal before
        own_form.read_into(collector, folder, items)
        before = collector.rows

    imported = read_paths(paths, options, person, advance, read_first)
    written = own_form.write(imported.collected, folder)
    task = task_of(imported.collected)
    data = own_form.data_file(folder, imported.collected, task)
    return Taken(imported, written, data, before, task)


def is_to_be_taken(config: Config, paths: Sequence[Path]) -> bool:
    """Whether these are to be read by `take`, and not by the reader of `task.kind` itself: all but
    one CSV file with the columns of that reader, and what nobody can read, which it explains."""
    if not paths or config.task.kind not in OF_SONGS:
        return False
    if len(paths) > 1 or paths[0].is_dir():
        return True
    (path,) = paths
    if not path.is_file():
        return False
    options = read_options(config)
    if any(options.columns.values()):
        return True
    try:
        if set(column_names(path)) >= _OWN_COLUMNS:
            return False
    except DataError:
        pass
    if options.format or options.separator or options.encoding:
        return True
    with open_parts(paths) as parts:
        if len(parts.parts) != 1 or parts.parts[0].name != str(path):
            return True  # an archive
        head = head_of(parts.parts[0], options)
        return recognise(head) is not None or head.table is None
