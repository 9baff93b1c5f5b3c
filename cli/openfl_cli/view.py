"""The picture of one node: a pure function of its `NodeSnapshot`.

`NodeView(snapshot)` is a rich renderable. It asks nothing but the snapshot and the room it is
given: it drops columns when narrow (from 60 columns up) and puts members and peers side by side
when wide. Nothing depends on colour. The live view (`openfl_cli.live`) draws its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from openfl.core.fault_words import fault_words
from openfl.core.telemetry import NodeEvent, NodeSnapshot, PrivacyView
from openfl_cli.sparkline import sparkline
from openfl_cli.text import (
    change_percent,
    clean,
    clock,
    count_of,
    duration,
    human_age,
    human_bytes,
    metric_label,
    metric_value,
    short_peer,
    signed_percent,
)

SIDE_BY_SIDE_WIDTH = 112
MOST_ROWS = 12
"""Rows of a list that are shown at most."""
WHY_SECONDS = 300.0
"""A decision to move is told of for so long."""
MOST_FAULTS = 3
ROUNDS_TO_KNOW = 5
CROWD = 8
"""Members from which on it is told that most of them are strangers."""
LEVEL_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red"}
PHASES = {
    "starting": "opening the network",
    "joining": "looking for the group",
    "learning": "learning",
    "waiting": "waiting to begin",
    "done": "all rounds done",
    "stopping": "stopping",
}


@dataclass(frozen=True)
class NodeView:
    """Draws `snapshot`. `running` False says that it comes from disk.

    Addresses are lines as long as they are, so that they can be copied: print it with `crop=False`.
    """

    snapshot: NodeSnapshot
    running: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        top = [*header(self.snapshot, self.running, width)]
        # What was so when it was saved is told by its last events.
        top += [*(notice_lines(self.snapshot) if self.running else ()), Text()]
        top += [*progress(self.snapshot, width, options.ascii_only), Text()]
        for line in top:
            if not line.no_wrap:
                line.overflow = "fold"
        yield from top
        yield from self._lists(width)

    def _lists(self, width: int) -> Iterable[RenderableType]:
        shot = self.snapshot
        wide = width >= SIDE_BY_SIDE_WIDTH
        each = (width - 2) // 2 if wide else width
        members, peers = member_list(shot, MOST_ROWS, each), peer_list(shot, MOST_ROWS, each)
        if wide:
            both = Table.grid(padding=(0, 2, 0, 0))
            both.add_column(width=each)
            both.add_column(width=each)
            both.add_row(members, peers)
            yield both
        else:
            yield from (members, Text(), peers)
        if shot.events:
            yield from (Text(), event_lines(shot.events, MOST_ROWS))


def header(shot: NodeSnapshot, running: bool, width: int) -> list[Text]:
    """Who and where; the multiaddrs in full on lines of their own, to be copied."""
    state = PHASES.get(shot.phase, shot.phase) if running else "not running"
    left = Text.assemble(
        ("OpenFL ", "bold"),
        (short_peer(shot.peer_id), "bold cyan"),
        "  group ",
        (clean(shot.group_name, 40) or "-", "bold"),
        "  ",
        (state, "" if running else "yellow"),
    )
    right = (
        f"up {duration(shot.time - shot.started_at)}" if running else f"as of {clock(shot.time)}"
    )
    if running and shot.useful_after is not None:
        right += f", useful after {shot.useful_after:.1f} s"
    gap = width - left.cell_len - len(right)
    lines = [Text.assemble(left, " " * gap if gap >= 2 else "  ", (right, "dim"))]
    lines.append(Text.assemble(("home ", "dim"), clean(shot.home)))
    lines += [Text(clean(address), no_wrap=True, overflow="ignore") for address in shot.multiaddrs]
    return lines


def notice_lines(shot: NodeSnapshot) -> list[Text]:
    """What is wrong now, a line each."""
    return [
        Text.assemble(("note   ", "dim"), (clean(notice.text), "yellow")) for notice in shot.notices
    ]


def progress(shot: NodeSnapshot, width: int, ascii_only: bool) -> list[Text]:
    """Round, held-out metric together and alone with its course, data and traffic."""
    label = metric_label(shot.metric)
    # A resumed node may have more rounds behind it than were asked for this time.
    bounded = shot.rounds >= max(1, shot.round)
    rounds = f"{shot.round} of {shot.rounds}" if bounded else f"{shot.round}"
    lines = [Text.assemble(("round ", "dim"), (rounds, "bold"))]
    if bounded:
        lines[0].append("  ")
        lines[0].append(bar(shot.round, shot.rounds, min(30, width // 3), ascii_only), "green")
    if any(notice.kind == "interval-lengthened" for notice in shot.notices):
        lines[0].append(f"  one every {shot.interval_seconds:.1f} s", "yellow")
    change = change_percent(shot.validation, shot.alone)
    better = change is not None and change < 0
    lines.append(
        Text.assemble(
            (f"held-out {label}  ", "dim"),
            (metric_value(shot.validation), "bold"),
            (" with the group  ", "dim"),
            metric_value(shot.alone),
            (" alone  ", "dim"),
            (signed_percent(change), "green" if better else "yellow" if change else ""),
        )
    )
    course = sparkline(shot.history, min(60, width - 20), ascii_only)
    if course:
        first, last = metric_value(shot.history[0]), metric_value(shot.history[-1])
        lines.append(Text.assemble(("course ", "dim"), f"{first} ", (course, "cyan"), f" {last}"))
    lines.append(
        Text.assemble(
            ("data   ", "dim"),
            f"{count_of(shot.train_examples, 'training example')}, "
            f"{count_of(shot.model_rows, 'row')} in the model, "
            f"{count_of(shot.deltas_merged, 'contribution')} merged",
        )
    )
    if shot.skipped_rows:
        lines[-1].append(f", {count_of(shot.skipped_rows, 'row')} of the data skipped", "yellow")
    if shot.items is not None:
        style = "" if shot.items.known else "yellow"
        lines.append(Text.assemble(("known  ", "dim"), (clean(shot.items.text), style)))
    if shot.privacy is not None:
        lines.append(privacy_line(shot.privacy))
    traffic = (
        f"{human_bytes(shot.bytes_sent)} sent, {human_bytes(shot.bytes_received)} received, "
        f"{human_bytes(shot.published_bytes)} of own contributions"
    )
    lines.append(Text.assemble(("bytes  ", "dim"), traffic))
    if why := why_now(shot):
        lines.append(Text.assemble(("why    ", "dim"), why))
    if is_among_strangers(shot):
        lines.append(Text.assemble(("crowd  ", "dim"), (crowd_text(shot), "yellow")))
    lines += [
        Text.assemble(("faults ", "dim"), (words, "yellow"))
        for words in survived(shot)[:MOST_FAULTS]
    ]
    more = len(shot.faults) - MOST_FAULTS
    if more > 0:
        words = f"and {count_of(more, 'other kind', 'other kinds')}, all survived"
        lines.append(Text.assemble(("faults ", "dim"), (words, "yellow")))
    return lines


def why_now(shot: NodeSnapshot) -> str:
    """Why the node is where it is, when that is news; else empty (`decision_lines` has it)."""
    decisions = shot.switching.decisions
    news = [d for d in decisions if d.action != "stay" and shot.time - d.time < WHY_SECONDS]
    return clean(news[-1].text) if news else ""


def survived(shot: NodeSnapshot) -> list[str]:
    """What was refused or survived, in words, the most frequent first."""
    kinds = sorted(shot.faults.items(), key=lambda fault: (-fault[1], fault[0]))
    return [f"{clean(fault_words(name), 200)}, {how_often(count)}" for name, count in kinds]


def how_often(count: int) -> str:
    """`once`, `twice`, `1,200 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def crowd_text(shot: NodeSnapshot) -> str:
    """How many of the members are strangers."""
    return f"{shot.strangers:,} of {len(shot.members):,} members have no history with this node"


def is_among_strangers(shot: NodeSnapshot) -> bool:
    """Whether most members are unknown to a node that has had the time to know them. In a small
    group that says little."""
    enough = shot.round >= ROUNDS_TO_KNOW and len(shot.members) >= CROWD
    return enough and 2 * shot.strangers > len(shot.members)


def privacy_line(privacy: PrivacyView) -> Text:
    """What was spent of the budget, and what is left of it."""
    left = privacy.releases_left
    return Text.assemble(
        ("privacy ", "dim"),
        f"epsilon {privacy.epsilon_spent:.3g} of {privacy.epsilon:g} spent"
        f" (delta {privacy.delta:g}), ",
        (f"{count_of(left, 'round')} left", "")
        if left
        else ("spent: nothing more is published", "yellow"),
    )


def decision_lines(shot: NodeSnapshot) -> list[Text]:
    """Why the node is in its group, then its last decisions about groups, newest last."""
    moves = count_of(shot.switching.moves, "move")
    lines = [Text.assemble((clean(shot.switching.why) or "nothing is known yet", "bold"))]
    lines.append(Text(f"{moves} by its own decision so far", "dim"))
    for decision in shot.switching.decisions:
        line = Text.assemble((f"{clock(decision.time)}  ", "dim"), clean(decision.text))
        line.overflow = "fold"
        lines.append(line)
    return lines


def bar(done: int, total: int, width: int, ascii_only: bool = False) -> str:
    """A progress bar of `width` characters."""
    filled = round(width * min(1.0, max(0.0, done / total)))
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    return full * filled + empty * (width - filled)


def member_list(shot: NodeSnapshot, rows: int, width: int) -> RenderableType:
    """Title and one line a member: peer, round, metric, rows, when last heard of; why it is left
    out of this node's model, when anybody is."""
    # Ourselves first, then who is left out, then by id, so that lines do not jump about.
    members = sorted(
        shot.members, key=lambda member: (not member.me, not member.left_out, member.peer_id)
    )
    left_out = sum(bool(member.left_out) for member in members)
    title = Text.assemble(
        (count_of(len(members), "member"), "bold"),
        (" of the group", "dim"),
        (f", {left_out} left out of this node's model" if left_out else "", "yellow"),
    )
    table = _table()
    _column(table, "peer")
    _column(table, "round", right=True)
    _column(table, metric_label(shot.metric), right=True)
    _column(table, "rows", right=True)
    _column(table, "heard", right=True)
    if left_out:
        # The numbers before it come first; status --json has all of the reason.
        _column(table, "left out", max_width=max(8, width - 50))
    for member in members[:rows]:
        table.add_row(
            short_peer(member.peer_id),
            f"{member.round}",
            metric_value(member.fit),
            f"{member.rows:,}",
            "this node" if member.me else human_age(member.age_seconds),
            *([member.left_out] if left_out else []),
            style="bold" if member.me else "yellow" if member.left_out else "",
        )
    return _listing(title, table, rows, len(members))


def peer_list(shot: NodeSnapshot, rows: int, width: int) -> RenderableType:
    """Title and one line a connected peer: whether in our mesh, its groups, its address."""
    peers = sorted(shot.peers, key=lambda peer: (not peer.in_mesh, peer.peer_id))
    in_mesh = sum(peer.in_mesh for peer in peers)
    title = Text.assemble(
        (count_of(len(peers), "peer"), "bold"), (f" connected, {in_mesh} in the mesh", "dim")
    )
    groups = [", ".join(clean(group, 40) for group in peer.groups) or "-" for peer in peers[:rows]]
    groups_width = min(max([6, *map(len, groups)]), width // 3)
    table = _table()
    _column(table, "peer")
    _column(table, "mesh")
    _column(table, "groups", max_width=groups_width)
    _column(table, "address", max_width=width - len("12D3…x7QpKd  mesh    ") - groups_width - 2)
    for peer, group in zip(peers, groups, strict=False):
        mesh = "yes" if peer.in_mesh else "no"
        table.add_row(short_peer(peer.peer_id), mesh, group, short_address(peer.multiaddrs))
    return _listing(title, table, rows, len(peers))


def short_address(multiaddrs: Sequence[str]) -> str:
    """The first address without its peer id; `-` when none is known."""
    return clean(multiaddrs[0].partition("/p2p/")[0]) if multiaddrs else "-"


def event_lines(events: Sequence[NodeEvent], rows: int) -> RenderableType:
    """The newest `rows` events, newest last."""
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=len("14:03:59"), no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for event in events[len(events) - rows :]:
        style = LEVEL_STYLES.get(event.level, "")
        mark = f"{event.level}: " if event.level in ("warning", "error") else ""
        message = Text(f"{mark}{clean(event.message)}", style)
        grid.add_row(Text(clock(event.time), "dim"), message)
    return Group(Text("last events", "bold"), grid)


def _listing(title: Text, table: Table, shown: int, total: int) -> RenderableType:
    title.no_wrap, title.overflow = True, "ellipsis"
    if not shown:
        return title
    more = [Text(f"and {total - shown} more", "dim")] if shown < total else []
    return Group(title, table, *more)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _column(table: Table, name: str, right: bool = False, max_width: int | None = None) -> None:
    table.add_column(
        name,
        justify="right" if right else "left",
        no_wrap=True,
        overflow="ellipsis",
        max_width=max_width,
    )
