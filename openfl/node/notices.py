"""`Notices`: what is wrong with a node's situation, said for as long as it lasts.

The rule for whoever adds a way in which a node can look fine while nothing works: tell it once as
an event when it begins, for the log, and name that event in `LASTING`, with the one that ends it.
The live view and `status` then show it until it is over. One line: what is the matter, and what its
owner can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from openfl.core.telemetry import NodeEvent, Notice
from openfl.discovery.discovery import Absence, Discovery
from openfl.node.event_log import EventLog

LASTING: Mapping[str, str] = {
    "deaf": "heard-again",
    "duplicate-identity": "",
    "interval-lengthened": "interval-restored",
    "not-invited": "",
    "not-joined": "joined-late",
    "not-saved": "saved-again",
    "other-version": "",
}
"""Event that begins it -> event that ends it; "": it lasts until the node is started again."""
NOT_OF_THE_NEXT_GROUP = ("deaf", "interval-lengthened", "not-invited", "not-joined")
"""Over once the node is in another group: event `switched`."""


class Notices:
    """Notices of a node, oldest first. They follow from its events; whom it waits for is read off
    `discovery`."""

    def __init__(self, discovery: Discovery, log: EventLog) -> None:
        self._discovery = discovery
        self._lasting: dict[str, Notice] = {}
        log.observers.append(self._observe)

    def get(self, kind: str) -> Notice | None:
        """The notice of this kind, if it is so now."""
        return self._lasting.get(kind)

    def _observe(self, event: NodeEvent) -> None:
        if event.kind in LASTING:
            self._lasting[event.kind] = Notice(event.kind, event.message, event.data)
        for kind in [kind for kind in self._lasting if LASTING[kind] == event.kind]:
            del self._lasting[kind]
        if event.kind == "switched":
            for kind in NOT_OF_THE_NEXT_GROUP:
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
