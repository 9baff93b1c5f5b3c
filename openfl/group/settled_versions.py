"""`SettledVersions`: what this member has had for a while, so that others ought to have it, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from openfl.aggregation.version_vector import NOTHING, Version, VersionVector
from openfl.core.contribution import PeerId


class SettledVersions:
    """`seconds`: how long a delta may be under way. Who lacks a younger one lacks nothing yet."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._current: dict[PeerId, Version] = {}
        self._before: dict[PeerId, deque[tuple[float, Version]]] = {}
        """author -> (when its version changed, what it was until then), the last changes."""

    def at(self, versions: VersionVector, now: float) -> Mapping[PeerId, Version]:
        """`versions`, which are those of now, as they were `seconds` ago. To be called whenever
        others are to be compared with them: what changed since the last call changed now."""
        settled = {}
        for author, version in versions.items():
            known = self._current.get(author, NOTHING)
            if version != known:
                self._before.setdefault(author, deque()).append((now, known))
                self._current[author] = version
            before = self._before.get(author)
            while before and before[0][0] <= now - self._seconds:
                before.popleft()
            settled[author] = before[0][1] if before else version
        for author in self._current.keys() - versions.keys():
            del self._current[author]
            self._before.pop(author, None)
        return settled
