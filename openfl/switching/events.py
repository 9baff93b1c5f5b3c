"""What goes into `Look`, `FirstLook`, `SnapshotFetch` and `Move`, and what comes out of them.

Events are facts, effects are orders; both are frozen values. The driver (`node.switch_driver` on
trio, `simulation.switch_driver` on the agenda) carries out effects in the order given and reports
back. Whatever an effect asks for is reported once, by its `deadline` at the latest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

from openfl.core.contribution import Charter, GroupId, ModelView, PeerId
from openfl.core.errors import UserError
from openfl.learning.comparison import Comparison
from openfl.network.base import PeerAddress
from openfl.switching.policy import Finding
from openfl.switching.probe import Probe
from openfl.switching.seed import MoveOrder, Seed
from openfl.switching.summary import Summary
from openfl.wire import messages as wire

Source = Literal["at hand", "looked up"]
"""At hand: connected peers that subscribe to the group's topic, or signed its cards. Looked up:
whom the DHT and connected peers name."""

# --- looking: events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MembersFound:
    """What `FindMembers` found; nobody when it took too long."""

    group_id: GroupId
    members: tuple[PeerAddress, ...]


@dataclass(frozen=True, slots=True)
class ConnectEnded:
    """Whether the member that `Connect` names is connected now."""

    group_id: GroupId
    connected: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to `RequestSnapshot`."""

    group_id: GroupId
    payload: bytes


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """`RequestSnapshot` got no usable answer; `reason` is for people."""

    group_id: GroupId
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of `Compare`; None: this node has nothing to compare by."""

    group_id: GroupId
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class AloneCompared:
    """The result of `CompareAlone`; None: what training alone is worth is not known."""

    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class CircleCompared:
    """The result of `CompareCircle`; None: nothing is held out to compare by."""

    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """`next_wake` has come."""


FetchEvent = MembersFound | ConnectEnded | Answered | NotAnswered
LookEvent = FetchEvent | Compared | AloneCompared | CircleCompared | TimerFired

# --- looking: effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindMembers:
    """Report members of the group from this source with `MembersFound`."""

    group_id: GroupId
    source: Source
    deadline: float


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect to this member, unless it is connected, and report `ConnectEnded`."""

    group_id: GroupId
    member: PeerAddress
    deadline: float


@dataclass(frozen=True, slots=True)
class RequestSnapshot:
    """Ask `peer` on `protocol`, for a snapshot or a summary; report `Answered`, or `NotAnswered`
    (at once when it does not speak that protocol)."""

    group_id: GroupId
    peer: PeerId
    payload: bytes
    deadline: float
    protocol: str = wire.SNAPSHOT_PROTOCOL


@dataclass(frozen=True, slots=True)
class Penalize:
    """A peer broke the protocol in an answer it gave."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare `model`, of the group of `there`, with `others`, that of the other members of the
    group of `here`, or with training alone when there are none; by this node's own data, which
    neither has learned from. Report `Compared`."""

    here: Charter
    others: ModelView | None
    there: Charter
    model: ModelView


@dataclass(frozen=True, slots=True)
class CompareAlone:
    """Compare training alone with `others`, and report `AloneCompared`."""

    here: Charter
    others: ModelView


@dataclass(frozen=True, slots=True)
class CompareCircle:
    """Compare `circle`, the model of some of the others, with `others`, that of all of them, on
    held-out data alone, which did not choose the circle. Report `CircleCompared`."""

    here: Charter
    others: ModelView
    circle: ModelView


@dataclass(frozen=True, slots=True)
class Fetched:
    """The end of a `SnapshotFetch`: all that `peer` serves of the group is in `probe`, which is the
    driver's now."""

    group_id: GroupId
    probe: Probe
    peer: PeerId


@dataclass(frozen=True, slots=True)
class Summarized:
    """The end of a `SnapshotFetch` that was to begin with a summary: what a member says."""

    group_id: GroupId
    summary: Summary


@dataclass(frozen=True, slots=True)
class NotFetched:
    """The end of a `SnapshotFetch`: nobody served what was asked for; `reason` is for people."""

    group_id: GroupId
    reason: str


@dataclass(frozen=True, slots=True)
class LookResult:
    """The end of a `Look`. findings: of the groups that gave something to judge, in the order in
    which they were to be looked at. gave_nothing: why each of the others did not, for people.
    harmful: of how many members that this node has judged, in any group, how many did it harm."""

    findings: tuple[Finding, ...]
    gave_nothing: dict[GroupId, str]
    alone: Comparison | None = None
    circle: Comparison | None = None
    harmful: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Served:
    """A group of which a snapshot was fetched. members: whose signed contributions were in it, this
    node not counted; 0 when nobody there has learned anything yet."""

    charter: Charter
    members: int


