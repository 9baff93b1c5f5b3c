"""What goes into a `GroupSession` and what comes out.

Events are facts, effects are orders; both are frozen values. The driver turns messages, timers and
finished work into events, and carries out effects in the order given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from openfl.aggregation.member_judge import Influence
from openfl.core.contribution import Contribution, Evaluation, ModelView, PeerId
from openfl.network.base import Verdict

# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GossipReceived:
    """A message on the group's topic; `author` is its verified pubsub signer."""

    author: PeerId
    relayed_by: PeerId
    payload: bytes


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A peer asks for a snapshot or a pull; the session answers with `Respond`."""

    peer: PeerId
    protocol: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class AnswerReceived:
    """The answer to the `Request` with this token."""

    token: int
    peer: PeerId
    payload: bytes


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """The `Request` with this token got no answer."""

    token: int
    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class MembersReachable:
    """Peers connected now that subscribe to the group's topic."""

    peers: frozenset[PeerId]


@dataclass(frozen=True, slots=True)
class DiscoveryEnded:
    """The first search for members is over. `alone`: no peer at all is connected; otherwise a
    member among them may not have said yet that it is one."""

    alone: bool


@dataclass(frozen=True, slots=True)
class SnapshotGiven:
    """The replica was filled before the session began, with what `peer` serves (None: this member
    founds the group, there is nothing to fetch): no snapshot is needed."""

    peer: PeerId | None


@dataclass(frozen=True, slots=True)
class TrainingFinished:
    """A `Train` effect's result. `validation` judges the model the step started from, by examples
    of these `losses` (float64[n]; None where the task does not tell). `influence`: what its case
    found."""

    contribution: Contribution
    validation: Evaluation | None
    influence: Mapping[PeerId, Influence] = field(default_factory=dict)
    losses: NDArray[np.float64] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class EvaluationFinished:
    """An `Evaluate` effect's result; the rest as for `TrainingFinished`."""

    validation: Evaluation | None
    influence: Mapping[PeerId, Influence] = field(default_factory=dict)
    losses: NDArray[np.float64] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TimerFired:
    """`next_wake` has come."""


@dataclass(frozen=True, slots=True)
class LoadMeasured:
    """How the node has fared since the last one. behind_seconds: how old what has come and is not
    handled may be now; most_behind_seconds: at most, meanwhile; waiting: frames that wait for a
    peer to take them, of the median peer."""

    behind_seconds: float
    most_behind_seconds: float
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Stalled:
    """For so many seconds until now the node handled nothing (stopped, suspended, or one long piece
    of work): what others said meanwhile waits unread."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """Leave the group for good: withdraw this member's influence."""


Event = (
    GossipReceived
    | RequestReceived
    | AnswerReceived
    | RequestFailed
    | MembersReachable
    | DiscoveryEnded
    | SnapshotGiven
    | TrainingFinished
    | EvaluationFinished
    | TimerFired
    | LoadMeasured
    | Stalled
    | LeaveRequested
)

# --- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judge:
    """The verdict on the `GossipReceived` just handled."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Respond:
    """The answer to the `RequestReceived` just handled."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to the group's topic."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """Ask `peer`; report with `AnswerReceived` or `RequestFailed` and the same token."""

    token: int
    peer: PeerId
    protocol: str
    payload: bytes
    max_response_bytes: int
    timeout_seconds: float


class Judging(Protocol):
    """Members to be judged by a task's own data, frozen: safe to use in another thread."""

    def judge(self, task: object) -> Mapping[PeerId, Influence]:
        """Each member's influence; empty when the task is no `InfluenceJudge`."""
        ...


@dataclass(frozen=True, slots=True)
class Train:
    """Evaluate `model`, do one local step from it, let the task judge `case` when there is one, and
    report `TrainingFinished`."""

    round: int
    model: ModelView
    case: Judging | None = None


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Evaluate `model`, let the task judge `case` if there is one, report `EvaluationFinished`."""

    model: ModelView
    case: Judging | None = None


@dataclass(frozen=True, slots=True)
class Save:
    """State worth keeping has changed."""


@dataclass(frozen=True, slots=True)
class Penalize:
    """A peer broke the protocol in an answer it gave."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Something the owner may want to see; the fields are those of `NodeEvent`."""

    level: Literal["debug", "info", "warning", "error"]
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


Effect = Judge | Respond | Publish | Request | Train | Evaluate | Save | Penalize | Tell


def short(peer: PeerId) -> str:
    """The end of a peer id, enough for people to tell peers apart."""
    return f"..{peer[-6:]}"
