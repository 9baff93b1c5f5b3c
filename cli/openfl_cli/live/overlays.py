"""What lies over the panes: help, why the node is where it is, and its addresses."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from openfl.core.telemetry import NodeSnapshot
from openfl_cli.text import clean, clock, count_of
from openfl_cli.view import crowd_text, is_among_strangers, privacy_line, survived

KEYS: tuple[tuple[str, str], ...] = (
    ("Tab", "next pane: members, events, groups, traffic"),
    ("arrows", "scroll; so do the wheel, PgUp, PgDn, Home, End"),
    ("Enter", "the pane alone; on a group: try it, or switch"),
    ("/", "show only rows with these letters; Esc: all"),
    ("s", "sort the pane otherwise"),
    ("g", "groups, and what each is worth to you"),
    ("w", "why it is in its group; what is wrong, in full"),
    ("c", "copy the address, and show it whole"),
    ("p", "hold the picture still; the node goes on"),
    ("x", "end the node"),
    ("Esc", "back"),
)
QUIT = {
    True: ("q", "quit and end this node; asks if others use it"),
    False: ("q", "leave the view; the node goes on"),
}


def help_lines(ends_node: bool) -> list[Text]:
    """The keys, and what the words of the view mean."""
    lines = []
    for key, meaning in (*KEYS, QUIT[ends_node]):
        lines.append(Text.assemble((f"{key:<10}", "bold cyan"), meaning))
    lines += [
        Text(),
        Text("Words", "bold"),
        Text("together  error of the group's model on data held back"),
        Text("alone     that of a model of your data only"),
        Text("change    from alone to together: less is better"),
        Text("for you   how much better a group's model fits your data"),
        Text("mesh      peers to which messages are passed directly"),
    ]
    return lines


def why_lines(shot: NodeSnapshot) -> list[Text]:
    """Why the node is where it is, what is wrong now, what it decided, and what it survived."""
    why = clean(shot.switching.why) or "nothing is known yet"
    moves = count_of(shot.switching.moves, "move")
    lines = [Text(why, "bold"), Text(f"{moves} by its own decision so far", "dim")]
    if shot.notices:
        lines += [Text(), Text("What is wrong now", "bold")]
        lines += [Text(clean(notice.text), "yellow") for notice in shot.notices]
    if shot.switching.decisions:
        lines += [Text(), Text("Last decisions, newest first", "bold")]
        lines += [
            Text.assemble((f"{clock(decision.time)}  ", "dim"), clean(decision.text))
            for decision in reversed(shot.switching.decisions)
        ]
    lines += _standing(shot)
    if shot.faults:
        lines += [Text(), Text("What was refused or survived, most often first", "bold")]
        lines += [Text(words) for words in survived(shot)]
    return lines


def data_line(shot: NodeSnapshot) -> Text:
    """What is learned from, and what came of it."""
    line = Text(
        f"{count_of(shot.train_examples, 'training example')}, "
        f"{count_of(shot.model_rows, 'row')} in the model, "
        f"{count_of(shot.deltas_merged, 'contribution')} merged"
    )
    if shot.skipped_rows:
        line.append(f", {count_of(shot.skipped_rows, 'row')} skipped", "yellow")
    return line


def _standing(shot: NodeSnapshot) -> list[Text]:
    lines = [Text(), Text("Data and members", "bold"), data_line(shot)]
    if shot.items is not None:
        lines.append(Text(clean(shot.items.text), "" if shot.items.known else "yellow"))
    if shot.privacy is not None:
        lines.append(privacy_line(shot.privacy))
    if is_among_strangers(shot):
        lines.append(Text(crowd_text(shot), "yellow"))
    return lines


def address_intro(addresses: Sequence[str], copied: int) -> list[Text]:
    """What stands above the addresses."""
    which = "The address" if len(addresses) == 1 else f"Address {copied + 1} of {len(addresses)}"
    more = "; c: the next" if len(addresses) > 1 else ""
    return [
        Text(f"{which} is copied, where terminals allow it{more}", "bold"),
        Text("Or select it here, holding Shift. It is for --bootstrap.", "dim"),
    ]
