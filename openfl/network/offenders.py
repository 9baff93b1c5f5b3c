"""Which peers are refused for repeated faults: pure bookkeeping, shared by every `Network`."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from openfl.core.contribution import PeerId

FAULTS_BEFORE_REFUSAL = 8.0
"""A guess: an honest peer of another version errs a few times, a hostile one at once and often."""
FAULT_HALF_LIFE_SECONDS = 60.0
REFUSAL_SECONDS = 120.0
MAX_OFFENDERS = 4096
"""When more are known, the one heard of longest ago is forgotten."""


@dataclass(slots=True)
class _Record:
    score: float
    at: float
    refused_until: float = 0.0


class Offenders:
    """Counts faults with a half-life; `now` is in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._records: OrderedDict[PeerId, _Record] = OrderedDict()

    def add(self, peer_id: PeerId, now: float) -> bool:
        """Count one fault; True when the peer is refused from now on."""
        record = self._records.pop(peer_id, None) or _Record(0.0, now)
        self._records[peer_id] = record
        if len(self._records) > MAX_OFFENDERS:
            self._records.popitem(last=False)
        record.score = 1.0 + record.score * 0.5 ** ((now - record.at) / FAULT_HALF_LIFE_SECONDS)
        record.at = now
        # A hair below, so that faults in quick succession count in full.
        if record.score < FAULTS_BEFORE_REFUSAL - 0.5:
            return False
        record.score = FAULTS_BEFORE_REFUSAL / 2  # once readmitted, less is forgiven
        record.refused_until = now + REFUSAL_SECONDS
        return True

    def is_refused(self, peer_id: PeerId, now: float) -> bool:
        """Whether the peer is refused at `now`."""
        record = self._records.get(peer_id)
        return record is not None and now < record.refused_until
