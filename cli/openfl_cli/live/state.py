"""What the view shows, and what a key makes of it: pure, so that every key can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from openfl.core.telemetry import GroupView
from openfl_cli.live.keys import Key, Pasted
from openfl_cli.text import clean, count_of

Pane = Literal["members", "events", "groups", "traffic"]
Overlay = Literal["", "help", "why", "address"]
PANES: tuple[Pane, ...] = ("members", "events", "groups", "traffic")
"""In the order in which Tab goes through them, which is that on the screen."""
SORTS: Mapping[Pane, tuple[str, ...]] = {
    "members": ("by peer", "by round", "by error", "by rows", "by last heard"),
    "events": ("newest last", "newest first", "worst first"),
    "groups": ("by worth to you", "by members", "by error", "by name"),
    "traffic": ("mesh first", "by peer", "by address"),
}
MAX_FILTER = 60
WHEEL_LINES = 3


@dataclass(frozen=True, slots=True)
class Question:
    """What the bottom line asks. `quit` and `stop`: whether the node is to end; `group`: what to do
    with this group; `switch`: whether to move there."""

    kind: Literal["quit", "stop", "group", "switch"]
    text: str
    group_id: str = ""
    group_name: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What the owner of the view is to do: `leave` the view, `stop` the node, `try` a group or
    `switch` to it, `copy` an address, ask which `groups` there are, `redraw` everything."""

    kind: Literal["leave", "stop", "try", "switch", "copy", "groups", "redraw"]
    group_id: str = ""
    group_name: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is on the screen, as far as a key needs it. most: of each pane and overlay, how far it
    can be scrolled; page: rows of what is scrolled; groups: as listed, the first on top; others:
    peers and members that use this node; ends_node: the node ends with its view. small: nothing
    of it fits, so that no question could be seen."""

    most: Mapping[str, int] = field(default_factory=dict)
    page: int = 10
    groups: tuple[GroupView, ...] = ()
    group_name: str = ""
    others: int = 0
    ends_node: bool = True
    addresses: tuple[str, ...] = ()
    small: bool = False


@dataclass(frozen=True, slots=True)
class ViewState:
    """focus: the pane that keys go to; zoomed: it alone is shown. at: how far each pane and overlay
    is scrolled, or the row that is chosen. typing: the filter before it was changed, while it is
    being typed. said: an answer, until the next key; busy: what is under way."""

    focus: Pane = "members"
    zoomed: bool = False
    over: Overlay = ""
    at: Mapping[str, int] = field(default_factory=dict)
    filters: Mapping[Pane, str] = field(default_factory=dict)
    sorts: Mapping[Pane, int] = field(default_factory=dict)
    typing: str | None = None
    question: Question | None = None
    paused: bool = False
    copied: int = 0
    said: str = ""
    busy: str = ""

    @property
    def scrolled(self) -> str:
        """What the arrows move in."""
        return self.over or self.focus

    def filter_of(self, pane: Pane) -> str:
        """Empty when all rows are shown."""
        return self.filters.get(pane, "")

    def sort_of(self, pane: Pane) -> str:
        """One of `SORTS`."""
        return SORTS[pane][self.sorts.get(pane, 0) % len(SORTS[pane])]


Pressed = tuple[ViewState, Order | None]


def press(state: ViewState, key: Key, sight: Sight) -> Pressed:
    """The state after a key, and what is to be done. A key that means nothing changes nothing."""
    state = replace(state, said="")
    if key == "redraw":
        return state, Order("redraw")
    if sight.small:
        return state, Order("leave") if key == "q" and not sight.ends_node else None
    if state.typing is not None:
        return _typed(state, key), None
    if isinstance(key, Pasted):
        return state, None
    if state.question is not None:
        return _answered(state, state.question, key, sight)
    if key in _MOVES:
        return _moved(state, key, sight), None
    return _command(state, key, sight)


# --- moving ---------------------------------------------------------------------------------------

_MOVES = frozenset(
    ("up", "down", "pageup", "pagedown", "home", "end", "wheel-up", "wheel-down", "k", "j")
)


def _moved(state: ViewState, key: Key, sight: Sight) -> ViewState:
    most = sight.most.get(state.scrolled, 0)
    now = min(state.at.get(state.scrolled, 0), most)
    page = max(1, sight.page - 1)
    steps = {
        **{"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page},
        **{"wheel-up": -WHEEL_LINES, "wheel-down": WHEEL_LINES, "home": -now, "end": most - now},
    }
    step = steps[key]
    # The newest event is at the bottom, and events are counted from there.
    if state.scrolled == "events" and state.sort_of("events") == "newest last":
        step = {"home": most - now, "end": -now}.get(key, -step)
    return _at(state, state.scrolled, min(most, max(0, now + step)))


def _at(state: ViewState, what: str, place: int) -> ViewState:
    return replace(state, at={**state.at, what: place})


# --- commands -------------------------------------------------------------------------------------


def _command(state: ViewState, key: Key, sight: Sight) -> Pressed:
    match key:
        case "q":
            return (_back(state), None) if state.over else _quit(state, sight)
        case "x":
            return replace(state, question=_end_question("stop", sight)), None
        case "esc" | "left" | "backspace":
            return _back(state), None
        case "?":
            return _overlaid(state, "help"), None
        case "w":
            return _overlaid(state, "why"), None
        case "c":
            return _copy(state, sight)
        case "p":
            return replace(state, paused=not state.paused), None
    if state.over:
        return state, None
    match key:
        case "tab" | "right":
            return _focused(state, 1), None
        case "backtab":
            return _focused(state, -1), None
        case "g":
            return replace(state, focus="groups", zoomed=True), Order("groups")
        case "/":
            return replace(state, typing=state.filter_of(state.focus)), None
        case "s":
            sorts = {**state.sorts, state.focus: state.sorts.get(state.focus, 0) + 1}
            state = _at(replace(state, sorts=sorts), state.focus, 0)
            return replace(state, said=f"{state.focus}: {state.sort_of(state.focus)}"), None
        case "enter":
            return _entered(state, sight), None
    return state, None


def _quit(state: ViewState, sight: Sight) -> Pressed:
    if not sight.ends_node:
        return state, Order("leave")
    if sight.others:
        return replace(state, question=_end_question("quit", sight)), None
    return state, Order("stop")


def _end_question(kind: Literal["quit", "stop"], sight: Sight) -> Question:
    who = count_of(sight.others, "other node uses", "other nodes use")
    used = f" {who} it." if sight.others else ""
    return Question(kind, f"End this node?{used} What it learned is saved. y/n")


def _back(state: ViewState) -> ViewState:
    if state.over:
        return replace(state, over="")
    if state.filter_of(state.focus):
        return _at(replace(state, filters={**state.filters, state.focus: ""}), state.focus, 0)
    return replace(state, zoomed=False)


def _overlaid(state: ViewState, over: Overlay) -> ViewState:
    """It, from its beginning; the same key closes it."""
    return _at(replace(state, over="" if state.over == over else over), over, 0)


def _copy(state: ViewState, sight: Sight) -> Pressed:
    """The first address; pressed again, the next."""
    if not sight.addresses:
        return replace(state, said="this node has no address yet"), None
    which = (state.copied + 1) % len(sight.addresses) if state.over == "address" else 0
    state = _at(replace(state, over="address", copied=which), "address", 0)
    return state, Order("copy", text=sight.addresses[which])


def _focused(state: ViewState, step: int) -> ViewState:
    place = (PANES.index(state.focus) + step) % len(PANES)
    return replace(state, focus=PANES[place])


def _entered(state: ViewState, sight: Sight) -> ViewState:
    if state.focus != "groups":
        return replace(state, zoomed=not state.zoomed)
    at = state.at.get("groups", 0)
    if not sight.groups:
        return replace(state, said="no group is listed")
    group = sight.groups[min(at, len(sight.groups) - 1)]
    name = clean(group.name, 40)
    if group.mine:
        return replace(state, said=f"this node is in {name}")
    if not group.compatible:
        return replace(state, said=f"{name}: {clean(group.reason, 200)}")
    text = f"{name}: t tries it on your data, s switches to it, Esc leaves it"
    return replace(state, question=Question("group", text, group.id, name))


# --- questions and the filter ---------------------------------------------------------------------


def _answered(state: ViewState, question: Question, key: Key, sight: Sight) -> Pressed:
    if key in ("esc", "n", "q", "N"):
        return replace(state, question=None), None
    if question.kind == "group":
        if key in ("t", "s") and state.busy:
            return replace(state, question=None, said=f"{state.busy}: one thing at a time"), None
        if key in ("t", "enter"):
            order = Order("try", question.group_id, question.group_name)
            return replace(state, question=None), order
        if key == "s":
            here = clean(sight.group_name, 40)
            text = f"Leave {here} and switch to {question.group_name}? y/n"
            return replace(state, question=replace(question, kind="switch", text=text)), None
        return state, None
    if key not in ("y", "Y"):
        return state, None
    state = replace(state, question=None)
    if question.kind == "switch":
        return state, Order("switch", question.group_id, question.group_name)
    return state, Order("stop")


def _typed(state: ViewState, key: Key) -> ViewState:
    pane, text = state.focus, state.filter_of(state.focus)
    if key == "enter":
        return replace(state, typing=None)
    if key == "esc":
        return replace(state, filters={**state.filters, pane: state.typing or ""}, typing=None)
    if key == "backspace":
        text = text[:-1]
    elif key == "clear":
        text = ""
    elif len(key) == 1 or isinstance(key, Pasted):
        text = (text + key)[:MAX_FILTER]
    return _at(replace(state, filters={**state.filters, pane: text}), pane, 0)