@dataclass(frozen=True, slots=True)
class FirstLookResult:
    """The end of a `FirstLook`: the groups that were served, the one of most members first."""

    served: tuple[Served, ...]


FetchEnd = Fetched | Summarized | NotFetched
FetchEffect = FindMembers | Connect | RequestSnapshot | Penalize | FetchEnd
LookEffect = FetchEffect | Compare | CompareAlone | CompareCircle | LookResult | FirstLookResult

# --- moving ---------------------------------------------------------------------------------------

M = TypeVar("M")
"""A membership, as the driver knows it."""

MovePoint = Literal[
    "move-decided",
    "move-fetched",
    "move-saved",
    "move-committed",
    "move-subscribed",
    "move-left",
    "move-unsubscribed",
    "move-forgotten",
    "move-finished",
]
MOVE_POINTS: tuple[MovePoint, ...] = get_args(MovePoint)
"""The steps of a move, in the order in which it passes them."""


@dataclass(frozen=True, slots=True)
class Opened(Generic[M]):
    """`Open` made this membership; nothing of it is public yet."""

    membership: M


@dataclass(frozen=True, slots=True)
class NotOpened:
    """`Open` made none, and nothing has changed."""

    error: UserError


@dataclass(frozen=True, slots=True)
class Written:
    """`SaveMembership` or `Commit` is on disk."""


@dataclass(frozen=True, slots=True)
class NotWritten:
    """`SaveMembership` or `Commit` failed, and what was on disk still is."""

    error: UserError


MoveEvent = Fetched | NotFetched | Opened[M] | NotOpened | Written | NotWritten


@dataclass(frozen=True, slots=True)
class Reached:
    """The move has come to this point; a test may end the node here."""

    point: MovePoint


@dataclass(frozen=True, slots=True)
class FetchSeed:
    """Run a `SnapshotFetch` of this group and hand in its end, `Fetched` or `NotFetched`."""

    charter: Charter


@dataclass(frozen=True, slots=True)
class Open:
    """Make the membership that takes the place of the present one; report `Opened` or
    `NotOpened`."""

    charter: Charter
    seed: Seed


@dataclass(frozen=True, slots=True)
class OweLeave(Generic[M]):
    """From now on the signed leave of this membership is kept with the node's place."""

    membership: M


@dataclass(frozen=True, slots=True)
class SaveMembership(Generic[M]):
    """Write it to disk; report `Written` or `NotWritten`."""

    membership: M


@dataclass(frozen=True, slots=True)
class Commit:
    """Replace the one file that names the node's group; report `Written` or `NotWritten`."""

    order: MoveOrder


@dataclass(frozen=True, slots=True)
class SettleLeave:
    """Nothing is owed to this group any more."""

    group_id: GroupId


@dataclass(frozen=True, slots=True)
class Enter(Generic[M]):
    """From now on this is the node's one membership."""

    membership: M
    order: MoveOrder


@dataclass(frozen=True, slots=True)
class TakePart(Generic[M]):
    """Subscribe to the group's topic, and begin with what the seed holds."""

    membership: M


@dataclass(frozen=True, slots=True)
class Leave(Generic[M]):
    """Tell the group that this member leaves it."""

    membership: M


@dataclass(frozen=True, slots=True)
class End(Generic[M]):
    """Leave the group's topic: nothing of it is handled or saved any more."""

    membership: M


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what is kept of this group, if the disk lets it, and this node's own card of it."""

    group_id: GroupId


@dataclass(frozen=True, slots=True)
class SaveStanding:
    """Write down where the node is and how it stands, if the disk lets it."""


@dataclass(frozen=True, slots=True)
class Moved(Generic[M]):
    """The end of a `Move` that was carried out."""

    order: MoveOrder
    left: GroupId
    membership: M


@dataclass(frozen=True, slots=True)
class NotMoved:
    """The end of a `Move` that was not: the node is where it was."""

    error: UserError


MoveEffect = (
    Reached
    | FetchSeed
    | Open
    | OweLeave[M]
    | SaveMembership[M]
    | Commit
    | SettleLeave
    | Enter[M]
    | TakePart[M]
    | Leave[M]
    | End[M]
    | Forget
    | SaveStanding
    | Moved[M]
    | NotMoved
)
