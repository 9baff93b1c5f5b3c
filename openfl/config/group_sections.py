"""Settings of the group: which one to be in, and who counts in it."""

from __future__ import annotations

from dataclasses import dataclass

from openfl.config.settings import setting
from openfl.config.text_checks import group_name_problem
from openfl.core.rule_names import RULE_NAMES


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """Which learning group to join."""

    name: str = setting(
        "music",
        "Name of the group to join. When the network knows none of that name whose data fits ours,"
        " this node founds it.",
        allowed="1 to 64 bytes, nothing unseen in it",
        check_text=group_name_problem,
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
class AggregationConfig:
    """How members' contributions become one model, and who is left out of it. Each node decides
    this for itself."""

    rule: str = setting(
        "screened-mean",
        'The default is the precision-weighted mean without members that do harm. "mean" trusts'
        ' everybody, "average" weights by numbers of examples alone (federated averaging), the'
        " others are published rules: docs/robustness.md.",
        choices=RULE_NAMES,
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
class SwitchingConfig:
    """How a node finds the group that serves its data best, judged on its own data."""

    auto: bool = setting(
        True,
        "Move to another group when its model predicts this node's data better. A node"
        " that is pinned (`--pin`) stays where it is all the same.",
    )
    founding: bool = setting(
        True,
        "Found a new group when many members do harm here and the others are better without them.",
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
