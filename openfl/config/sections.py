"""Every setting there is, one frozen dataclass a section.

A field's metadata is its only description: the loader checks with it, `openfl-node init` writes it
into the commented file, and docs/configuration.md is generated from it. Figures that are guesses
say so; the others come from the measurements behind the design.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from openfl.config.settings import setting

MAX_SEED = 2**63 - 1
MAX_PUBLISH_BYTES = 900_000
"""Largest gossip message: js-libp2p and py-libp2p drop a connection over larger frames."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_SCALE = re.compile(rf"({_NUMBER})-({_NUMBER})")


def _address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be an IP address such as 0.0.0.0 (all IPv4) or 127.0.0.1 (this machine only)"
    return None


def _multiaddr(text: str) -> str | None:
    parts = text.split("/")
    if parts[0] != "" or len(parts) < 3 or "" in parts[1:]:
        return "must be a multiaddr such as /ip4/192.0.2.7/tcp/4001"
    return None


def _peer_multiaddr(text: str) -> str | None:
    parts = text.split("/")
    if _multiaddr(text) is not None or len(parts) < 5 or parts[-2] not in ("p2p", "ipfs"):
        return (
            "must be a multiaddr ending in a peer id, such as /ip4/192.0.2.7/tcp/4001/p2p/12D3..."
        )
    return None


_PEER_ID = re.compile(r"12D3KooW[1-9A-HJ-NP-Za-km-z]{44}")


def _peer_id(text: str) -> str | None:
    return None if _PEER_ID.fullmatch(text) else "must be a peer id (12D3KooW...)"


def _group_name(text: str) -> str | None:
    if not text.strip() or text != text.strip():
        return "must not be empty or begin or end with a space"
    return None if len(text.encode()) <= 64 else "must be at most 64 bytes"


def _model_file(text: str) -> str | None:
    return None if text.endswith(".safetensors") else "must end in .safetensors"


def rating_bounds(scale: str) -> tuple[float, float] | None:
    """(lowest, highest) of a scale such as "0.5-5"; None for "auto" or when it is not a scale."""
    match = _SCALE.fullmatch(scale)
    return (float(match[1]), float(match[2])) if match else None


