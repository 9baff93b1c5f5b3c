"""Small pure formatters. Whatever strangers or files may have written goes out through one of two:
`clean` for people (terminal, log file), `to_json` for programs, whose output people read too."""

from __future__ import annotations

import json
import math
import sys
import time as _time
from typing import Any

from openfl.core.names import MAX_MARKS, is_mark, is_unseen

UNKNOWN = "-"
_VARIATION_SELECTORS = "\ufe0e\ufe0f"


def clean(text: str, limit: int = 500) -> str:
    """`text` without anything that could steer a terminal (escapes, newlines, direction marks) or
    that shows nothing where something is expected.

    Group names, song titles and event texts can come from other peers; each unseen character
    becomes U+FFFD, a tab or newline a space, a mark beyond `MAX_MARKS` on one letter is dropped
    (those of emoji too), and more than `limit` characters are cut.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if is_mark(character) else 0
        if marks > MAX_MARKS or character in _VARIATION_SELECTORS:
            continue
        if character in "\t\n\r":
            character = " "
        shown.append("\ufffd" if is_unseen(character) else character)
    return "".join(shown)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON for standard output: letters of any script as they are where its encoding has
    them, what is not seen as `\\uXXXX`, a number that is not finite as null."""
    from openfl.core.telemetry import json_plain  # here: --help is faster without NumPy

    has_all = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(
        json_plain(value), indent=indent, ensure_ascii=not has_all, allow_nan=False, default=str
    )
    # Outside of strings only the newlines of `indent` are not seen.
    return "".join(c if c == "\n" or not is_unseen(c) else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    # The one control that json.dumps leaves bare is DEL.
    return "\\u007f" if character == "\x7f" else json.dumps(character)[1:-1]


def short_peer(peer_id: str) -> str:
    """`12D3…x7QpKd`: enough of a peer id to tell peers apart (their beginnings are all alike)."""
    safe = clean(peer_id)
    return safe if len(safe) <= 12 else f"{safe[:4]}…{safe[-6:]}"


def human_bytes(count: float) -> str:
    """`950 B`, `12.3 KB`, `4.0 MB` (powers of 1000)."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("KB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def human_age(seconds: float) -> str:
    """How long ago, short: `now`, `12 s`, `5 min`, `3 h`, `2 d`."""
    if seconds < 1.5:
        return "now"
    for size, unit in ((60, "s"), (60, "min"), (24, "h")):
        if seconds < size - 0.5:
            return f"{seconds:.0f} {unit}"
        seconds /= size
    return f"{seconds:.0f} d"


def duration(seconds: float) -> str:
    """`0:42`, `12:05`, `3:00:09`."""
    total = max(0, int(seconds))
    hours, rest = divmod(total, 3600)
    minutes, seconds_left = divmod(rest, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds_left:02d}"
    return f"{minutes}:{seconds_left:02d}"


def metric_value(value: float | None) -> str:
    """Four decimals; `-` when it is unknown or not finite."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.4f}"


def metric_label(metric: str) -> str:
    """`rmse` -> `RMSE`; longer names stay as they are; `error` before any is known."""
    safe = clean(metric, 24) or "error"
    return safe.upper() if len(safe) <= 4 else safe.replace("_", " ")


def change_percent(now: float | None, before: float | None) -> float | None:
    """Change from `before` to `now` in percent; None when either is unknown."""
    if now is None or not before or not math.isfinite(now) or not math.isfinite(before):
        return None
    return 100.0 * (now - before) / before


def signed_percent(change: float | None) -> str:
    """`-9.9 %`, `+0.3 %`, `0.0 %`."""
    if change is None:
        return UNKNOWN
    rounded = round(change, 1)
    return "0.0 %" if rounded == 0 else f"{rounded:+.1f} %"


def count_of(count: int, one: str, many: str | None = None) -> str:
    """`1 peer`, `3 peers`, `1,200 ratings`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clock(unix_seconds: float) -> str:
    """Local wall-clock time of day, `14:03:59`."""
    return _time.strftime("%H:%M:%S", _time.localtime(unix_seconds))
