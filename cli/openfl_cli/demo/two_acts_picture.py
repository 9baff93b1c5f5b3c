"""The pictures of `demo --communities` and `demo --people`: the live view, the closing table, the
group map. Pure, but for `plot`, which writes the map as a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from openfl.core.errors import StateError
from openfl_cli.demo.references import Reference
from openfl_cli.demo.tastes import NO_TASTE, Listeners
from openfl_cli.demo.two_acts import ActsEnd, ActView, group_labels
from openfl_cli.text import change_percent, clean, duration, metric_value, signed_percent

LETTERS = "ABCDEFGH"
STYLES = ("bold magenta", "bold cyan", "bold yellow", "bold green")
COLOURS = ("tab:purple", "tab:cyan", "tab:olive", "tab:green")
SHORT = {"communities": "own taste", "one_model": "all one"}
"""Head of the last column of the closing table, by the key of the reference."""
MOST_EVENTS = 9


@dataclass(frozen=True)
class ActPicture:
    """Draws who is in which group now, every node's error, and the newest moves. Where the screen
    is low, without what can be done without."""

    view: ActView

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view = self.view
        act = (
            "learning in the groups that chance put them in"
            if view.act == 1
            else "let go: each looks for the group that serves its own data best"
        )
        title = Text.assemble(("OpenFL demo ", "bold"), f" {act}  {duration(view.seconds)}")
        title.no_wrap, title.overflow = True, "ellipsis"
        labels = [label or "starting" for label in group_labels(view.shots)]
        # Title, map, head of the table, nodes; the last line of a screen stays free.
        room = (options.height or console.height) - 3 - len(set(labels)) - len(view.shots)
        spaced, explained = room >= 2, room >= 3
        yield title
        if spaced:
            yield Text()
        yield group_map([shard.community for shard in view.shards], labels)
        if spaced:
            yield Text()
        yield self._errors(labels)
        if explained:
            yield _line("held-out error (RMSE) on ratings no node trained on; lower is better")
        events = list(view.events)
        for number, event in events[max(0, len(events) - max(0, min(MOST_EVENTS, room - 3))) :]:
            line = Text.assemble((f"node-{number + 1}  ", "cyan"), clean(event.message))
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _errors(self, labels: Sequence[str]) -> Table:
        who = _who(self.view.shards)
        table = _table("node", *who, "group", "round", "before", "now", "change")
        for number, shot in enumerate(self.view.shots):
            before = self.view.before[number]
            now = None if shot is None else shot.test
            table.add_row(
                f"node-{number + 1}",
                *(told(self.view.shards[number]) for told in who.values()),
                clean(labels[number], 24) if shot else "-",
                f"{shot.round}" if shot else "-",
                metric_value(before),
                metric_value(now),
                _change(now, before),
            )
        return table


def group_map(communities: Sequence[int], groups: Sequence[str]) -> RenderableType:
    """One line a group: its nodes by number, each with the letter of its community."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for group in sorted(set(groups)):
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, (community, where) in enumerate(zip(communities, groups, strict=True)):
            if where == group:
                line.append(f"{number + 1}")
                line.append_text(_letter(community))
                line.append("  ")
        table.add_row(Text(clean(group, 24), "bold"), line)
    return table


def closing_table(end: ActsEnd, found: Sequence[Reference]) -> RenderableType:
    """Node / taste or person / first group / group now / moves / RMSE before and after / change /
    RMSE with the first of the references."""
    who = _who(end.shards)
    columns = found[:1]
    table = _table(
        *("node", *who, "first in", "now in", "moves", "before", "after", "change"),
        *(SHORT[reference.key] for reference in columns),
    )
    for number, shard in enumerate(end.shards):
        before, after = end.before[number], end.after[number]
        table.add_row(
            f"node-{number + 1}",
            *(told(shard) for told in who.values()),
            end.first_groups[number],
            clean(end.groups[number], 24),
            f"{end.moves[number]}",
            metric_value(before),
            metric_value(after),
            _change(after, before),
            *(metric_value(reference.errors[number]) for reference in columns),
        )
    return Group(table, _line("RMSE on test ratings that no node trained on; lower is better"))


def plot(path: Path, end: ActsEnd) -> None:
    """Write the group map: every node's way through the groups, coloured by its community."""
    from openfl_cli.simulation.plot import matplotlib_figure

    figure = matplotlib_figure().Figure(figsize=(9, 5), layout="constrained")
    axes: Any = figure.subplots()
    names = list(dict.fromkeys([*end.first_groups, *(p.group for p in end.places)]))
    count = len(end.shards)
    for number, shard in enumerate(end.shards):
        way = [p for p in end.places if p.node == number]
        if not way:
            continue
        offset = 0.7 * (number / max(1, count - 1) - 0.5)
        x = [*(p.seconds for p in way), end.seconds]
        y = [names.index(p.group) + offset for p in way]
        colour = COLOURS[shard.community % 4] if shard.community != NO_TASTE else f"C{number % 10}"
        axes.step(x, [*y, y[-1]], where="post", color=colour, linewidth=2)
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
    for community in sorted({shard.community for shard in end.shards} - {NO_TASTE}):
        axes.plot([], [], color=COLOURS[community % 4], label=f"community {LETTERS[community]}")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("seconds")
    axes.set_title(f"who is in which group: {len(set(end.groups))} at the end")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
    try:
        figure.savefig(path)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror}") from error


def _who(shards: Sequence[Listeners]) -> dict[str, Callable[[Listeners], Text]]:
    """The column that says who a node is for: its taste, or the one person."""
    if all(shard.community == NO_TASTE for shard in shards):
        return {"person": lambda shard: Text(clean(shard.users[0], 8))}
    return {"taste": lambda shard: _letter(shard.community)}


def _letter(community: int) -> Text:
    if community == NO_TASTE:
        return Text()
    return Text(LETTERS[community % len(LETTERS)], STYLES[community % len(STYLES)])


def _change(now: float | None, before: float | None) -> Text:
    change = change_percent(now, before)
    return Text(signed_percent(change), "green" if change is not None and change < 0 else "")


def _line(text: str) -> Text:
    return Text(text, "dim", no_wrap=True, overflow="ellipsis")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    text: Iterable[str] = ("node", "taste", "person", "group", "first in", "now in")
    for name in names:
        table.add_column(name, justify="left" if name in text else "right", no_wrap=True)
    return table
