"""Checks of what the running node itself says: its notices, and whether its songs are known."""

from __future__ import annotations

from collections.abc import Iterator

from openfl.app.doctor.finding import Finding, fault, fine, warning
from openfl.app.doctor.subject import Subject

FAULTS = ("deaf", "duplicate-identity", "not-invited", "not-joined", "not-saved")
"""Notices with which a node does not do what it is for."""
FEW_KNOWN = 0.1
"""Less than this part of the songs in common is little to learn from each other."""


def notices(subject: Subject) -> Iterator[Finding]:
    """What the node tells of its situation (docs/reliability.md)."""
    shot = subject.snapshot
    if not subject.running or shot is None:
        yield fine("no node is running: what it would tell of itself is not known")
        return
    for notice in shot.notices:
        tell = fault if notice.kind in FAULTS else warning
        yield tell(notice.kind, notice.text, "")
    if not shot.notices:
        yield fine(f"it runs, and tells of nothing wrong: {shot.phase}, round {shot.round}")


def songs(subject: Subject) -> Iterator[Finding]:
    """How many of the node's songs (or classes) its group knows."""
    items = None if subject.snapshot is None else subject.snapshot.items
    if items is None or not items.mine:
        yield fine("nobody else has told any yet")
        return
    do = (
        "are they written alike? Name the task.items or the spelling that others use:"
        " docs/items.md; or move to a group of the same kind of data: openfl-node groups"
    )
    if not items.known:
        yield fault("songs-unknown", items.text, do)
    elif items.known < FEW_KNOWN * items.mine:
        yield warning("songs-few-known", items.text, do)
    else:
        yield fine(items.text)
