"""Whether data is read by a node's own reader, or is an export to be read first.

Importing this is quick, and so is the answer for a file that the node reads itself: a node that
runs on one loads nothing of what reads exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.config import Config
from openfl.core.errors import DataError
from openfl.learning.csv_table import column_names

if TYPE_CHECKING:
    from openfl.sources.options import ReadOptions

OF_SONGS = ("rating", "implicit")
"""The kinds of learning that exports are for."""
_OWN_COLUMNS = {"user_id", "song_id"}


def read_options(config: Config) -> ReadOptions:
    """What the configuration says of data files."""
    from openfl.sources.options import ROLES, ReadOptions

    data = config.data
    columns = {role: getattr(data, f"columns__{role}") for role in ROLES}
    named = {"tab": "\t", "space": " ", "\\t": "\t"}
    separator = named.get(data.separator.lower(), data.separator)
    return ReadOptions(data.format, separator, data.encoding, columns)


def is_to_be_taken(config: Config, paths: Sequence[Path]) -> bool:
    """Whether these are to be read by `own_exports.take`, and not by the reader of `task.kind`
    itself: all but one CSV file with the columns of that reader, and what nobody can read, which
    it explains."""
    if not paths or config.task.kind not in OF_SONGS:
        return False
    if len(paths) > 1 or paths[0].is_dir():
        return True
    (path,) = paths
    if not path.is_file():
        return False
    if _is_own_form(path) and not any(read_options(config).columns.values()):
        return False
    from openfl.sources.containers import open_parts
    from openfl.sources.registry import recognise
    from openfl.sources.source import head_of

    options = read_options(config)
    if options.format or options.separator or options.encoding or any(options.columns.values()):
        return True
    with open_parts(paths) as parts:
        if len(parts.parts) != 1 or parts.parts[0].name != str(path):
            return True  # an archive
        head = head_of(parts.parts[0], options)
        return recognise(head) is not None or head.table is None


def _is_own_form(path: Path) -> bool:
    try:
        return set(column_names(path)) >= _OWN_COLUMNS
    except DataError:
        return False
