"""The names both sides must agree on: topics, stream protocols, envelope types, keys of the DHT."""

from __future__ import annotations

import hashlib

from openfl.core.contribution import PROTOCOL_VERSION, GroupId

DELTA_TYPE = b"/openfl/delta/1"
LEAVE_TYPE = b"/openfl/leave/1"
CARD_TYPE = b"/openfl/card/1"
INVITATION_TYPE = b"/openfl/invitation/1"
"""Payload types of signed envelopes: one type's signature is void for another."""

SNAPSHOT_PROTOCOL = "/openfl/snapshot/1"
SUMMARY_PROTOCOL = "/openfl/summary/1"
PULL_PROTOCOL = "/openfl/pull/1"
GROUPS_PROTOCOL = "/openfl/groups/1"
PEERS_PROTOCOL = "/openfl/peers/1"
LABELS_PROTOCOL = "/openfl/labels/1"

DIRECTORY_TOPIC = f"/openfl/{PROTOCOL_VERSION}/directory"


def deltas_topic(group_id: GroupId) -> str:
    """Where members of the group gossip."""
    return f"/openfl/{PROTOCOL_VERSION}/{group_id}/deltas"


KEY_SECONDS = 3600
"""How long a group is provided under one key of the DHT."""


def group_key(group_id: GroupId, unix_time: float) -> bytes:
    """The DHT key (32 bytes) of a group's members in the hour of `unix_time`."""
    hour = int(unix_time // KEY_SECONDS)
    return hashlib.sha256(f"/openfl/{PROTOCOL_VERSION}/group/{group_id}/{hour}".encode()).digest()


NETWORK_KEY = hashlib.sha256(f"/openfl/{PROTOCOL_VERSION}/network".encode()).digest()
"""The DHT key that every node provides."""
