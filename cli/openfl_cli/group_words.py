"""What is said of a group in a list of them, by `groups` and by the live view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openfl.core.telemetry import GroupView


def fit_for_me(group: GroupView) -> str:
    """By how much this node's own error is lower or higher there, and the standard error."""
    if group.mine:
        return "here"
    if group.gain is None or group.gain_error is None:
        return "not tried" if group.compatible else "-"
    word = "worse" if group.gain < 0 else "better"
    return f"{abs(100 * group.gain):.1f} % {word} \u00b1 {100 * group.gain_error:.1f}"


def name_doubts(name: str, likeness: Mapping[str, int]) -> list[str]:
    """Reasons not to take the name for what it looks like. likeness: skeleton -> how many of the
    groups listed have it."""
    from openfl.core.names import mixed_scripts, skeleton

    doubts = []
    if mixed := mixed_scripts(name):
        doubts.append(f"a word of its name mixes {' and '.join(mixed)} letters")
    if likeness[skeleton(name)] > 1:
        doubts.append("another has such a name: go by the id")
    return doubts
