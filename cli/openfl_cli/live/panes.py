"""The lists of the view: which rows, in which order, and how each is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.text import Text

from openfl.core.names import skeleton
from openfl.core.telemetry import GroupView, MemberView, NodeEvent, NodeSnapshot, PeerView
from openfl_cli.group_words import fit_for_me, name_doubts
from openfl_cli.live.layout import Column, Wanted, cut, in_columns
from openfl_cli.live.news import News
from openfl_cli.live.state import Pane, ViewState
from openfl_cli.text import (
    clean,
    clock,
    count_of,
    human_age,
    human_bytes,
    metric_label,
    metric_value,
    short_peer,
)
from openfl_cli.view import LEVEL_STYLES, short_address

R = TypeVar("R")
NAME_CHARS = 64
_WORST = {"error": 0, "warning": 1, "info": 2, "debug": 3}


@dataclass(frozen=True, slots=True)
class Listing:
    """A pane. title: what it is, with its counts; draw(first, rows, width): the heading, if it has
    one, and these rows; chosen: one of them can be; from_end: `first` counts from the last row."""

    pane: Pane
    title: Text
    count: int
    draw: Callable[[int, int, int], list[Text]]
    heading: int = 1
    chosen: bool = False
    from_end: bool = False

    @property
    def wanted(self) -> Wanted:
        """Lines that it could use."""
        return Wanted(self.count, self.heading)


def filtered(rows: Sequence[R], words: str, text: Callable[[R], str]) -> list[R]:
    """Those whose `text` has `words` in it, whatever the case."""
    wanted = words.casefold()
    return [row for row in rows if wanted in text(row).casefold()] if wanted else list(rows)


def how_many(shown: int, total: int, one: str, many: str | None = None) -> str:
    """`4 members`, or `1 of 4 members` where a filter hides some."""
    counted = count_of(total, one, many)
    return counted if shown == total else f"{shown:,} of {counted}"


# --- members --------------------------------------------------------------------------------------


def member_listing(shot: NodeSnapshot, state: ViewState) -> Listing:
    """This node first, then those it leaves out, then the others as sorted."""
    found = filtered(
        shot.members,
        state.filter_of("members"),
        lambda m: f"{m.peer_id} {m.left_out} {'this node' if m.me else ''}",
    )
    rows = sorted(found, key=_member_order(state.sort_of("members")))
    left_out = sum(bool(member.left_out) for member in shot.members)
    title = Text.assemble((how_many(len(rows), len(shot.members), "member"), "bold"))
    if left_out:
        title.append(f", {left_out} left out of this node's model", "yellow")

    def draw(first: int, count: int, width: int) -> list[Text]:
        shown = rows[first : first + count]
        columns = [
            Column("peer"),
            Column("round", right=True),
            Column(cut(metric_label(shot.metric), 12), right=True),
            Column("rows", right=True),
            Column("heard", right=True),
        ]
        if left_out:
            columns.append(Column("left out", flexible=True))
        cells = [
            [
                short_peer(member.peer_id),
                f"{member.round}",
                metric_value(member.fit),
                f"{member.rows:,}",
                "this node" if member.me else human_age(member.age_seconds),
                *([clean(member.left_out)] if left_out else []),
            ]
            for member in shown
        ]
        styles = ["bold" if m.me else "yellow" if m.left_out else "" for m in shown]
        return _styled(columns, cells, styles, width)

    return Listing("members", title, len(rows), draw)


def _member_order(sort: str) -> Callable[[MemberView], tuple[bool, bool, float, str]]:
    def order(member: MemberView) -> tuple[bool, bool, float, str]:
        value = 0.0
        match sort:
            case "by round":
                value = -member.round
            case "by error":
                value = float("inf") if member.fit is None else member.fit
            case "by rows":
                value = -member.rows
            case "by last heard":
                value = member.age_seconds
        return not member.me, not member.left_out, value, member.peer_id

    return order


# --- events ---------------------------------------------------------------------------------------


def event_listing(shot: NodeSnapshot, state: ViewState) -> Listing:
    """The last events; warnings and errors say so in words."""
    words = state.filter_of("events")
    rows = filtered(shot.events, words, lambda e: f"{e.kind} {e.level} {clean(e.message)}")
    sort = state.sort_of("events")
    if sort != "newest last":
        rows.reverse()
    if sort == "worst first":
        rows.sort(key=lambda event: _WORST.get(event.level, 2))
    title = Text.assemble((how_many(len(rows), len(shot.events), "event"), "bold"))

    def draw(first: int, count: int, width: int) -> list[Text]:
        if sort == "newest last":
            first = max(0, len(rows) - count - first)
        return [event_line(event) for event in rows[first : first + count]]

    from_end = sort == "newest last"
    return Listing("events", title, len(rows), draw, heading=0, from_end=from_end)


def event_line(event: NodeEvent) -> Text:
    """When it was, and what."""
    mark = f"{event.level}: " if event.level in ("warning", "error") else ""
    return Text.assemble(
        (f"{clock(event.time)} ", "dim"),
        (f"{mark}{clean(event.message)}", LEVEL_STYLES.get(event.level, "")),
    )


# --- groups ---------------------------------------------------------------------------------------


def groups_shown(groups: Sequence[GroupView], state: ViewState) -> list[GroupView]:
    """As filtered and sorted: the node's own on top, whatever the order of the others."""
    found = filtered(
        groups, state.filter_of("groups"), lambda g: f"{clean(g.name, NAME_CHARS)} {g.id} {g.task}"
    )
    return sorted(found, key=_group_order(state.sort_of("groups")))


