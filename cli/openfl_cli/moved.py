"""What `export` and `import` print."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openfl_cli import options
from openfl_cli.text import clean, count_of

if TYPE_CHECKING:
    from openfl.app.offline import MovedModel


def report(moved: MovedModel, as_json: bool) -> None:
    """One line for people, or the shape that docs/cli.md promises."""
    if as_json:
        options.print_json(dataclasses.asdict(moved))
        return
    print(
        f"wrote {clean(moved.path)}: group {clean(moved.group, 64)} ({moved.group_id[:8]}),"
        f" task {moved.task}, {count_of(moved.rows, 'song')}, {moved.named:,} of them by name"
    )
