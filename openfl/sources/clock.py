"""Times as exports write them -> unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime

from openfl.sources.interactions import NO_TIME

_LAST = 4_102_444_800
"""2100: nothing was heard after that."""


def from_number(value: object) -> int:
    """Of seconds, milliseconds or microseconds since 1970; NO_TIME when it is none of them."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return NO_TIME
    for _ in range(3):
        if value < _LAST:
            return int(value)
        value /= 1000
    return NO_TIME


def from_iso(text: str | None) -> int:
    """Of "2023-04-01", "2023-04-01 12:30", "2023-04-01T12:30:59.5Z" and the like; UTC unless it
    says otherwise. NO_TIME when it is no time."""
    if not text:
        return NO_TIME
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return NO_TIME
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _within(moment)


def from_form(text: str, *forms: str) -> int:
    """By the first of some forms of strptime that fits; UTC. NO_TIME when none does."""
    for form in forms:
        try:
            return _within(datetime.strptime(text.strip(), form).replace(tzinfo=UTC))
        except ValueError:
            continue
    return NO_TIME


def _within(moment: datetime) -> int:
    try:
        seconds = int(moment.timestamp())
    except (OverflowError, ValueError):
        return NO_TIME
    return seconds if 0 < seconds < _LAST else NO_TIME
