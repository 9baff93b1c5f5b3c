"""While a simulation runs: a bar on a terminal, else one line a round."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openfl_cli import options
from openfl_cli.text import change_percent, human_bytes, metric_label, metric_value

if TYPE_CHECKING:
    from openfl.simulation.records import RoundRecord

Show = Callable[["RoundRecord"], None]


@contextmanager
def progress(rounds: int, quiet: bool) -> Iterator[Show]:
    """Where records go as they come: nowhere when `quiet`."""
    from openfl_cli.terminal import in_foreground

    if quiet:
        yield lambda record: None
    elif in_foreground(sys.stderr):
        with _bar(rounds) as show:
            yield show
    else:
        yield lambda record: options.note(line(record, rounds))


@contextmanager
def _bar(rounds: int) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("round"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False, emoji=False),
        auto_refresh=False,  # its own refresh is a thread
        transient=True,
    )
    with bar:
        task = bar.add_task("nodes are starting", total=rounds)
        bar.refresh()

        def show(record: RoundRecord) -> None:
            bar.update(task, completed=record.round, description=_standing(record))
            bar.refresh()

        yield show


def line(record: RoundRecord, rounds: int) -> str:
    """One round as a line of text."""
    return f"round {record.round} of {rounds}: {_standing(record)}"


def _standing(record: RoundRecord) -> str:
    change = change_percent(1 + record.against_central, 1.0)
    against = "" if change is None else f" ({change:+.2f} % against central)"
    return (
        f"test {metric_label(record.metric)} {metric_value(record.test.pooled)}{against},"
        f" {record.members} members, {human_bytes(record.published_bytes)} a node"
    )
