"""`Finding`: one thing that was looked at, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["fault", "warning", "fine"]
ORDER: tuple[Severity, ...] = ("fault", "warning", "fine")
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` is a stable word for scripts, listed in docs/doctor.md. `what`: one line for people;
    `where`: the file, setting or address, if there is one; `do`: what its owner can do about it.

    fault: the node cannot do what it is for. warning: it can, but something is not as it should be,
    or will not stay so. fine: nothing is wrong.
    """

    check: str
    kind: str
    severity: Severity
    what: str
    do: str = ""
    where: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def fault(kind: str, what: str, do: str, where: str = "") -> Finding:
    """A fault; which check found it is filled in by `examine`."""
    return Finding("", kind, "fault", what, do, where)


def warning(kind: str, what: str, do: str, where: str = "") -> Finding:
    """A warning; see `fault`."""
    return Finding("", kind, "warning", what, do, where)


def fine(what: str, where: str = "") -> Finding:
    """Nothing is wrong; see `fault`."""
    return Finding("", "fine", "fine", what, "", where)


def peers(count: int) -> str:
    """`1 peer`, `3 peers`."""
    return "1 peer" if count == 1 else f"{count} peers"
