"""`Notices`: what is wrong with a node's situation, said for as long as it lasts.

The rule for whoever adds a way in which a node can look fine while nothing works: tell it once as
an event when it begins, for the log, and keep it as a `Notice` until it is over, for the live view
and `status`, which show all of them. One line: what is the matter, and what its owner can do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from openfl.network.discovery import Absence, Discovery
from openfl.node.event_log import EventLog
from openfl.telemetry import Notice

Level = Literal["debug", "info", "warning", "error"]


class Notices:
    """Notices of a node, oldest first; whom it waits for is read off `discovery`."""

    def __init__(self, discovery: Discovery, log: EventLog) -> None:
        self._discovery = discovery
        self._log = log
        self._lasting: dict[str, Notice] = {}

    def say(self, kind: str, text: str, level: Level = "warning", **data: Any) -> None:
        """The node's situation is this from now on; told when it was not, or was otherwise."""
        notice = Notice(kind, text, data)
        if self._lasting.get(kind) != notice:
            self._lasting[kind] = notice
            self._log.tell(level, kind, text, data)

    def over(self, kind: str) -> None:
        """It is so no longer."""
        self._lasting.pop(kind, None)

    def now(self, now: float) -> tuple[Notice, ...]:
        """All of them at this moment, on trio's clock."""
        return (*self._absence(now), *self._lasting.values())

    def _absence(self, now: float) -> Iterator[Notice]:
        absence = self._discovery.absence()
        if absence is not None:
            pause = max(0.0, absence.next_try - now)
            when = f"next try in {pause:.0f} s" if pause >= 0.5 else "trying again"
            data = {
                "addresses": absence.addresses,
                "bootstrap": absence.bootstrap,
                "causes": list(absence.causes),
                "next_try_seconds": pause,
            }
            yield Notice("waiting", f"{waiting_text(absence)}, {when}", data)


def waiting_text(absence: Absence) -> str:
    """For whom a node waits, and why they are not here; the same from one try to the next."""
    what = "bootstrap address" if absence.bootstrap else "known peer"
    plural = ("es" if absence.bootstrap else "s") if absence.addresses != 1 else ""
    return f"waiting for {absence.addresses} {what}{plural}: {', '.join(absence.causes)}"
