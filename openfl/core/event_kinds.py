"""Every kind of event that a node tells of. An event of a kind that is not here is a bug; so is a
kind here that nobody tells (both tested). docs/events.md is made of it (`make docs-events`).

Kinds are words that scripts test for: one may be added, none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventKind:
    """when: it is told; data: the names of its machine-readable fields; levels: those it may have,
    the usual one first."""

    kind: str
    levels: tuple[str, ...]
    when: str
    data: tuple[str, ...] = ()


def _info(kind: str, when: str, *data: str) -> EventKind:
    return EventKind(kind, ("info",), when, data)


def _warning(kind: str, when: str, *data: str) -> EventKind:
    return EventKind(kind, ("warning",), when, data)


def _error(kind: str, when: str, *data: str) -> EventKind:
    return EventKind(kind, ("error",), when, data)


_PRIVACY = (
    *("epsilon_spent", "epsilon", "delta", "noise_multiplier", "clip"),
    *("releases", "releases_left"),
)

SECTIONS: Mapping[str, tuple[EventKind, ...]] = {
    "The network": (
        _info("listening", "the node listens, before it joins", "multiaddrs", "peer_id"),
        _info("http-listening", "players can ask at `http.listen`", "url", "token_file"),
        _info(
            "web-listening",
            "the page is served; `openfl-node web` has its link",
            *("url", "token_file"),
        ),
        _info("dialled", "a known address answered at the start"),
        _warning("unreachable", "a known address did not answer at the start"),
        _warning(
            "waiting", "nobody is there; told again when the reason changes", "addresses", "causes"
        ),
        _info("peer-connected", "a peer is connected"),
        _info("peer-lost", "a peer is connected no more"),
        _warning("port-changed", "the port of the last start is taken, another is used"),
        _warning("mdns-failed", "the LAN cannot be searched for peers"),
        _info("upnp-mapped", "the router forwards a port to the node"),
        _warning("upnp-failed", "no port is forwarded, and why"),
        _warning("other-version", "a group of another protocol version is announced"),
        _error("duplicate-identity", "another node has this one's key", "peer"),
    ),
    "The data": (
        EventKind(
            "data",
            ("info", "warning"),
            "what was read at the start; a warning when rows were left out",
            ("examples", "skipped_rows"),
        ),
        _info("data-changed", "the data is other than in the last run"),
        _warning("data-doubtful", "the scale of the ratings is in doubt"),
        _warning("all-alike", "all ratings, or all classes, are the same"),
        _warning("catalogue-of-others", "the catalogue names none of the songs"),
        _warning("named-otherwise", "`task.items` is not how the group of this home names items"),
        _warning("few-users", "of so few users that they are not hidden among each other", "users"),
        EventKind(
            "little-data",
            ("info", "warning"),
            "little is held out to measure by; a warning when nothing is",
            ("training_examples", "held_out"),
        ),
        EventKind(
            "remark",
            ("info", "warning"),
            "what a workload of one's own says of its data, in its own `kind` and fields",
            ("kind",),
        ),
    ),
    "The group": (
        _info("resumed", "the node goes on in the group of its last run"),
        EventKind(
            "joined",
            ("info", "warning"),
            "the first snapshot is merged, or there is none; a warning when members gave none",
            ("group", "members"),
        ),
        _info(
            "useful",
            "a model that others taught is here, and judged on the node's own held-out data",
            "validation",
            "others",
        ),
        _warning("not-joined", "learning alone, though a group was to be joined"),
        _info("joined-late", "no longer alone in its group"),
        _warning(
            "nobody-serves",
            "groups of the wanted name are announced, and nobody serves one",
            "groups",
        ),
        _warning("unclear-name", "the group's name can be taken for another", "group"),
        _warning("not-invited", "the node has no invitation to its closed group that is good now"),
        EventKind(
            "items-known",
            ("info", "warning"),
            "how many of the node's items others know; a warning when none, or written otherwise",
            ("noun", "mine", "known", "group"),
        ),
        _info("member-joined", "a member is present", "peer"),
        _info("member-away", "a member is present no more; what it taught stays for now", "peer"),
        _info("member-left", "a member withdrew what it taught", "peer"),
        _info("member-expired", "what a member taught has expired", "peer"),
        _warning("equivocation", "a member signed two different contributions as one", "peer"),
        _warning("left-out", "a member is left out of the model", "peer", "reason"),
        _info("readmitted", "a member is part of the model again", "peer"),
        _warning("deaf", "connected members are not heard", "members"),
        _info("heard-again", "members are heard again"),
        _info(
            "left",
            "the node has left a group, or told one it left earlier; for_good: on being stopped",
            "for_good",
        ),
    ),
    "Learning": (
        _info("round", "a round is over", "round", "validation", "members"),
        _info("rounds-done", "the last round is over"),
        _warning(
            "interval-lengthened",
            "the load makes rounds come more slowly; told again when that changes much",
            *("interval_seconds", "set_seconds", "cause"),
        ),
        _info(
            "interval-restored",
            "rounds come as they are set to again",
            *("interval_seconds", "set_seconds"),
        ),
        _warning("not-measured", "the held-out metric is not a finite number"),
        _warning("not-published", "what was learned in this round stays here, and why"),
        _info("privacy", "a release was paid for from the privacy budget", *_PRIVACY),
        _warning("privacy-spent", "the budget is spent: nothing more is published", *_PRIVACY),
    ),
    "Moving between groups": (
        _info("stayed", "the node looked around, and stays", "gain", "why"),
        _info(
            "switched",
            "the node is in another group",
            *("from", "to", "group", "by_itself", "action"),
        ),
        _warning("not-moved", "a move failed; the node is where it was", "gain", "why"),
        _info("pinned", "the owner pins the node to its group, or frees it", "pinned"),
        _warning("not-asked", "a group is founded, though no peer told which there are"),
    ),
    "Listening": (
        _warning(
            "events-missed",
            "a listener did not take its events in time: the oldest are dropped; it alone is told",
            "missed",
        ),
    ),
    "The home folder": (
        _info("temporary-home", "`openfl.run` was given no home: it is removed at the end", "home"),
        _warning("state-damaged", "a file of state was of no use, and is moved aside"),
        _warning("state-refused", "saved contributions are invalid, and left out"),
        _error("not-saved", "the disk takes nothing; told once"),
        _info("saved-again", "state is being saved again"),
        _info(
            "stopped",
            "the node is closed; from the command only",
            "home",
            "group",
            "round",
            "saved",
        ),
    ),
}
"""Heading -> the kinds below it."""

EVENT_KINDS: Mapping[str, EventKind] = {
    kind.kind: kind for kinds in SECTIONS.values() for kind in kinds
}
"""Kind -> what is to be known of it."""


def events_markdown() -> str:
    """The text of docs/events.md."""
    lines = [
        "# Events",
        "",
        "<!-- Written by `make docs-events` from openfl/core/event_kinds.py: change that. -->",
        "",
        "What a node tells its owner: a [program of yours](embedding.md#events) by `events()` and",
        "`on_event`, the log, and the output of `openfl-node start` (`--log-format json`: an",
        "object a line). `kind` is for scripts and stays what it is; `message` is for people and",
        "may change. Fields of `data` are plain JSON values; one that says nothing may be missing.",
    ]
    for heading, kinds in SECTIONS.items():
        lines += ["", f"## {heading}", "", "| kind | level | when | data |", "|---|---|---|---|"]
        for kind in kinds:
            data = ", ".join(f"`{name}`" for name in kind.data)
            lines.append(f"| `{kind.kind}` | {', '.join(kind.levels)} | {kind.when} | {data} |")
    return "\n".join(lines) + "\n"
