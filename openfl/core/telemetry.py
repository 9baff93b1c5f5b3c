"""`NodeSnapshot`: the immutable picture of a node, for the live view, `status` and logs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from openfl.core.contribution import GroupId, PeerId

Phase = Literal["starting", "joining", "learning", "waiting", "done", "stopping", "stopped"]
"""starting: opening the network. joining: looking for members and fetching a snapshot. learning:
rounds go on. waiting: joined, but `auto_start` is off or too few members are there. done: all
`rounds` finished, still serving. stopped: as saved on disk by a node that runs no more.
"""


def json_plain(value: Any) -> Any:
    """`value` with NaN and infinities as None: JSON has no word for them. For whatever becomes
    JSON (`status --json`, event lines, the control socket, records of simulations)."""
    if isinstance(value, Mapping):
        return {key: json_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One thing that happened. `time` is unix seconds. `kind` is a stable word for scripts, one of
    `openfl.core.event_kinds`; `data` holds its machine-readable fields (plain JSON values)."""

    time: float
    level: Literal["debug", "info", "warning", "error"]
    kind: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of the group, ourselves included. `age_seconds`: since anything was heard of it.
    `left_out`: why this node leaves it out of its model; empty when it does not."""

    peer_id: PeerId
    round: int
    fit: float | None
    rows: int
    age_seconds: float
    me: bool = False
    left_out: str = ""
    history: bool | None = None
    """Whether this node has seen it do its own data good (`openfl.aggregation.member_judge`); None
    of ourselves, and where no member is judged."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """A connected peer."""

    peer_id: PeerId
    multiaddrs: tuple[str, ...]
    groups: tuple[str, ...]
    """Names (or ids, when the name is unknown) of the groups it subscribes to."""
    in_mesh: bool
    """Whether it is in our mesh of our current group."""
    relayed: bool = False
    """Whether the connection runs over a relay."""


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group known to the network, as `openfl-node groups` lists it."""

    id: GroupId
    name: str
    task: str
    members: int
    fit_metric: str | None
    fit_best: float | None
    fit_median: float | None
    age_seconds: float
    """Since its freshest card was issued, as far as this node can tell."""
    mine: bool
    compatible: bool
    """Whether this node's task and data could join it."""
    reason: str = ""
    """Why not, when it is not compatible."""
    gain: float | None = None
    """By which part of the larger of the two this node's metric would be better there, -1 to 1, as
    it measured on its own data; negative: worse. None: not tried (or tried from another group than
    the one it is in now)."""
    gain_error: float | None = None
    """Standard error of `gain`."""
    tried_rounds_ago: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = json_plain(asdict(self))
        return plain


@dataclass(frozen=True, slots=True)
class ItemsView:
    """How many of this node's songs or classes (`noun`) other members of its group know."""

    noun: str
    mine: int
    known: int
    """Of `mine`."""
    group: int
    """That others in the group have told, in all."""
    named: int | None = None
    """Of those of the whole group, how many this node can name; None where ids are names."""

    @property
    def text(self) -> str:
        """In words; with the question it raises when none is known."""
        words = "labels" if self.noun == "classes" else "ids"
        asked = "" if self.known else f": are the {words} written alike?"
        named = "" if self.named is None else f"; {self.named:,} have a name here"
        return (
            f"{self.known:,} of your {self.mine:,} {self.noun} are among the group's"
            f" {self.group:,}{named}{asked}"
        )


@dataclass(frozen=True, slots=True)
class PrivacyView:
    """What was spent of the privacy budget. releases: made so far; releases_left: how many more
    fit, 0 when it is spent."""

    epsilon_spent: float
    epsilon: float
    delta: float
    noise_multiplier: float
    clip: float
    releases: int
    releases_left: int


@dataclass(frozen=True, slots=True)
class DecisionView:
    """One decision about which group to be in. `text` is one line for people; `action` is `stay`,
    `move`, `found`, `switch` (by the owner) or `failed`. `time` is unix seconds."""

    time: float
    action: str
    text: str