def _rating_scale(text: str) -> str | None:
    bounds = rating_bounds(text)
    if text != "auto" and (bounds is None or not bounds[0] < bounds[1]):
        return 'must be "auto" or LOWEST-HIGHEST such as "0.5-5"'
    return None


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Where this node listens, and how it finds and keeps its peers."""

    host: str = setting(
        "0.0.0.0",
        "Address to listen on. 127.0.0.1 keeps the node on this machine.",
        allowed="an IPv4 or IPv6 address",
        check_text=_address,
    )
    port: int = setting(
        0,
        "TCP port to listen on. 0 picks a free port at the first start and keeps it.",
        minimum=0,
        maximum=65535,
    )
    listen: tuple[str, ...] = setting(
        (),
        "Multiaddrs to listen on, instead of `host` and `port`.",
        allowed="multiaddrs, such as /ip4/0.0.0.0/tcp/4001",
        check_text=_multiaddr,
    )
    bootstrap: tuple[str, ...] = setting(
        (),
        "Nodes to join the network through. Any one running node is enough; the others are found"
        " from there, and remembered for the next start.",
        allowed="multiaddrs that end in /p2p/PEER_ID",
        check_text=_peer_multiaddr,
    )
    announce: tuple[str, ...] = setting(
        (),
        "Multiaddrs to tell others instead of the ones listened on, for a node behind a router"
        " that forwards a port.",
        allowed="multiaddrs",
        check_text=_multiaddr,
    )
    tls: bool = setting(
        True, "Also offer TLS beside Noise to secure connections. Noise is always offered."
    )
    max_peers: int = setting(
        64, "Most connections to keep open.", unit="peers", minimum=1, maximum=10_000
    )
    dial_members: int = setting(
        6,
        "How many members of the group to connect to before publishing. Must not exceed"
        " `max_peers`.",
        unit="peers",
        minimum=1,
        maximum=64,
    )
    reachability: Literal["auto", "public", "private"] = setting(  # type: ignore[assignment]
        "auto",
        "Whether others can dial this node. auto asks the peers it meets to try; private takes it"
        " that they cannot, and looks for a relay at once; public never uses one.",
        choices=("auto", "public", "private"),
    )
    relay: bool = setting(
        False,
        "Let nodes that cannot be dialled be reached through this one, which should be reachable"
        " itself. Bounded: 64 nodes, 128 connections of 256 MiB and 2 hours each.",
    )
    psk_file: str = setting(
        "",
        "Key file of a private network (make one with `openfl-node network-key`): only nodes that"
        " have it can connect. Readable by its owner only. Empty: an open network.",
        allowed="a path",
        path=True,
    )
    allow_peers: tuple[str, ...] = setting(
        (),
        "The only peers to have connections with. Empty: any.",
        allowed="peer ids",
        check_text=_peer_id,
    )
    deny_peers: tuple[str, ...] = setting(
        (),
        "Peers to have no connection with, whatever `allow_peers` says.",
        allowed="peer ids",
        check_text=_peer_id,
    )


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Which learning group to join."""

    name: str = setting(
        "music",
        "Name of the group to join. When the network knows none of that name whose data fits ours,"
        " this node founds it.",
        allowed="1 to 64 bytes",
        check_text=_group_name,
    )
    closed: bool = setting(
        False,
        "Found a group that only those whom this node invites can join (`openfl-node invite`). No"
        " open group is joined then.",
    )
    invitation_files: tuple[str, ...] = setting(
        (),
        "Invitations to closed groups, as their founders made them.",
        allowed="paths",
        path=True,
    )


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The private data of this node. It never leaves the node."""

    ratings_file: str = setting(
        "",
        "CSV file with the columns user_id, song_id and rating. More columns are ignored. When"
        ' `task.kind` is "implicit": user_id, song_id, and one of plays, count and rating, or none'
        ' of them when each row is a play. When it is "classification": a column with the label and'
        " columns of numbers. Empty: the one this node last ran with.",
        allowed="a path",
        path=True,
    )
    catalogue_file: str = setting(
        "",
        "CSV file with the columns song_id, title and artist, to show songs by name. Empty:"
        " songs.csv beside the ratings file, when there is one.",
        allowed="a path",
        path=True,
    )
    rating_scale: str = setting(
        "auto",
        'Lowest and highest possible rating, such as "0.5-5". "auto" detects it when a group is'
        " founded and takes the group's when one is joined.",
        allowed='"auto" or "LOWEST-HIGHEST"',
        check_text=_rating_scale,
    )
    min_strength: float = setting(
        1.0,
        "Implicit only: a song counts as played by a user from so many plays on, or, in a file of"
        " ratings, from such a rating on; then as one play. 4 takes only good ratings for likes.",
        unit="plays",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    label_column: str = setting(
        "label",
        "Classification only: the column with what is to be learned, any text.",
        allowed="the name of a column",
    )
    feature_columns: tuple[str, ...] = setting(
        (),
        "Classification only: the columns to learn from. Empty: all columns of numbers but the"
        " label. All members of a group have the same.",
        allowed="names of columns",
    )
    validation_fraction: float = setting(
        0.1,
        "Part of each user's ratings (or plays), or of the examples, held out to measure every"
        " round.",
        unit="fraction",
        minimum=0,
        maximum=0.5,
    )
    test_fraction: float = setting(
        0.1,
        "Part of each user's ratings (or plays), or of the examples, held out for the final"
        " comparison; no decision looks at it.",
        unit="fraction",
        minimum=0,
        maximum=0.5,
    )
    split_seed: int = setting(
        0, "Seed of the split into training and held-out ratings.", minimum=0, maximum=MAX_SEED
    )

    @property
    def rating_bounds(self) -> tuple[float, float] | None:
        """(lowest, highest) rating; None when it is to be detected."""
        return rating_bounds(self.rating_scale)


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """What is learned. Used when this node founds a group; the charter of a joined group wins."""

    kind: Literal["rating", "implicit", "classification"] = setting(  # type: ignore[assignment]
        "rating",
        "What the model predicts: the rating of a song, (implicit) which songs are played, from"
        " plays or likes, or (classification) the label of a row of numbers. A node joins only"
        " groups of its own kind.",
        choices=("rating", "implicit", "classification"),
    )
    factors: int = setting(
        0,
        "Length of the vectors of users and songs. 0 is the usual of the kind: 8 for rating, 16 for"
        " implicit.",
        unit="numbers",
        minimum=0,
        maximum=64,
    )
    alpha: float = setting(
        1.0,
        "Implicit only: how much more a play says than no play. A song played n times counts"
        " 1 + alpha * n, one that was not counts 1.",
        minimum=0.01,
        maximum=1_000,
    )
    plays_limit: float = setting(
        10.0,
        "Implicit only: plays of one song by one user beyond this say nothing more.",
        unit="plays",
        minimum=1,
        maximum=1_000,
    )
    damping: float = setting(
        0.0,
        "How far a round's steps are shortened, from 0.5. More is slower and calmer; below 1 steps"
        " may overshoot. 0 is the usual of the kind: 1 for rating, 1.5 for implicit.",
        minimum=0,
        maximum=100,
    )
    prior: float = setting(
        0.0,
        "How strongly vectors are held near zero, whatever the number of ratings. 0 is the usual of"
        " the kind: 7 for rating, 8 for implicit.",
        minimum=0,
        maximum=1e6,
    )
    prior_per_evidence: float = setting(
        0.05,
        "How strongly vectors are held near zero for each rating: 0.05 for dense data, 0.1 for"
        " sparse data.",
        minimum=0,
        maximum=1e3,
    )
    bias_prior: float = setting(
        5.0,
        "Rating only: how strongly the average of a song is held near the average of all: 5 for"
        " dense data, 3 for sparse data.",
        minimum=0,
        above_minimum=True,
        maximum=1e6,
    )
    weight_prior: float = setting(
        1.0,
        "Classification only: how strongly the weights of features are held near zero (the ridge on"
        " standardised features). Less for many examples, more for few.",
        minimum=1e-6,
        maximum=1e6,
    )
    encoding: Literal["int4", "int8", "float16", "float32"] = setting(  # type: ignore[assignment]
        "int8",
        "Rating and implicit: how songs' rows travel. int4 sends about two thirds of the bytes of"
        " int8 and is less exact; float16 and float32 send two and four times as many.",
        choices=("int4", "int8", "float16", "float32"),
    )
    seed: int = setting(
        0,
        "Seed of the values a song has before anyone rated it.",
        minimum=0,
        maximum=MAX_SEED,
    )


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """When and how long to train."""

    auto_start: bool = setting(
        True, "Train from the start. When false, the node only takes part and passes on."
    )
    rounds: int = setting(
        0,
        "Rounds to train. 0 goes on until the node is stopped.",
        unit="rounds",
        minimum=0,
        maximum=1_000_000_000,
    )
    interval_seconds: float = setting(
        2.0,
        "Time from the start of one round to the start of the next. Nodes never wait for each"
        " other.",
        unit="seconds",
        minimum=0.01,
        maximum=86_400,
    )
    wait_for_members: int = setting(
        1,
        "Start the first round only when so many members, this node included, are in the group.",
        unit="members",
        minimum=1,
        maximum=10_000,
    )
    when_done: Literal["exit", "serve"] = setting(  # type: ignore[assignment]
        "exit",
        "After the last round: exit, or stay in the group, pass on and answer.",
        choices=("exit", "serve"),
    )
    alone_rounds: int = setting(
        30,
        "Most rounds to train a second model on this node's data alone, to compare with. 0 leaves"
        " the comparison out.",
        unit="rounds",
        minimum=0,
        maximum=1_000,
    )
    min_row_evidence: int = setting(
        1,
        "Publish only songs with at least this many ratings on this node. 2 or 3 hide what a"
        " single listener rated.",
        unit="ratings",
        minimum=1,
        maximum=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class GossipConfig:
    """How contributions travel, and how much of others' is kept."""

    inline_limit_bytes: int = setting(
        65_536,
        "Contributions up to this size travel in the gossip message; larger ones are announced"
        " and fetched once.",
        unit="bytes",
        minimum=1_024,
        maximum=MAX_PUBLISH_BYTES,
    )
    heartbeat_seconds: float = setting(
        2.0,
        "Time between two heartbeats, by which members notice what they missed.",
        unit="seconds",
        minimum=0.1,
        maximum=3_600,
    )
    member_ttl_seconds: float = setting(
        604_800.0,
        "A member not heard of for this long is taken out of the model: a week, because people"
        " switch their machines off and come back. At least three times `heartbeat_seconds`.",
        unit="seconds",
        minimum=1,
        maximum=30 * 86_400,
    )
    row_fraction: float = setting(
        0.5,
        "Part of the songs sent each round: the ones that changed most.",
        unit="fraction",
        minimum=0,
        above_minimum=True,
        maximum=1,
    )
    refresh_fraction: float = setting(
        0.1,
        "Part of the songs sent each round because they were not sent for longest.",
        unit="fraction",
        minimum=0,
        maximum=1,
    )
    max_members: int = setting(
        4_096,
        "Most members whose contributions are kept. More are refused and counted.",
        unit="members",
        minimum=2,
        maximum=65_536,  # aggregation.fixed_point.MEMBER_CAP
    )
    max_rows: int = setting(
        2_000_000,
        "Most rows kept, over all members.",
        unit="rows",
        minimum=1_000,
        maximum=1_000_000_000,
    )
    max_bytes: int = setting(
        512 * 1024 * 1024,
        "Most memory for kept contributions.",
        unit="bytes",
        minimum=1024 * 1024,
        maximum=1 << 40,
    )


