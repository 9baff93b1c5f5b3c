"""How `start` tells what happens: a line an event, as text or JSON, or a live screen.

A reporter never ends the node: lines that cannot be written, because the disk is full or their
reader went away, are left out (node.log has them).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

from openfl.core.telemetry import NodeEvent
from openfl_cli.text import clean, clock, to_json

LEVELS = ("debug", "info", "warning", "error")


class Reporter(Protocol):
    """What a run of a node is told to: lines of one form or another."""

    def event(self, event: NodeEvent) -> None:
        """Tell an event, unless its level is below what was asked for."""

    def recommendations(self, plain: Mapping[str, Any], time: float) -> None:
        """Tell the closing recommendations. plain: `Recommendations.to_plain()`; unix seconds."""


class _Lines:
    def __init__(self, stream: TextIO, level: str) -> None:
        self._stream = stream
        self._least = LEVELS.index(level)

    def wants(self, event: NodeEvent) -> bool:
        return LEVELS.index(event.level) >= self._least

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text + "\n")
            self._stream.flush()


class TextLines(_Lines):
    """One readable line an event; our addresses one a line, to be copied."""

    def event(self, event: NodeEvent) -> None:
        """A line; where we listen is told whatever the level, for others cannot join without."""
        addresses = event.data.get("multiaddrs")
        if event.kind == "listening" and addresses:
            self.write("listening on")
            for address in addresses:
                self.write(f"  {clean(str(address))}")
        elif self.wants(event):
            self.write(event_line(event))

    def recommendations(self, plain: Mapping[str, Any], time: float) -> None:
        """A table of several lines; the time is left out."""
        from rich.console import Console

        from openfl_cli.recommendations import RecommendationTable

        console = Console(highlight=False, markup=False, emoji=False, width=100, no_color=True)
        with console.capture() as captured:
            console.print(RecommendationTable(plain))
        self.write("\n" + captured.get().rstrip())


class JsonLines(_Lines):
    """One JSON object a line: time (unix seconds), level, event, message, data."""

    def event(self, event: NodeEvent) -> None:
        """A line; where we listen is told whatever the level."""
        if self.wants(event) or event.kind == "listening":
            self._object(event.time, event.level, event.kind, event.message, event.data)

    def recommendations(self, plain: Mapping[str, Any], time: float) -> None:
        """One line, as of an event of the kind `recommendations`."""
        user = plain["user"]
        self._object(time, "info", "recommendations", f"recommendations for {user}", plain)

    def _object(
        self, time: float, level: str, kind: str, message: str, data: Mapping[str, Any]
    ) -> None:
        line = {"time": time, "level": level, "event": kind, "message": message, "data": data}
        self.write(to_json(line))


def event_line(event: NodeEvent) -> str:
    """`14:03:59 round         round 3: ...`; warnings and errors say so."""
    mark = f"{event.level}: " if event.level in ("warning", "error") else ""
    return f"{clock(event.time)} {clean(event.kind, 24):<14} {mark}{clean(event.message)}"
