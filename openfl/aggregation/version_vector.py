"""What has been heard of one author: everything up to some seqno, and a few beyond the gaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from openfl.core.contribution import PeerId

MAX_EXTRAS = 1024
"""Most seqnos remembered beyond a gap. One that is forgotten is pulled again: harmless."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """An author's place: every delta of `epoch` up to `seqno` is merged or superseded. Versions
    of one author are ordered; a higher epoch is ahead whatever its seqno."""

    epoch: int
    seqno: int


VersionVector = Mapping[PeerId, Version]

NOTHING = Version(0, 0)


class HeardSeqnos:
    """The seqnos heard of one author in one epoch. Authors count from 1 without gaps."""

    __slots__ = ("_extras", "complete", "highest")

    def __init__(self) -> None:
        self.complete = 0
        """Every seqno up to this one was heard, or declared superseded by someone who heard it."""
        self.highest = 0
        """The highest seqno known to exist."""
        self._extras: set[int] = set()

    def __contains__(self, seqno: int) -> bool:
        """Whether the delta `seqno` was heard, or is known to be superseded."""
        return seqno <= self.complete or seqno in self._extras

    def add(self, seqno: int) -> None:
        """The delta `seqno` was heard."""
        self.highest = max(self.highest, seqno)
        if seqno in self:
            return
        self._extras.add(seqno)
        self._advance()
        if len(self._extras) > MAX_EXTRAS:
            # Keep those nearest to the gap: they let `complete` advance soonest.
            self._extras.remove(max(self._extras))

    def mark_complete(self, seqno: int) -> None:
        """Nothing that is still live is missing up to `seqno`."""
        self.highest = max(self.highest, seqno)
        if seqno > self.complete:
            self.complete = seqno
            self._extras = {extra for extra in self._extras if extra > seqno}
            self._advance()

    def _advance(self) -> None:
        while self.complete + 1 in self._extras:
            self.complete += 1
            self._extras.remove(self.complete)
