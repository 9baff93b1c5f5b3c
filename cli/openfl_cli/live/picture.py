"""The picture of a node on a screen of a given size: a pure function of what is known of the node
and what its viewer has chosen.

What matters most stands on top: the error now, together and alone, and its course; then members,
events, groups, traffic and the address. A line too long for the screen is cut, never folded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from openfl.core.telemetry import GroupView, NodeSnapshot
from openfl_cli.live.layout import LEAST_HEIGHT, LEAST_WIDTH, cut, keys_that_fit, share
from openfl_cli.live.news import News
from openfl_cli.live.overlays import address_intro, data_line, help_lines, why_lines
from openfl_cli.live.panes import (
    Listing,
    event_listing,
    group_listing,
    groups_shown,
    member_listing,
    traffic_listing,
)
from openfl_cli.live.state import PANES, Pane, Sight, ViewState
from openfl_cli.sparkline import sparkline
from openfl_cli.text import (
    change_percent,
    clean,
    duration,
    metric_label,
    metric_value,
    short_peer,
    signed_percent,
)
from openfl_cli.view import (
    PHASES,
    SIDE_BY_SIDE_WIDTH,
    bar,
    crowd_text,
    is_among_strangers,
    privacy_line,
    why_now,
)

TOO_SMALL = f"too small: {LEAST_WIDTH}x{LEAST_HEIGHT} at least"
GAP = 2
"""Cells between panes that stand side by side."""
_TWO_COLUMNS: tuple[tuple[Pane, ...], ...] = (("members", "groups"), ("events", "traffic"))


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known of a node. groups: None while they have not been asked for; ends_node: it ends
    with the view, which is that of `start`."""

    shot: NodeSnapshot
    groups: tuple[GroupView, ...] | None = None
    news: News = field(default_factory=News)
    ends_node: bool = True


@dataclass(frozen=True, slots=True)
class Whole:
    """Text that goes on over the end of a line, so that a terminal copies it as one."""

    text: str


Line = Text | Whole | None
"""None: the `Whole` above goes on here."""


@dataclass(frozen=True, slots=True)
class Picture:
    """As many lines as the screen has, each cut to its width; and what keys need to know of it."""

    lines: tuple[Line, ...]
    sight: Sight


