"""Pictures become what is written to the terminal: of each only the lines that changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, Console
from rich.text import Text

from openfl_cli.live.picture import Line, Whole

SYNC_BEGIN, SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
"""A terminal that knows them shows what is between them at once; others pass over them."""
CLEAR = "\x1b[0m\x1b[2J"


@dataclass(frozen=True, slots=True)
class Painter:
    """Turns lines into text with escapes, in the colours of a terminal."""

    console: Console

    def encode(self, lines: Sequence[Line], width: int) -> tuple[str | None, ...]:
        """What each row is drawn by; None: by the row above it."""
        return tuple(None if line is None else self._encoded(line, width) for line in lines)

    def _encoded(self, line: Text | Whole, width: int) -> str:
        if isinstance(line, Whole):
            text, cells = line.text, cell_len(line.text)
        else:
            text, cells = self._styled(line), cell_len(line.plain)
        # Behind a full line there is nothing to erase, and the cursor is still on its last cell.
        return text if cells and cells % width == 0 else f"{text}\x1b[K"

    def _styled(self, line: Text) -> str:
        system = self._colours
        if system is None:
            return line.plain
        if not line.spans:  # of such a line `render` leaves the style out
            line = line.copy()
            line.stylize(line.style)
        parts = []
        for text, style, _ in line.render(self.console):
            if style is not None and self.console.no_color:
                style = style.without_color
            parts.append(style.render(text, color_system=system) if style else text)
        return "".join(parts)

    @property
    def _colours(self) -> ColorSystem | None:
        name = self.console.color_system
        return None if name is None else COLOR_SYSTEMS[name]


def changes(before: Sequence[str | None] | None, after: Sequence[str | None]) -> str:
    """What makes the picture `before` into `after`; before None: whatever is there is cleared.
    Empty when nothing has changed."""
    parts = [] if before is not None else [CLEAR]
    for row, text in enumerate(after):
        if text is None or (before is not None and row < len(before) and before[row] == text):
            continue
        parts.append(f"\x1b[{row + 1};1H{text}")
    return f"{SYNC_BEGIN}{''.join(parts)}{SYNC_END}" if parts else ""
