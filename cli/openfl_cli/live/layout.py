"""How the lines of a screen are shared out among the panes, and cells among columns: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from openfl_cli.live.state import PANES, Pane

LEAST_WIDTH, LEAST_HEIGHT = 60, 20
LEAST_ROWS: Mapping[Pane, int] = {"members": 2, "events": 2, "groups": 0, "traffic": 0}
"""Of each pane, before any gets more; the titles, which carry the counts, always stay."""
LEAST_OF_FOCUS = 3
LEAST_COLUMN = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows that a pane could show, and lines that it needs above them besides its title."""

    rows: int
    heading: int = 1


def share(room: int, wanted: Mapping[Pane, Wanted], focus: Pane) -> dict[Pane, int]:
    """Rows of each pane of `wanted` within `room` lines, titles and headings included: members and
    events first, then twice as many to the focus as to each other, and what is left to traffic."""
    rows: dict[Pane, int] = dict.fromkeys(wanted, 0)
    left = room - len(wanted)

    def grow(pane: Pane) -> bool:
        nonlocal left
        if pane not in wanted or rows[pane] >= wanted[pane].rows:
            return False
        # A heading over one row of several would say little.
        more = 1 if rows[pane] else min(2, wanted[pane].rows)
        cost = more + (0 if rows[pane] else wanted[pane].heading)
        if cost > left:
            return False
        rows[pane] += more
        left -= cost
        return True

    for _ in range(max(LEAST_ROWS.values())):
        for pane in PANES:
            if pane in wanted and rows[pane] < LEAST_ROWS[pane]:
                grow(pane)
    while focus in wanted and rows[focus] < LEAST_OF_FOCUS and grow(focus):
        pass
    turns: tuple[Pane, ...] = (focus, "members", "events", focus, "groups")
    while any([grow(pane) for pane in turns]):
        pass
    while grow("traffic"):
        pass
    return rows


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list. flexible: it gives way when the list is too wide."""

    name: str
    right: bool = False
    flexible: bool = False


GAP = "  "


def cut(text: str, cells: int) -> str:
    """`text` in at most `cells` cells, with an ellipsis when something is missing."""
    if cell_len(text) <= cells:
        return text
    return set_cell_size(text, cells - 1) + "…" if cells > 0 else ""


def in_columns(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[str, list[str]]:
    """(heading, a line a row), each column as wide as it has to be; the flexible ones give way
    when all are wider than `width`."""
    widths = [
        max([cell_len(column.name), *(cell_len(row[place]) for row in rows)])
        for place, column in enumerate(columns)
    ]
    over = sum(widths) + len(GAP) * (len(columns) - 1) - width
    for place in reversed(range(len(columns))):
        if over <= 0:
            break
        if columns[place].flexible:
            narrower = max(LEAST_COLUMN, widths[place] - over)
            if narrower < widths[place]:
                over -= widths[place] - narrower
                widths[place] = narrower
    heading = _joined(columns, [column.name for column in columns], widths)
    return heading, [_joined(columns, row, widths) for row in rows]


def _joined(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, text, width in zip(columns, row, widths, strict=True):
        shown = cut(text, width)
        space = " " * (width - cell_len(shown))
        cells.append(space + shown if column.right else shown + space)
    return GAP.join(cells).rstrip()


def keys_that_fit(keys: Sequence[tuple[str, str]], width: int) -> list[tuple[str, str]]:
    """The first of `keys` (key, what it does) that fit a line, two spaces between them."""
    shown: list[tuple[str, str]] = []
    used = 0
    for key, word in keys:
        used += cell_len(key) + 1 + cell_len(word) + (2 if shown else 0)
        if used > width:
            break
        shown.append((key, word))
    return shown
