"""Versioned state files.

What cannot be read because it is damaged is moved aside, never deleted, and the caller is told by
a value; what cannot be read or written because of the machine (disk full, permissions) is a
`StateError`. Time is an argument.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2

from openfl.core.atomic_files import atomic_write, read_own, reason
from openfl.core.errors import StateError

_MAGIC = b"OpenFL state\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
MAX_STATE_BYTES = 1 << 30
"""A state file beyond this is not ours; it is not read into memory."""


@dataclass(frozen=True, slots=True)
class StateRead:
    """What `read_state` found.

    content: None when there is no usable state. version: of the writer's format, at most the one
    asked for. problem: one line for the owner when a file was there but is of no use; it then
    stands at `moved_to`.
    """

    content: Any = None
    version: int = 0
    problem: str | None = None
    moved_to: Path | None = None


def write_state(path: Path, kind: str, version: int, content: object) -> None:
    """Save `content` (None, bool, int, float, str, bytes, and lists and dicts of them) atomically.

    `kind` names what the file holds; `version` counts the formats of that kind. The file ends in a
    SHA-256 of all before it, so that a torn or altered file is noticed before it is decoded.
    """
    body = _MAGIC + cbor2.dumps({"kind": kind, "version": version, "content": content})
    atomic_write(path, body + hashlib.sha256(body).digest())


def read_state(path: Path, kind: str, version: int, now: float) -> StateRead:
    """The content that `write_state` saved, or None in its place.

    A damaged file, one of another kind or of a newer version than `version` is moved aside:
    `NAME.corrupt-YYYYMMDDTHHMMSSZ` or `NAME.newer-...`, by `now` (unix seconds). StateError when
    the file cannot be read or moved.
    """
    try:
        data = read_own(path, MAX_STATE_BYTES)
    except FileNotFoundError:
        return StateRead()
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {reason(error)}") from error
    envelope, damage = _open_envelope(data)
    if damage is None and envelope["kind"] != kind:
        damage = f"holds {envelope['kind']} instead of {kind}"
    if damage is not None:
        return set_aside(path, "corrupt", damage, now)
    if envelope["version"] > version:
        newer = f"was written by a newer OpenFL (format {envelope['version']}, known {version})"
        return set_aside(path, "newer", newer, now)
    return StateRead(content=envelope["content"], version=envelope["version"])


def peek_state(path: Path, kind: str, version: int) -> Any:
    """The content that `read_state` would find; None when it would find none.

    A file of no use stays where it is, for `read_state` to move and to tell of.
    """
    try:
        data = read_own(path, MAX_STATE_BYTES)
    except OSError:
        return None
    envelope, damage = _open_envelope(data)
    usable = damage is None and envelope["kind"] == kind and envelope["version"] <= version
    return envelope["content"] if usable else None


def state_problem(path: Path) -> str | None:
    """What is wrong with a state file, of whatever kind, which stays where it is; None when nothing
    is, or there is none."""
    try:
        _, damage = _open_envelope(read_own(path, MAX_STATE_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    return damage


def _open_envelope(data: bytes) -> tuple[dict[str, Any], str | None]:
    """(envelope, None), or ({}, what is wrong)."""
    if len(data) > MAX_STATE_BYTES:
        return {}, "is too large to be a state file"
    if not data.startswith(_MAGIC):
        return {}, "is empty" if not data else "is not a state file"
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return {}, "is damaged (its checksum does not match)"
    try:
        envelope = cbor2.loads(body[len(_MAGIC) :])
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        return {}, f"is damaged ({error})"
    if (
        not isinstance(envelope, dict)
        or not {"kind", "version", "content"} <= envelope.keys()
        or type(envelope["version"]) is not int
    ):
        return {}, "is not a state file"
    return envelope, None


def set_aside(path: Path, word: str, damage: str, now: float) -> StateRead:
    """Move a file of no use aside, as `NAME.WORD-YYYYMMDDTHHMMSSZ` by `now` (unix seconds).
    `damage`: what is wrong with it, for the owner. StateError when it cannot be moved."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.{word}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{word}-{stamp}-{number}")
    try:
        path.rename(target)
    except OSError as error:
        raise StateError(f"{path}: {damage}, and cannot be moved aside: {reason(error)}") from error
    return StateRead(problem=f"{path}: {damage}; moved to {target.name}", moved_to=target)