def _group_order(sort: str) -> Callable[[GroupView], tuple[bool, bool, float, str, str]]:
    def order(group: GroupView) -> tuple[bool, bool, float, str, str]:
        value = float(-group.members)
        match sort:
            case "by worth to you":
                value = _worth(group)
            case "by error":
                value = float("inf") if group.fit_median is None else group.fit_median
            case "by name":
                value = 0.0
        return not group.mine, not group.compatible, value, group.name, group.id

    return order


def _worth(group: GroupView) -> float:
    """Less for what is better: groups found better here, then those not tried, the larger first,
    then those found worse."""
    if group.gain is None:
        return -group.members / (group.members + 1)
    return (-1.0 if group.gain > 0 else 1.0) - group.gain


def group_listing(
    groups: Sequence[GroupView], known: bool, shot: NodeSnapshot, state: ViewState
) -> Listing:
    """`groups` as `groups_shown` gives them. known: they have been asked for."""
    title = Text.assemble((count_of(len(groups), "group"), "bold"))
    if state.filter_of("groups"):
        title.append(" that matches" if len(groups) == 1 else " that match", "dim")
    best = max((g for g in groups if g.gain is not None), key=lambda g: g.gain or 0.0, default=None)
    if not known:
        title = Text.assemble(("groups", "bold"))
    elif best is not None:
        title.append(f", best tried: {clean(best.name, 24)} {fit_for_me(best)}", "dim")
    elif all(group.mine for group in groups) and not state.filter_of("groups"):
        title.append(f": {shot.directory.text}", "dim")
    likeness = Counter(skeleton(group.name) for group in groups)

    def draw(first: int, count: int, width: int) -> list[Text]:
        shown = groups[first : first + count]
        columns = [
            Column("", right=True),
            Column("group", flexible=True),
            Column("members", right=True),
            Column("error", right=True),
            Column("for you"),
            Column("heard", right=True),
        ]
        wide = width >= 76
        if wide:
            columns += [Column("id"), Column("", flexible=True)]
        cells = []
        for group in shown:
            row = [
                "*" if group.mine else " ",
                clean(group.name, NAME_CHARS),
                f"{group.members:,}",
                metric_value(group.fit_median),
                fit_for_me(group),
                human_age(group.age_seconds),
            ]
            if wide:
                reasons = [] if group.mine or group.compatible else [clean(group.reason)]
                remarks = [*reasons, *name_doubts(group.name, likeness)]
                row += [clean(group.id[:8]), "; ".join(remarks)]
            cells.append(row)
        styles = ["bold" if g.mine else "" if g.compatible else "dim" for g in shown]
        return _styled(columns, cells, styles, width)

    return Listing("groups", title, len(groups), draw, chosen=True)


# --- traffic --------------------------------------------------------------------------------------


def traffic_listing(shot: NodeSnapshot, news: News, state: ViewState) -> Listing:
    """What goes over the wire in the title, and the connected peers below it."""
    words = state.filter_of("traffic")
    found = filtered(
        shot.peers, words, lambda p: " ".join((p.peer_id, *p.multiaddrs, *map(clean, p.groups)))
    )
    rows = sorted(found, key=_peer_order(state.sort_of("traffic")))
    in_mesh = sum(peer.in_mesh for peer in shot.peers)
    title = Text.assemble(
        (how_many(len(rows), len(shot.peers), "peer"), "bold"),
        f", {human_bytes(shot.bytes_sent)} sent, {human_bytes(shot.bytes_received)} received",
        "" if news.sent is None else f", now {human_bytes(news.sent + (news.received or 0))}/s",
        (f", {in_mesh} in the mesh", "dim"),
        (f", {human_bytes(shot.published_bytes)} own contributions", "dim"),
    )

    def draw(first: int, count: int, width: int) -> list[Text]:
        columns = [
            Column("peer"),
            Column("mesh"),
            Column("groups", flexible=True),
            Column("address", flexible=True),
        ]
        cells = [
            [
                short_peer(peer.peer_id),
                "yes" if peer.in_mesh else "no",
                ", ".join(clean(group, 40) for group in peer.groups) or "-",
                ("relayed " if peer.relayed else "") + short_address(peer.multiaddrs),
            ]
            for peer in rows[first : first + count]
        ]
        return _styled(columns, cells, [""] * len(cells), width)

    return Listing("traffic", title, len(rows), draw)


def _peer_order(sort: str) -> Callable[[PeerView], tuple[bool, str, str]]:
    def order(peer: PeerView) -> tuple[bool, str, str]:
        address = short_address(peer.multiaddrs) if sort == "by address" else ""
        return sort == "mesh first" and not peer.in_mesh, address, peer.peer_id

    return order


def _styled(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], styles: Sequence[str], width: int
) -> list[Text]:
    heading, lines = in_columns(columns, cells, width)
    return [
        Text(heading, "dim"),
        *(Text(line, style) for line, style in zip(lines, styles, strict=True)),
    ]
