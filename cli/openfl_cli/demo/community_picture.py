"""The pictures of `demo --communities`: the live view, the closing table, the group map. Pure, but
for `plot`, which writes the map as a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from openfl.core.errors import StateError
from openfl_cli.demo.communities import CommunityView, Sorted
from openfl_cli.text import change_percent, clean, duration, metric_value, signed_percent

LETTERS = "ABCDEFGH"
STYLES = ("bold magenta", "bold cyan", "bold yellow", "bold green")
COLOURS = ("tab:purple", "tab:cyan", "tab:olive", "tab:green")


@dataclass(frozen=True)
class CommunityPicture:
    """Draws who is in which group now, every node's error, and the newest moves."""

    view: CommunityView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view = self.view
        act = (
            "learning in the groups that chance put them in"
            if view.act == 1
            else "let go: each looks for the group that serves its own data best"
        )
        title = Text.assemble(("OpenFL demo ", "bold"), f" {act}  {duration(view.seconds)}")
        title.no_wrap, title.overflow = True, "ellipsis"
        yield title
        yield Text()
        yield group_map(
            [shard.community for shard in view.shards],
            ["starting" if s is None else s.group_name for s in view.shots],
        )
        yield Text()
        yield self._errors()
        yield Text("held-out error (RMSE) on ratings no node trained on; lower is better", "dim")
        room = (options.height or console.height) - len(view.shots) - 14
        for number, event in list(view.events)[-max(0, min(9, room)) :]:
            line = Text.assemble((f"node-{number + 1}  ", "cyan"), clean(event.message))
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _errors(self) -> Table:
        table = _table("node", "taste", "group", "round", "before", "now", "change")
        for number, shot in enumerate(self.view.shots):
            community, before = self.view.shards[number].community, self.view.before[number]
            now = None if shot is None else shot.test
            change = change_percent(now, before)
            table.add_row(
                f"node-{number + 1}",
                _letter(community),
                clean(shot.group_name, 24) if shot else "-",
                f"{shot.round}" if shot else "-",
                metric_value(before),
                metric_value(now),
                Text(signed_percent(change), "green" if change is not None and change < 0 else ""),
            )
        return table


def group_map(communities: Sequence[int], groups: Sequence[str]) -> RenderableType:
    """One line a group: its nodes by number, each with the letter of its community."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for group in sorted(set(groups)):
        line = Text()
        for number, (community, where) in enumerate(zip(communities, groups, strict=True)):
            if where == group:
                line.append(f"{number + 1}")
                line.append_text(_letter(community))
                line.append("  ")
        table.add_row(Text(clean(group, 24), "bold"), line)
    return table


def closing_table(end: Sorted) -> RenderableType:
    """Node / taste / first group / group now / moves / RMSE before and after / change."""
    table = _table("node", "taste", "first in", "now in", "moves", "before", "after", "change")
    for number, shard in enumerate(end.shards):
        change = change_percent(end.after[number], end.before[number])
        table.add_row(
            f"node-{number + 1}",
            _letter(shard.community),
            end.first_groups[number],
            clean(end.groups[number], 24),
            f"{end.moves[number]}",
            metric_value(end.before[number]),
            metric_value(end.after[number]),
            Text(signed_percent(change), "green" if change is not None and change < 0 else ""),
        )
    return Group(
        table, Text("RMSE on test ratings that no node trained on; lower is better", "dim")
    )


def plot(path: Path, end: Sorted) -> None:
    """Write the group map: every node's way through the groups, coloured by its community."""
    from openfl_cli.simulation.plot import matplotlib_figure

    figure = matplotlib_figure().Figure(figsize=(9, 5), layout="constrained")
    axes: Any = figure.subplots()
    names = list(dict.fromkeys([*end.first_groups, *end.groups, *(p.group for p in end.places)]))
    count = len(end.shards)
    for number, shard in enumerate(end.shards):
        way = [p for p in end.places if p.node == number]
        offset = 0.7 * (number / max(1, count - 1) - 0.5)
        x = [*(p.seconds for p in way), end.seconds]
        y = [names.index(p.group) + offset for p in way]
        axes.step(x, [*y, y[-1]], where="post", color=COLOURS[shard.community % 4], linewidth=2)
        axes.annotate(
            f"{number + 1}",
            (end.seconds, y[-1]),
            xytext=(3, -3),
            fontsize=8,
            textcoords="offset points",
        )
    for border in range(1, len(names)):
        axes.axhline(border - 0.5, color="lightgrey", linewidth=0.8)
    axes.axvline(end.let_go_seconds, color="grey", linestyle=":", label="let go")
    for community in sorted({shard.community for shard in end.shards}):
        axes.plot([], [], color=COLOURS[community % 4], label=f"community {LETTERS[community]}")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("seconds")
    axes.set_title(f"who is in which group: purity {end.purity:.2f} at the end")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
    try:
        figure.savefig(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from error


def _letter(community: int) -> Text:
    return Text(LETTERS[community % len(LETTERS)], STYLES[community % len(STYLES)])


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    text: Iterable[str] = ("node", "taste", "group", "first in", "now in")
    for name in names:
        table.add_column(name, justify="left" if name in text else "right", no_wrap=True)
    return table