def draw(scene: Scene, state: ViewState, width: int, height: int, ascii_only: bool) -> Picture:
    """The screen of `width` x `height` cells."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        blank = max(0, (height - 1) // 2)
        lines = [Text()] * blank + [Text(cut(TOO_SMALL, width), justify="center")]
        lines[-1].pad_left(max(0, (width - len(lines[-1].plain)) // 2))
        return Picture((*lines, *[Text()] * (height - len(lines)))[:height], _sight(scene, {}, 1))
    bottom = _bottom(scene, state, width, ascii_only)
    top = [
        _header(scene, state, width),
        _error(scene.shot, width),
        *_course(scene.shot, width, ascii_only),
    ]
    if not state.over and not state.zoomed:
        top += _details(scene, width, height, ascii_only)
    room = height - len(top) - len(bottom)
    body, most, page = _body(scene, state, width, room, ascii_only)
    body = [*body, *[Text()] * (room - len(body))][:room]
    lines_of: list[Line] = [*(_cut(line, width) for line in top), *body]
    lines_of += [_cut(line, width) for line in bottom]
    return Picture(tuple(lines_of), _sight(scene, most, page, state))


def _sight(
    scene: Scene, most: Mapping[str, int], page: int, state: ViewState | None = None
) -> Sight:
    shot = scene.shot
    return Sight(
        most=most,
        page=page,
        groups=() if state is None else tuple(groups_shown(scene.groups or (), state)),
        group_name=shot.group_name,
        others=max(len(shot.peers), len(shot.members) - 1),
        ends_node=scene.ends_node,
        addresses=tuple(map(clean, shot.multiaddrs)),
        small=state is None,
    )


def _cut(line: Text, width: int) -> Text:
    if cell_len(line.plain) > width:
        line.truncate(width, overflow="ellipsis")
    return line


# --- the lines above the panes --------------------------------------------------------------------


def _header(scene: Scene, state: ViewState, width: int) -> Text:
    shot = scene.shot
    bounded = shot.rounds >= max(1, shot.round)
    rounds = f"round {shot.round} of {shot.rounds}" if bounded else f"round {shot.round}"
    right = "paused" if state.paused else f"up {duration(shot.time - shot.started_at)}"
    left = Text.assemble(
        ("OpenFL ", "bold"),
        (short_peer(shot.peer_id), "bold cyan"),
        "  ",
        (cut(clean(shot.group_name, 40) or "-", max(8, width - 50)), "bold"),
        "  ",
        PHASES.get(shot.phase, clean(shot.phase, 24)),
        *(("  ", rounds) if shot.phase == "learning" else ()),
    )
    if any(notice.kind == "interval-lengthened" for notice in shot.notices):
        left.append(f", one every {shot.interval_seconds:.1f} s", "yellow")
    left.truncate(max(0, width - cell_len(right) - GAP), overflow="ellipsis")
    left.append(" " * (width - left.cell_len - cell_len(right)))
    return left.append(right, "bold yellow" if state.paused else "dim")


def _error(shot: NodeSnapshot, width: int) -> Text:
    """Together, alone, and what learning together changes; lower is better."""
    if shot.validation is None and shot.alone is None:
        return Text.assemble(("error   ", "dim"), "nothing is measured yet")
    change = change_percent(shot.validation, shot.alone)
    style = "green" if change is not None and change < 0 else "yellow" if change else ""
    line = Text.assemble(
        ("error   ", "dim"),
        (metric_value(shot.validation), "bold"),
        (" together  ", "dim"),
        metric_value(shot.alone),
        (" alone  ", "dim"),
        (signed_percent(change), f"bold {style}"),
        (f"  {metric_label(shot.metric)}", "dim"),
    )
    more = " on data held back"
    return line.append(more, "dim") if line.cell_len + len(more) <= width else line


def _course(shot: NodeSnapshot, width: int, ascii_only: bool) -> list[Text]:
    line = Text.assemble(("course  ", "dim"))
    course = sparkline(shot.history, min(100, width - 28), ascii_only)
    if not course:
        return [line.append("no round is over yet", "dim")]
    line.append(f"{metric_value(shot.history[0])} ")
    return [line.append(course, "cyan").append(f" {metric_value(shot.history[-1])}", "bold")]


def _details(scene: Scene, width: int, height: int, ascii_only: bool) -> list[Text]:
    """What is wrong, and what else there is to say, as far as the height allows."""
    shot = scene.shot
    told = [("note", clean(notice.text), "yellow") for notice in shot.notices]
    if why := why_now(shot):
        told.append(("why", why, ""))
    if is_among_strangers(shot):
        told.append(("crowd", crowd_text(shot), "yellow"))
    if shot.items is not None and not shot.items.known:
        told.append(("known", clean(shot.items.text), "yellow"))
    if scene.news.survived:
        told.append(("lately", scene.news.survived, ""))
    lines = [Text.assemble((f"{label:<8}", "dim"), (text, style)) for label, text, style in told]
    if shot.privacy is not None:
        lines.insert(len(shot.notices), privacy_line(shot.privacy))
    most = 1 if height < 24 else 2 if height < 30 else 6
    if len(lines) > most:
        hidden = len(lines) - most
        lines = lines[:most]
        lines[-1] = Text.assemble((f"w: {hidden} more  ", "bold yellow"), lines[-1])
    if (height >= 24 and not lines) or height >= 30:
        lines.append(_data(shot, width, ascii_only))
    return lines


def _data(shot: NodeSnapshot, width: int, ascii_only: bool) -> Text:
    line = Text.assemble(("data    ", "dim"), data_line(shot))
    if shot.rounds >= max(1, shot.round) and line.cell_len + 22 <= width:
        line.append(f"  {bar(shot.round, shot.rounds, 20, ascii_only)}", "green")
    return line


# --- the panes ------------------------------------------------------------------------------------


def _body(
    scene: Scene, state: ViewState, width: int, room: int, ascii_only: bool
) -> tuple[list[Line], dict[str, int], int]:
    """(lines, how far each pane or overlay can be scrolled, rows of what is scrolled)."""
    if state.over:
        return _overlay(scene, state, width, room, ascii_only)
    listings = _listings(scene, state)
    address = _address(scene.shot, width)
    if state.zoomed:
        wanted = {state.focus: listings[state.focus].wanted}
        shown = share(room, wanted, state.focus)
        lines, most = _drawn([listings[state.focus]], shown, state, width, ascii_only)
        return [*lines], most, shown[state.focus]
    below = [] if address is None else [address]
    room -= len(below)
    if width < SIDE_BY_SIDE_WIDTH:
        shown = share(room, {p: listings[p].wanted for p in PANES}, state.focus)
        lines, most = _drawn([listings[p] for p in PANES], shown, state, width, ascii_only)
    else:
        shown, most, sides = {}, {}, []
        each = (width - GAP) // 2
        for column in _TWO_COLUMNS:
            rows = share(room, {p: listings[p].wanted for p in column}, state.focus)
            side, more = _drawn([listings[p] for p in column], rows, state, each, ascii_only)
            sides.append([*side, *[Text()] * (room - len(side))])
            shown.update(rows)
            most.update(more)
        lines = [_beside(left, right, each) for left, right in zip(*sides, strict=True)]
    lines = [*lines, *[Text()] * (room - len(lines))]
    return [*lines, *below], most, max(1, shown[state.focus])


def _listings(scene: Scene, state: ViewState) -> dict[Pane, Listing]:
    shot = scene.shot
    groups = groups_shown(scene.groups or (), state)
    return {
        "members": member_listing(shot, state),
        "events": event_listing(shot, state),
        "groups": group_listing(groups, scene.groups is not None, shot, state),
        "traffic": traffic_listing(shot, scene.news, state),
    }


def _drawn(
    listings: Sequence[Listing],
    shown: Mapping[Pane, int],
    state: ViewState,
    width: int,
    ascii_only: bool,
) -> tuple[list[Text], dict[str, int]]:
    lines: list[Text] = []
    most: dict[str, int] = {}
    for listing in listings:
        pane, rows = listing.pane, shown[listing.pane]
        last = max(0, listing.count - (1 if listing.chosen else rows))
        at = min(state.at.get(pane, 0), last)
        first = at
        if listing.chosen:  # the row that is chosen stays in the middle
            first = max(0, min(at - rows // 2, listing.count - rows))
        most[pane] = last
        lines.append(_title(listing, state, first, rows, width, ascii_only))
        if rows:
            drawn = [_cut(line, width) for line in listing.draw(first, rows, width)]
            if listing.chosen and state.focus == pane:
                _mark(drawn[listing.heading + at - first], width, ascii_only)
            lines += drawn
    return lines, most


def _mark(line: Text, width: int, ascii_only: bool) -> None:
    """The row that Enter is for: seen without colour, too."""
    line.append(" " * (width - line.cell_len))
    line.stylize("reverse")
    line.plain = (">" if ascii_only else "▸") + line.plain[1:]


def _title(
    listing: Listing, state: ViewState, first: int, rows: int, width: int, ascii_only: bool
) -> Text:
    """A rule with the counts on its left, and how the pane is filtered, sorted, scrolled."""
    pane, focused = listing.pane, state.focus == listing.pane
    mark = (">" if ascii_only else "▸") if focused else ("-" if ascii_only else "─")
    left = Text.assemble((f"{mark} ", "bold cyan" if focused else "dim"), listing.title)
    words = []
    if state.filter_of(pane):
        words.append(f"/{clean(state.filter_of(pane))}")
    if (focused and not state.zoomed and pane in state.sorts) or state.zoomed:
        words.append(state.sort_of(pane))
    if 0 < rows < listing.count:
        if listing.from_end:
            first = listing.count - rows - first
        words.append(f"{first + 1:,}-{first + rows:,} of {listing.count:,}")
    right = f" {', '.join(words)} " if words else ""
    free = width - cell_len(right) - 1
    if left.cell_len > free:
        left.truncate(max(0, free), overflow="ellipsis")
    rule = width - left.cell_len - 1 - cell_len(right)
    left.append(" " + ("-" if ascii_only else "─") * rule, "dim")
    return left.append(right, "bold" if focused else "dim")


def _beside(left: Text, right: Text, width: int) -> Text:
    line = left.copy()
    line.append(" " * (width - line.cell_len + GAP))
    return line.append_text(right)


def _address(shot: NodeSnapshot, width: int) -> Text | None:
    """The first address on one line, its peer id shortened; `c` has it whole."""
    if not shot.multiaddrs:
        return None
    place, found, peer = clean(shot.multiaddrs[0]).partition("/p2p/")
    line = Text.assemble(("address ", "dim"), f"{place}{found}{short_peer(peer)}")
    more = len(shot.multiaddrs) - 1
    hint = f"  and {more} more" if more else ""
    hint += "  c copies it whole"
    if line.cell_len + len(hint) > width:
        hint = "  c: whole"
    if line.cell_len + len(hint) <= width:
        line.append(hint, "dim")
    return line


# --- overlays and the bottom line -----------------------------------------------------------------


def _overlay(
    scene: Scene, state: ViewState, width: int, room: int, ascii_only: bool
) -> tuple[list[Line], dict[str, int], int]:
    shot = scene.shot
    rows: list[Line] = [Text("─" * width if not ascii_only else "-" * width, "dim")]
    if state.over == "address":
        addresses = [clean(address) for address in shot.multiaddrs]
        rows += _wrapped(address_intro(addresses, state.copied), width)
        for address in addresses:
            rows += [Text(), Whole(address)]
            rows += [None] * ((max(1, cell_len(address)) - 1) // width)
        return _whole_only(rows, room), {"address": 0}, room
    texts = help_lines(scene.ends_node) if state.over == "help" else why_lines(shot)
    lines = _wrapped(texts, width)
    most = max(0, len(lines) - (room - 1))
    first = min(state.at.get(state.over, 0), most)
    if most:
        seen = f" {first + 1}-{min(len(lines), first + room - 1)} of {len(lines)} "
        rows = [Text(("-" if ascii_only else "─") * (width - len(seen)) + seen, "dim")]
    return [*rows, *lines[first : first + room - 1]], {state.over: most}, room - 1


def _whole_only(rows: list[Line], room: int) -> list[Line]:
    """The first `room` rows, without an address of which not all would be seen."""
    if len(rows) <= room or rows[room] is not None:
        return rows[:room]
    rows = rows[:room]
    while rows and not isinstance(rows.pop(), Whole):
        pass
    return rows


def _wrapped(texts: Sequence[Text], width: int) -> list[Text]:
    console = Console(width=width, color_system=None, force_terminal=False, _environ={})
    return [line for text in texts for line in text.wrap(console, width) or [Text()]]


def _bottom(scene: Scene, state: ViewState, width: int, ascii_only: bool) -> list[Text]:
    """A question, what is being typed, an answer, or the keys."""
    if state.question is not None:
        return _wrapped([Text(state.question.text, "bold reverse")], width)
    if state.typing is not None:
        cursor = "_" if ascii_only else "▏"
        typed = clean(state.filter_of(state.focus))
        line = Text.assemble(("filter ", "bold"), state.focus, ": ", (f"{typed}{cursor}", "bold"))
        return [line.append("  Enter keeps it, Esc drops it", "dim")]
    if state.said:
        return _wrapped([Text(state.said, "bold")], width)[:3]
    if state.busy:
        return [Text(f"{state.busy}...", "bold yellow")]
    keys = [("Esc", "back")] if state.over or state.zoomed else []
    if not state.over:
        keys.append(("q", "quit" if scene.ends_node else "leave"))
    keys.append(("?", "help"))
    if not state.over:
        keys += [("Tab", "pane"), ("g", "groups"), ("/", "filter"), ("s", "sort")]
    if state.over in ("help", "why"):
        keys.append(("arrows", "scroll"))
    keys += [("w", "why"), ("c", "copy"), ("p", "go on" if state.paused else "pause")]
    if state.focus == "groups" and not state.over:
        keys.insert(0, ("Enter", "try or switch"))
    line = Text()
    for key, word in keys_that_fit(keys, width):
        line.append("  " if line else "").append(key, "bold cyan").append(f" {word}", "dim")
    return [line]
