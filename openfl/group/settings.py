"""Settings of one membership, and where it begins. Files and presets: see `openfl.config`."""

from __future__ import annotations

from dataclasses import dataclass, field

from openfl.aggregation.replica import ReplicaLimits
from openfl.group.screening import AggregationSettings


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a member paces itself and what it publishes. All times in seconds.

    rounds: 0 = until stopped. wait_for_members: rounds start once so many members, this one
    included, are present. presence_seconds: silence after which a member counts as away (its
    influence stays until `limits.member_ttl_seconds`). snapshot_page_bytes: how much is asked for
    at a time. tells_fit: whether others are told how well the model fits this member's own data,
    and how many examples it has.
    """

    auto_start: bool = True
    rounds: int = 0
    interval_seconds: float = 2.0
    wait_for_members: int = 1
    heartbeat_seconds: float = 2.0
    inline_limit_bytes: int = 65_536
    row_fraction: float = 0.5
    refresh_fraction: float = 0.1
    target_publishers: int = 0
    """About how many members of a large group publish in each round; 0: all."""
    assumed_members: int = 0
    """So many count as present at least; for drivers that tell of members in another way."""
    snapshot_page_bytes: int = 512 << 10
    tells_fit: bool = True
    request_timeout_seconds: float = 5.0
    max_open_requests: int = 4
    messages_per_second: float = 50.0
    """What one author may send on the topic in the long run; four times that in a burst."""
    bytes_per_second: float = 1024.0 * 1024.0
    """What one author's messages, with the deltas they announce, may weigh in the long run; eight
    times that in a burst."""
    limits: ReplicaLimits = field(default_factory=ReplicaLimits)
    aggregation: AggregationSettings = field(default_factory=AggregationSettings)

    @property
    def presence_seconds(self) -> float:
        """Ten heartbeats: quiet intervals grow to four of them, and a few may be lost."""
        return 10 * self.heartbeat_seconds

    @property
    def longest_heartbeat_seconds(self) -> float:
        """The longest pause between heartbeats where nothing changes."""
        return 4 * self.heartbeat_seconds


@dataclass(frozen=True, slots=True)
class SessionStart:
    """Where one membership begins, or goes on.

    epoch: higher than in any earlier membership of this peer in this group (its start in unix
    milliseconds serves). train_examples: how many private examples this member trains on. round,
    history: where a saved session, or that of another group, was; history are the values of its
    latest evaluations, oldest first. last_round: the round after which the session is done, when
    that is not to be `SessionSettings.rounds` from now.
    """

    epoch: int
    train_examples: int = 0
    round: int = 0
    last_round: int | None = None
    history: tuple[float, ...] = ()