@dataclass(frozen=True, slots=True)
class AggregationConfig:
    """How members' contributions become one model, and who is left out of it. Each node decides
    this for itself."""

    rule: str = setting(
        "screened-mean",
        'The default is the precision-weighted mean without members that do harm. "mean" trusts'
        ' everybody, "average" weights by numbers of examples alone (federated averaging), the'
        " others are published rules: docs/robustness.md.",
        choices=(
            "screened-mean",
            "mean",
            "average",
            "median",
            "trimmed-mean",
            "centred-clip",
            "krum",
            "multi-krum",
        ),
    )
    norm_factor: float = setting(
        3.0,
        "screened-mean leaves out a member whose steps are so many times larger than the members'"
        " median.",
        minimum=1,
        above_minimum=True,
        maximum=1_000,
    )
    influence: bool = setting(
        True,
        "screened-mean also leaves out a member without which this node's own data would be"
        " predicted better.",
    )
    hostile_fraction: float = setting(
        0.2,
        "The part of the members that trimmed-mean, krum and multi-krum are to withstand.",
        unit="fraction",
        minimum=0,
        maximum=0.49,
    )


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """User-level differential privacy (extra `privacy`, rating only). What it covers and what it
    costs: docs/privacy.md."""

    enabled: bool = setting(
        False,
        "Teach the group only through a mechanism that hides whether any one user is on this node:"
        " every user's part is clipped and noise is added. Needs a catalogue and a fixed"
        " `data.rating_scale`.",
    )
    epsilon: float = setting(
        8.0,
        "The budget: at most this much is ever spent, over all runs and groups. Smaller is more"
        " private and less exact.",
        minimum=0,
        above_minimum=True,
        maximum=100,
    )
    delta: float = setting(
        1e-5,
        "How likely the promise of `epsilon` may fail. Well below one in the number of users.",
        minimum=0,
        above_minimum=True,
        maximum=0.01,
    )
    rounds: int = setting(
        8,
        "Over how many published rounds the budget is spread. When it is spent the node goes on"
        " without publishing.",
        unit="rounds",
        minimum=1,
        maximum=100_000,
    )
    noise_multiplier: float = setting(
        0.0,
        "Standard deviation of the noise, in clips. 0: as little as lets `rounds` rounds fit into"
        " `epsilon`.",
        minimum=0,
        maximum=1e6,
    )
    clip: float = setting(
        3.0,
        "The most that one user's ratings together may add to a round (L2 norm of the errors, on a"
        " scale 4.5 wide). Smaller is less noise, and less learned from users with many ratings.",
        minimum=0,
        above_minimum=True,
        maximum=1_000,
    )
    users: int = setting(
        50,
        "About how many users this node has, rounded: it sizes the steps, and everybody can read it"
        " from them.",
        unit="users",
        minimum=1,
        maximum=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class SwitchingConfig:
    """How a node finds the group that serves its data best, judged on its own held-out data."""

    auto: bool = setting(
        True,
        "Move to another group when its model predicts this node's held-out data better. A node"
        " that is pinned (`--pin`) stays where it is all the same.",
    )
    founding: bool = setting(
        True,
        "Found a new group when training alone is clearly better than the group.",
    )
    found_min_members: int = setting(
        6,
        "Members that a group must have before a node founds another.",
        unit="members",
        minimum=2,
        maximum=65_536,
    )
    look_probability: float = setting(
        0.5,
        "How likely a node looks at the other groups after a round.",
        unit="probability",
        minimum=0,
        maximum=1,
    )
    dwell_rounds: float = setting(
        2.0,
        "Rounds that a node stays after its first move before it may move again; each further move"
        " adds half of that, so that moving dies out.",
        unit="rounds",
        minimum=0,
        maximum=1_000,
    )
    max_candidates: int = setting(
        8,
        "Groups looked at together; the others have their turn later.",
        unit="groups",
        minimum=1,
        maximum=64,
    )
    bytes_per_group: int = setting(
        8 * 1024 * 1024,
        "Most that one look fetches of one group; a larger group is not judged.",
        unit="bytes",
        minimum=64 * 1024,
        maximum=1 << 30,
    )
    bytes_per_minute: int = setting(
        16 * 1024 * 1024,
        "What all looks together may fetch in the long run. Of a group looked at before only what"
        " is new is fetched.",
        unit="bytes",
        minimum=64 * 1024,
        maximum=1 << 34,
    )


@dataclass(frozen=True, slots=True)
class RecommendConfig:
    """Recommendations at the end of training."""

    auto: bool = setting(True, "Print recommendations when the last round is done.")
    user: str = setting(
        "", "User to recommend for. Empty: the user with most ratings on this node."
    )
    count: int = setting(5, "How many songs to recommend.", unit="songs", minimum=1, maximum=1_000)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The model file written after training."""

    file: str = setting(
        "model.safetensors",
        "Where to save the model. A relative path is taken from the home folder.",
        allowed="a path that ends in .safetensors",
        check_text=_model_file,
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is written when there is no live view, and into node.log."""

    level: Literal["debug", "info", "warning", "error"] = setting(  # type: ignore[assignment]
        "info", "Least important lines to write.", choices=("debug", "info", "warning", "error")
    )
    format: Literal["text", "json"] = setting(  # type: ignore[assignment]
        "text",
        "text for people, json for programs (one object a line).",
        choices=("text", "json"),
    )


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """The live view in the terminal."""

    enabled: bool = setting(True, "Show the live view when standard output is a terminal.")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from. `where`: the file or the variable; empty for the other kinds."""

    kind: Literal["default", "file", "environment", "command line"] = "default"
    where: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class Config:
    """The effective configuration. `Config()` is all defaults.

    `provenance` maps every key ("section.key") that is not at its default's origin to where it was
    set; use `origin`. It takes no part in equality.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    group: GroupConfig = field(default_factory=GroupConfig)
    data: DataConfig = field(default_factory=DataConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    gossip: GossipConfig = field(default_factory=GossipConfig)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    switching: SwitchingConfig = field(default_factory=SwitchingConfig)
    recommend: RecommendConfig = field(default_factory=RecommendConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    log: LogConfig = field(default_factory=LogConfig)
    view: ViewConfig = field(default_factory=ViewConfig)
    provenance: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)

    def origin(self, key: str) -> Origin:
        """Where the value of "section.key" comes from."""
        return self.provenance.get(key, Origin())
