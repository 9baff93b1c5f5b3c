"""A home whose node has moved: it rests, so that one identity does not run in two places."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime

from openfl.core.atomic_files import atomic_write, read_own, remove
from openfl.core.errors import StateError
from openfl.storage.home import Home

_MAX_BYTES = 1 << 16


def mark_moved(home: Home, into: str, now: float) -> None:
    """From now on no node starts here. into: the file it was written to; now: unix seconds."""
    plain = {"into": into, "at": now}
    atomic_write(home.moved_file, (json.dumps(plain) + "\n").encode())


def is_moved(home: Home) -> bool:
    """Whether the node of this home lives elsewhere."""
    return home.moved_file.exists()


def unmark_moved(home: Home) -> None:
    """The node may start here again. StateError when that cannot be written."""
    remove(home.moved_file)


def where_to(home: Home) -> str | None:
    """`has moved on DAY, into FILE`; None when the node of this home lives here."""
    try:
        data = read_own(home.moved_file, _MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError:
        data = b""
    when = ""
    try:
        plain = json.loads(data)
        day = datetime.fromtimestamp(float(plain["at"]), UTC).date().isoformat()
        when = f" on {day}, into {str(plain['into'])[:300]}"
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, OSError):
        pass  # that it has moved is certain all the same
    return f"has moved{when}"


def require_not_moved(home: Home) -> None:
    """StateError when the node of this home lives elsewhere; it says how to have it back."""
    moved = where_to(home)
    if moved is not None:
        raise StateError(
            f"the node of {home.root} {moved}: started here too, one identity would run twice."
            f" If it runs nowhere else: openfl-node home undo-move --home"
            f" {shlex.quote(str(home.root))}"
        )
