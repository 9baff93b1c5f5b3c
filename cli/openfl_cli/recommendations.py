"""The table of recommendations that `recommend`, `start` and `demo` print."""

from __future__ import annotations

from collections.abc import Mapping
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
        for rank, item in enumerate(items, start=1):
            song = clean(item["title"] or f"song {item['song_id']}", 120)
            artist = [clean(item["artist"] or "-", 80)] if with_artist else []
            table.add_row(f"{rank}", song, *artist, f"{item['score']:.2f}")
        return table

    def _what_scores_are(self) -> str:
        kind = KINDS.get(self.plain["head"])
        if kind is None:
            return "score"
        return kind.popularity if self.plain["kind"] == "popular" else kind.score
