"""The names both sides must agree on: topics, stream protocols, envelope types.

DHT keys are the business of `openfl.network.discovery`.
"""

from __future__ import annotations

from openfl.contribution import PROTOCOL_VERSION, GroupId

DELTA_TYPE = b"/openfl/delta/1"
LEAVE_TYPE = b"/openfl/leave/1"
CARD_TYPE = b"/openfl/card/1"
INVITATION_TYPE = b"/openfl/invitation/1"
"""Payload types of signed envelopes: one type's signature is void for another."""

SNAPSHOT_PROTOCOL = "/openfl/snapshot/1"
PULL_PROTOCOL = "/openfl/pull/1"
GROUPS_PROTOCOL = "/openfl/groups/1"

DIRECTORY_TOPIC = f"/openfl/{PROTOCOL_VERSION}/directory"


def deltas_topic(group_id: GroupId) -> str:
    """Where members of the group gossip."""
    return f"/openfl/{PROTOCOL_VERSION}/{group_id}/deltas"
