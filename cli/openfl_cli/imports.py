"""What `openfl-node data` shows: a bar while files are read, and what is in them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from openfl_cli.text import clean, count_of, human_bytes

if TYPE_CHECKING:
    from openfl.sources.summary import Summary

_BAR_FROM_BYTES = 20_000_000
_SHOWN_LEFT = 8
_STEPS = 200


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Called with (bytes read, bytes in all): a bar on a terminal, for large files."""
    from openfl_cli.terminal import in_foreground

    if not in_foreground(sys.stderr):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True, highlight=False, emoji=False),
        auto_refresh=False,  # its own refresh is a thread
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        shown = 0

        def advance(done: int, total: int) -> None:
            nonlocal shown
            if total < _BAR_FROM_BYTES or (done - shown) * _STEPS < total:
                return
            shown = done
            bar.update(task, completed=done, total=total, description=human_bytes(done))
            bar.refresh()

        yield advance


def lines(summary: Summary) -> Iterator[str]:
    """What a person reads."""
    things = {"music": "songs", "film": "films", "book": "books", "opaque": "items"}
    amount = "ratings" if summary.task == "rating" else "plays"
    yield f"source        {clean(', '.join(summary.titles))}"
    kinds = ", ".join(f"{count:,} {word}" for word, count in summary.kinds.items())
    yield f"interactions  {summary.interactions:,} ({kinds})"
    yield f"people        {summary.people:,}"
    yield f"items         {summary.items:,} {things[summary.items_are]}"
    if summary.period is not None:
        first, last = (_day(seconds) for seconds in summary.period)
        yield f"period        {first} to {last}"
    if summary.scale is not None:
        yield f"scale         {summary.scale[0]:g} to {summary.scale[1]:g}"
    yield f"task          {summary.task}"
    if summary.duplicates:
        yield f"duplicates    {count_of(summary.duplicates, 'row')} that others say, too"
    for title, texts in (("assumed", summary.assumed), ("problems", summary.problems)):
        if texts:
            yield f"{title}:"
            yield from (f"  {clean(text, 300)}" for text in texts)
    if summary.dropped:
        yield "left out:"
        for reason, (rows, places) in summary.dropped.items():
            yield f"  {rows:>9,}  {clean(reason)} (first {clean(_places(places), 300)})"
    if summary.left:
        yield "not read:"
        for name, why in list(summary.left.items())[:_SHOWN_LEFT]:
            yield f"  {clean(name, 200)}: {clean(why, 200)}"
        if len(summary.left) > _SHOWN_LEFT:
            yield f"  and {len(summary.left) - _SHOWN_LEFT:,} more"
    yield "rated best:" if summary.task == "rating" and summary.people == 1 else f"most {amount}:"
    for item in summary.top:
        label = f"{item.title} - {item.artist}" if item.artist else item.title
        yield f"  {item.amount:>9,.10g}  {clean(label or item.item_id, 68)}"


def _places(places: Sequence[str]) -> str:
    """`plays.json:15, 27, 31`, without the folders."""
    shown: list[str] = []
    last = ""
    for place in places:
        file, _, at = place.rpartition("/")[2].rpartition(":")
        shown.append(at if file == last else f"{file}:{at}")
        last = file
    return ", ".join(shown)


def _day(seconds: int) -> str:
    from openfl.sources.summary import iso

    return iso(seconds)[:10]
