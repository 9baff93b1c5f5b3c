"""The bounds of a replica, the outcome of a merge, and what a replica tells of its members."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.fixed_point import MEMBER_CAP
from openfl.aggregation.version_vector import Version
from openfl.core.contribution import Evaluation, Floats, Keys, PeerId


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """Bounds of a replica. `max_rows` counts registers of all members; `max_bytes` is compared with
    `Replica.size_bytes`. `member_ttl_seconds`: silence after which a member's registers go."""

    max_members: int = 4096
    max_rows: int = 2_000_000
    max_bytes: int = 512 << 20
    max_member_rows: int = 500_000
    max_member_deltas: int = 512
    member_ttl_seconds: float = 600.0

    def __post_init__(self) -> None:
        """ValueError for more members than the overflow proof of `fixed_point` covers."""
        if not 1 <= self.max_members <= MEMBER_CAP:
            raise ValueError(f"max_members must be within 1..{MEMBER_CAP}")


class MergeKind(Enum):
    """MERGED: state changed. STALE: of an older epoch, of a member that left or expired, or wholly
    superseded. DUPLICATE: heard before. REFUSED: does not fit the charter or the limits."""

    MERGED = "merged"
    STALE = "stale"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class MergeResult:
    """`reason` is a stable word for counting, `detail` a sentence for people. `equivocation`: the
    author signed another delta with the same seqno, which proves it dishonest."""

    kind: MergeKind
    reason: str = ""
    detail: str = ""
    rows_changed: int = 0
    equivocation: bool = False


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member that has contributed. `version.seqno` is complete up to there; `latest_seqno` is the
    highest heard. round, examples and fit are as its latest delta says."""

    peer_id: PeerId
    version: Version
    latest_seqno: int
    rows: int
    last_heard: float
    round: int
    examples: int
    fit: Evaluation | None


@dataclass(frozen=True, slots=True)
class MemberRows:
    """One member's registers in one table (copies). keys: uint64[n] ascending; values:
    float32[n, width]; evidence: uint32[n]; precision: float64[n, width]."""

    keys: Keys
    values: Floats
    evidence: NDArray[np.uint32]
    precision: NDArray[np.float64]
