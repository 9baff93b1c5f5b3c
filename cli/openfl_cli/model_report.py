"""What `export` and `import` print."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openfl_cli import options
from openfl_cli.text import clean, count_of

if TYPE_CHECKING:
    from openfl.app.offline import WrittenModel


def report(written: WrittenModel, as_json: bool) -> None:
    """One line for people, or the shape that docs/cli.md promises."""
    if as_json:
        options.print_json(dataclasses.asdict(written))
        return
    print(
        f"wrote {clean(written.path)}: group {clean(written.group, 64)} ({written.group_id[:8]}),"
        f" task {written.task}, {count_of(written.rows, 'song')}, {written.named:,} of them by name"
    )