@dataclass(frozen=True, slots=True)
class SwitchingView:
    """How this node chooses its group."""

    auto: bool = False
    """Whether it moves by itself."""
    pinned: bool = False
    """Its owner said that it is to stay in this group."""
    moves: int = 0
    """By its own decision, over its whole life."""
    dwell_rounds: int = 0
    """Rounds until it may move again."""
    why: str = ""
    """Why it is where it is, in one line."""
    decisions: tuple[DecisionView, ...] = ()
    """The last ones, newest last, at most 20."""


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """What came of asking peers which groups there are, the last time: of `asked` peers, some
    `answered`, some `refused`, the others gave no answer."""

    asked: int = 0
    answered: int = 0
    refused: int = 0

    @property
    def text(self) -> str:
        """Why no other group is known, in words."""
        if not self.asked:
            return "no peer was there to ask"
        if not self.answered:
            refused = self.refused == self.asked
            which = "the one peer asked" if self.asked == 1 else f"all {self.asked} peers asked"
            return f"{which} {'refused' if refused else 'gave no answer'}"
        answered = f"{self.answered} of {self.asked} peers asked answered"
        return f"{answered}, and know of no other"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something wrong with the node's situation, for as long as it lasts (an event is told once).
    `kind` is a stable word for scripts: `waiting` (nobody answers), `not-joined` (learning alone,
    though a group was to be joined), `deaf` (nothing is heard of connected members),
    `duplicate-identity` (another node has this one's key), `interval-lengthened` (rounds come more
    slowly than is set, for the load), `not-invited` (the invitation is no
    longer good), `not-saved` (the disk takes nothing), `other-version` (others run another protocol
    version). `text` is one line for people: what is the matter, what to do. `data` holds plain JSON
    values."""

    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResourcesView:
    """What the node holds at this moment. Under the same load and with as many peers it does not
    grow; what does is leaking."""

    memory_bytes: int
    """Resident, of the whole process."""
    open_files: int
    """File descriptors of the process, sockets included."""
    threads: int
    tasks: int
    """Of the event loop (trio), the libraries' own included."""
    connections: int
    """To peers."""
    streams: int
    """Open within these connections, in either direction."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Everything a viewer needs, at one moment. RMSE fields are in units of the ratings."""

    time: float
    started_at: float
    phase: Phase
    peer_id: PeerId
    multiaddrs: tuple[str, ...]
    home: str
    group_id: GroupId
    group_name: str
    task: str
    metric: str
    """Name of the held-out metric, for example `rmse`."""
    peers: tuple[PeerView, ...]
    members: tuple[MemberView, ...]
    round: int
    rounds: int
    """The round after which the node is done; 0 = until stopped."""
    train_examples: int
    model_rows: int
    validation: float | None
    """Held-out metric of the group's model now, on this node's own data."""
    alone: float | None
    """The same metric and held-out data for a model trained on this node's data alone."""
    test: float | None
    alone_test: float | None
    history: tuple[float, ...]
    """`validation` after each round, newest last, at most 240 values."""
    bytes_sent: int
    bytes_received: int
    published_bytes: int
    """Payload bytes this node published as contributions (before the network's copies)."""
    deltas_merged: int
    faults: Mapping[str, int]
    events: tuple[NodeEvent, ...]
    """The last events, newest last, at most 50."""
    privacy: PrivacyView | None = None
    """None when this node does not teach under differential privacy."""
    switching: SwitchingView = field(default_factory=SwitchingView)
    resources: ResourcesView | None = None
    """None when the node does not run."""
    notices: tuple[Notice, ...] = ()
    """What is wrong at this moment; empty when all is well."""
    directory: DirectoryView = field(default_factory=DirectoryView)
    items: ItemsView | None = None
    """None while nobody else has told any, or what is learned has no names."""
    skipped_rows: int = 0
    """Of the data files: rows that cannot be used, left out because the owner said so."""
    useful_after: float | None = None
    """Seconds from `started_at` until the node had a model that others taught, and had judged it on
    its own held-out data; None: not yet, or not in this run."""
    interval_seconds: float = 0.0
    """Between the beginnings of two rounds, as it is kept now; 0 when it is in no group."""

    @property
    def strangers(self) -> int:
        """Present members without a history with this node, as far as members are judged."""
        return sum(member.history is False for member in self.members)

    def to_plain(self) -> dict[str, Any]:
        """Plain JSON values; `from_plain` is its inverse."""
        plain: dict[str, Any] = json_plain(asdict(self))
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> NodeSnapshot:
        """What `to_plain` made, in this version or an earlier one. KeyError, TypeError, ValueError
        or AttributeError when it is no snapshot."""
        values = dict(plain)
        values["multiaddrs"] = tuple(values["multiaddrs"])
        values["history"] = tuple(values["history"])
        values["peers"] = tuple(
            PeerView(**{**p, "multiaddrs": tuple(p["multiaddrs"]), "groups": tuple(p["groups"])})
            for p in values["peers"]
        )
        values["members"] = tuple(MemberView(**m) for m in values["members"])
        values["events"] = tuple(NodeEvent(**e) for e in values["events"])
        values["directory"] = DirectoryView(**values.get("directory", {}))
        values["notices"] = tuple(Notice(**n) for n in values.get("notices", ()))
        if values.get("privacy") is not None:
            values["privacy"] = PrivacyView(**values["privacy"])
        if values.get("items") is not None:
            values["items"] = ItemsView(**values["items"])
        if values.get("resources") is not None:
            values["resources"] = ResourcesView(**values["resources"])
        if "switching" in values:  # saved by this version
            switching = dict(values["switching"])
            switching["decisions"] = tuple(DecisionView(**d) for d in switching["decisions"])
            values["switching"] = SwitchingView(**switching)
        return cls(**values)
