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

from openfl.sources import own_form
from openfl.sources.collect import Collector
from openfl.sources.interactions import Task
from openfl.sources.options import ReadOptions
from openfl.sources.reading import Advance, Imported, no_advance, read_paths
from openfl.sources.source import Items
from openfl.sources.summary import task_of


@dataclass(frozen=True)
class Taken:
    """What was read. data: the file to learn from; before: rows that were there already; task:
    what fits."""

    imported: Imported
    written: own_form.Written
    data: Path
    before: int
    task: Task


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
