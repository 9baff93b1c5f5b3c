"""What follows from several snapshots: how much goes over the wire now, and what was survived
lately."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from openfl.core.fault_words import fault_words
from openfl.core.telemetry import NodeSnapshot
from openfl_cli.text import clean

RATE_SECONDS = 10.0
LATELY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class News:
    """sent, received: bytes a second, None while that is not known. survived: the last fault, in
    words; empty when there was none for a while."""

    sent: float | None = None
    received: float | None = None
    survived: str = ""


class NewsDesk:
    """Told every snapshot that is taken."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()
        self._faults: dict[str, int] | None = None
        self._survived = ""
        self._survived_at = 0.0

    def heard(self, shot: NodeSnapshot) -> News:
        """What is new, by this snapshot and those before it."""
        counts = self._counts
        if counts and shot.time < counts[-1][0]:
            counts.clear()  # the clock was set back
        counts.append((shot.time, shot.bytes_sent, shot.bytes_received))
        while len(counts) > 2 and counts[1][0] <= shot.time - RATE_SECONDS:
            counts.popleft()
        before = self._faults
        if before is not None:
            grown = [name for name, count in shot.faults.items() if count > before.get(name, 0)]
            if grown:
                rarest = min(grown, key=lambda name: (shot.faults[name], name))
                self._survived = clean(fault_words(rarest), 200)
                self._survived_at = shot.time
        self._faults = dict(shot.faults)
        recent = 0 <= shot.time - self._survived_at < LATELY_SECONDS
        since, sent, received = counts[0]
        seconds = shot.time - since
        if seconds < 1:
            return News(survived=self._survived if recent else "")
        return News(
            max(0, shot.bytes_sent - sent) / seconds,
            max(0, shot.bytes_received - received) / seconds,
            self._survived if recent else "",
        )
