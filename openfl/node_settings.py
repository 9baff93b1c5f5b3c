"""From the configuration to what a node and its sessions are told."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from openfl.aggregation.replica import ReplicaLimits
from openfl.aggregation.robust_view import Rule
from openfl.config import Config
from openfl.group.screening import AggregationSettings
from openfl.group.selection import SelectionSettings
from openfl.group.settings import SessionSettings
from openfl.names import normal
from openfl.node_parts import NodeSettings
from openfl.scout import ScoutSettings


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
        tells_fit=not private,
        limits=ReplicaLimits(
            max_members=gossip.max_members,
            max_rows=gossip.max_rows,
            max_bytes=gossip.max_bytes,
            member_ttl_seconds=gossip.member_ttl_seconds,
        ),
        aggregation=AggregationSettings(
            rule=cast(Rule, aggregation.rule),
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
        scout=ScoutSettings(switching.bytes_per_group, switching.bytes_per_minute),
        any_group=config.origin("group.name").kind == "default",
        pin=pin,
        bootstrap_seconds=config.network.bootstrap_timeout_seconds,
    )
