"""The live view over all nodes of the demo, and its closing table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from openfl.core.telemetry import NodeEvent, NodeSnapshot
from openfl_cli.demo.outcome import NodeResult
from openfl_cli.sparkline import sparkline
from openfl_cli.text import (
    change_percent,
    clean,
    duration,
    human_bytes,
    metric_value,
    short_peer,
    signed_percent,
)

LESS = "a lower error is better"


@dataclass(frozen=True)
class Row:
    """One node of the live view; `snapshot` None while it starts."""

    node: str
    users: int
    ratings: int
    snapshot: NodeSnapshot | None


@dataclass(frozen=True)
class DemoView:
    """Draws all nodes, then the newest events of any of them."""

    rows: tuple[Row, ...]
    rounds: int
    seconds: float
    events: tuple[tuple[str, NodeEvent], ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        title = Text.assemble(
            ("OpenFL demo ", "bold"),
            f" {len(self.rows)} nodes on this machine, each with its own listeners; "
            f"nobody in the middle  {duration(self.seconds)}",
        )
        title.no_wrap, title.overflow = True, "ellipsis"
        yield title
        yield Text()
        yield self._table(width, options.ascii_only)
        yield Text(f"held-out error (RMSE) of predicted ratings; {LESS}", "dim")
        room = (options.height or console.height) - len(self.rows) - 7
        newest = self.events[max(0, len(self.events) - min(6, room)) :] if room > 0 else ()
        if newest:
            yield Text()
        for node, event in newest:
            line = Text.assemble((f"{node}  ", "cyan"), clean(event.message))
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _table(self, width: int, ascii_only: bool) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        course_width = min(30, width - 78)
        table.add_column("node", no_wrap=True)
        if width >= 74:
            table.add_column("peer id", no_wrap=True)
        if width >= 94:
            table.add_column("ratings", justify="right")
        for name in ("found", "round", "alone", "together", "change"):
            table.add_column(name, justify="right", no_wrap=True)
        if course_width >= 6:
            table.add_column("course", no_wrap=True)
        if width >= 66:
            table.add_column("sent", justify="right", no_wrap=True)
        others = len(self.rows) - 1
        for row in self.rows:
            shot = row.snapshot
            cells = [row.node]
            if width >= 74:
                cells.append(short_peer(shot.peer_id) if shot else "starting")
            if width >= 94:
                cells.append(f"{row.ratings:,}")
            if shot is None:
                table.add_row(*cells, *(["-"] * 5), style="dim")
                continue
            found = sum(not member.me for member in shot.members)
            change = change_percent(shot.validation, shot.alone)
            cells += [
                f"{found}/{others}",
                f"{shot.round}/{self.rounds}",
                metric_value(shot.alone),
                metric_value(shot.validation),
            ]
            better = change is not None and change < 0
            line = [*map(Text, cells), Text(signed_percent(change), "green" if better else "")]
            if course_width >= 6:
                line.append(Text(sparkline(shot.history, course_width, ascii_only), "cyan"))
            if width >= 66:
                line.append(Text(human_bytes(shot.bytes_sent)))
            table.add_row(*line)
        return table


def closing_table(results: Sequence[NodeResult]) -> RenderableType:
    """Node / peers found / rounds / held-out RMSE alone and together / change."""
    split = results[0].split if results else "test"
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="bold",
    )
    table.add_column("node")
    for name in ("peers found", "rounds", "RMSE alone", "RMSE together", "change"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            result.node,
            f"{result.peers_found}",
            f"{result.rounds}",
            metric_value(result.alone),
            metric_value(result.together),
            Text(signed_percent(result.change), "green" if result.better else "yellow"),
        )
    return Group(table, Text(f"RMSE on {split} ratings that no node trained on; {LESS}", "dim"))
