"""From the configuration to what a node and its sessions are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from openfl.aggregation.replica import ReplicaLimits
from openfl.config import Config
from openfl.core.names import normal
from openfl.group.screening import AggregationSettings
from openfl.group.settings import SessionSettings
from openfl.switching.look import LookSettings
from openfl.switching.policy import SelectionSettings


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node needs to know beside its parts. alone_rounds: 0 leaves the comparison out (and
    the node then never founds a group by itself). any_group: the owner named none, so a new node
    begins in the largest that fits. pin: whether the node is to stay in its group from now on;
    None leaves that as it was saved. closed: found a group for those invited only; invitations:
    envelopes of those this node has. bootstrap_seconds: the node gives up when no bootstrap node
    has answered by then; 0: it waits as long as it takes. tell_labels: whether others are told
    what the items of own data are called."""

    group_name: str
    home: str
    session: SessionSettings
    alone_rounds: int = 30
    closed: bool = False
    invitations: tuple[bytes, ...] = ()
    selection: SelectionSettings = field(default_factory=lambda: SelectionSettings(enabled=False))
    look: LookSettings = field(default_factory=LookSettings)
    any_group: bool = False
    pin: bool | None = None
    bootstrap_seconds: float = 0.0
    tell_labels: bool = True


def session_settings(config: Config) -> SessionSettings:
    """The part of the configuration that a session needs."""
    gossip, training, aggregation = config.gossip, config.training, config.aggregation
    # What depends on own data must not leave but through the mechanism: no fit, no opinions of
    # members judged by own data (which would also shape what is published), and all rows that were
    # paid for.
    private = config.privacy.enabled
    return SessionSettings(
        auto_start=training.auto_start,
        rounds=training.rounds,
        interval_seconds=training.interval_seconds,
        wait_for_members=training.wait_for_members,
        heartbeat_seconds=gossip.heartbeat_seconds,
        inline_limit_bytes=gossip.inline_limit_bytes,
        row_fraction=1.0 if private else gossip.row_fraction,
        refresh_fraction=gossip.refresh_fraction,
        # A round that is not published would have spent of the budget all the same.
        target_publishers=0 if private else gossip.target_publishers,
        tells_fit=not private,
        limits=ReplicaLimits(
            max_members=gossip.max_members,
            max_rows=gossip.max_rows,
            max_bytes=gossip.max_bytes,
            member_ttl_seconds=gossip.member_ttl_seconds,
        ),
        aggregation=AggregationSettings(
            rule=aggregation.rule,
            norm_factor=aggregation.norm_factor,
            influence=aggregation.influence and not private,
            hostile_fraction=aggregation.hostile_fraction,
        ),
    )


def node_settings(
    config: Config, home: Path, pin: bool | None = None, invitations: tuple[bytes, ...] = ()
) -> NodeSettings:
    """What a node needs of the configuration beside its parts."""
    switching = config.switching
    return NodeSettings(
        normal(config.group.name),
        str(home),
        session_settings(config),
        config.training.alone_rounds,
        closed=config.group.closed,
        invitations=invitations,
        selection=SelectionSettings(
            # Which group a node is in would tell of its data, beside what the budget covers.
            enabled=switching.auto and not config.privacy.enabled,
            founding=switching.founding,
            found_min_members=switching.found_min_members,
            look_probability=switching.look_probability,
            dwell_rounds=switching.dwell_rounds,
            max_candidates=switching.max_candidates,
        ),
        look=LookSettings(switching.bytes_per_group, switching.bytes_per_minute),
        any_group=config.origin("group.name").kind == "default",
        pin=pin,
        bootstrap_seconds=config.network.bootstrap_timeout_seconds,
        tell_labels=config.privacy.tell_labels,
    )
