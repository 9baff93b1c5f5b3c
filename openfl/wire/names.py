"""The names both sides must agree on: topics, stream protocols, envelope types, DHT keys."""

from __future__ import annotations

import hashlib

from openfl.contribution import PROTOCOL_VERSION, GroupId

DELTA_TYPE = b"/openfl/delta/1"
LEAVE_TYPE = b"/openfl/leave/1"
CARD_TYPE = b"/openfl/card/1"
"""Payload types of signed envelopes: one type's signature is void for another."""

SNAPSHOT_PROTOCOL = "/openfl/snapshot/1"
PULL_PROTOCOL = "/openfl/pull/1"
GROUPS_PROTOCOL = "/openfl/groups/1"

DIRECTORY_TOPIC = f"/openfl/{PROTOCOL_VERSION}/directory"
PROVIDER_BUCKET_SECONDS = 3600


def deltas_topic(group_id: GroupId) -> str:
    """Where members of the group gossip."""
    return f"/openfl/{PROTOCOL_VERSION}/{group_id}/deltas"


def provider_key(group_id: GroupId, unix_seconds: float) -> bytes:
    """The DHT key that members provide during this hour. Provider records cannot be withdrawn: the
    hour lets a leaver fade. Look up this hour's and the last one's."""
    bucket = int(unix_seconds // PROVIDER_BUCKET_SECONDS)
    name = f"/openfl/{PROTOCOL_VERSION}/group/{group_id}/{bucket}"
    return hashlib.sha256(name.encode()).digest()


def network_key() -> bytes:
    """The DHT key that every node provides, so that one can be found knowing nothing else."""
    return hashlib.sha256(f"/openfl/{PROTOCOL_VERSION}/network".encode()).digest()
