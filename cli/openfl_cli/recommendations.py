"""The tables of songs that `recommend`, `similar`, `start` and `demo` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from openfl.config.kinds import KINDS
from openfl_cli.text import clean

TITLES = {
    "known": "For {user}:",
    "folded-in": "For {user} (learned from the ratings just now):",
    "popular": "Nothing is known of {user}; what the group likes best:",
}


@dataclass(frozen=True)
class RecommendationTable:
    """Draws `Recommendations.to_plain()`: rank, title, artist and score; then the notes."""

    plain: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = TITLES.get(self.plain["kind"], "For {user}:")
        yield Text(title.format(user=clean(str(self.plain["user"]), 64)), "bold")
        items = self.plain["items"]
        if not items:
            yield Text("  nothing to recommend")
        else:
            yield self._table(items)
        for remark in self.plain["notes"]:
            yield Text(f"note: {clean(remark)}", "dim")

    def _table(self, items: list[Mapping[str, Any]]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", justify="right")
        table.add_column("song", overflow="fold")
        with_artist = any(item["artist"] for item in items)
        if with_artist:
            table.add_column("artist", overflow="fold")
        table.add_column(self._what_scores_are(), justify="right")
        with_reasons = any(item.get("why") for item in items)
        if with_reasons:
            table.add_column("of which due to", overflow="fold")
        for rank, item in enumerate(items, start=1):
            artist = [clean(item["artist"] or "-", 80)] if with_artist else []
            why = [_reasons(item.get("why", ()))] if with_reasons else []
            table.add_row(f"{rank}", _title(item), *artist, f"{item['score']:.2f}", *why)
        return table

    def _what_scores_are(self) -> str:
        kind = KINDS.get(self.plain["head"])
        if kind is None:
            return "score"
        return kind.popularity if self.plain["kind"] == "popular" else kind.score


@dataclass(frozen=True)
class SimilarTable:
    """Draws `SimilarSongs.to_plain()`: rank, title, artist, likeness and evidence; then notes."""

    plain: Mapping[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        song, items = self.plain, self.plain["items"]
        by = f" by {clean(song['artist'], 80)}" if song["artist"] else ""
        yield Text(f"Like {_title(song)}{by}:", "bold")
        if not items:
            yield Text("  nothing to compare it with")
        else:
            yield self._table(items)
        for remark in song["notes"]:
            yield Text(f"note: {clean(remark)}", "dim")

    def _table(self, items: list[Mapping[str, Any]]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", justify="right")
        table.add_column("song", overflow="fold")
        with_artist = any(item["artist"] for item in items)
        if with_artist:
            table.add_column("artist", overflow="fold")
        table.add_column("likeness", justify="right")
        kind = KINDS.get(self.plain["head"])
        table.add_column("evidence" if kind is None else kind.evidence, justify="right")
        for rank, item in enumerate(items, start=1):
            artist = [clean(item["artist"] or "-", 80)] if with_artist else []
            numbers = f"{item['likeness']:.2f}", f"{item['evidence']:,.0f}"
            table.add_row(f"{rank}", _title(item), *artist, *numbers)
        return table


def _title(song: Mapping[str, Any]) -> str:
    return clean(song["title"] or f"song {song['song_id']}", 120)


def _reasons(why: Sequence[Mapping[str, Any]]) -> str:
    """The first two: a third makes rows of three lines. JSON has it."""
    return ", ".join(f"{_title(own)} {own['influence']:+.2f}" for own in why[:2])
