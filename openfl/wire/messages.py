"""Every message of the protocol, in one import.

Three layers: *bodies* are what members sign; *gossip* is what travels on topics; *exchange* is
requests and answers on streams. Each `decode_*` gives a typed, bounded, frozen value or raises
DecodeError, for any bytes. docs/protocol.md has the same in CDDL.
"""

from __future__ import annotations

from openfl.aggregation.delta import Delta, Leave
from openfl.wire.bodies import (
    decode_card,
    decode_delta,
    decode_leave,
    delta_digest,
    encode_card,
    encode_delta,
    encode_leave,
)
from openfl.wire.charters import UnclearName, UnknownVersion, charter_from_plain, charter_problem
from openfl.wire.exchange import (
    AnswerItem,
    CardsAnswer,
    ItemsAnswer,
    PullRequest,
    Refusal,
    SnapshotRequest,
    decode_cards_answer,
    decode_groups_request,
    decode_items_answer,
    decode_pull_request,
    decode_snapshot_request,
    encode_answer,
    encode_groups_request,
    encode_pull_request,
    encode_snapshot_request,
)
from openfl.wire.gossip import (
    GONE,
    Announce,
    GossipPayload,
    HeardVersion,
    Heartbeat,
    InlineDelta,
    LeaveNotice,
    decode_directory,
    decode_gossip,
    encode_directory,
    encode_gossip,
)
from openfl.wire.invitations import Invitation, decode_invitation, encode_invitation
from openfl.wire.limits import LIMITS, Limits
from openfl.wire.names import (
    CARD_TYPE,
    DELTA_TYPE,
    DIRECTORY_TOPIC,
    GROUPS_PROTOCOL,
    INVITATION_TYPE,
    LEAVE_TYPE,
    PULL_PROTOCOL,
    SNAPSHOT_PROTOCOL,
    SUMMARY_PROTOCOL,
    deltas_topic,
)
from openfl.wire.peer_ids import peer_id_from_bytes, peer_id_to_bytes
from openfl.wire.schema import age_to_wire
from openfl.wire.summaries import (
    SummaryAnswer,
    SummaryRequest,
    decode_summary_answer,
    decode_summary_request,
    encode_summary_answer,
    encode_summary_request,
)

__all__ = [
    "CARD_TYPE",
    "DELTA_TYPE",
    "DIRECTORY_TOPIC",
    "GONE",
    "GROUPS_PROTOCOL",
    "INVITATION_TYPE",
    "LEAVE_TYPE",
    "LIMITS",
    "PULL_PROTOCOL",
    "SNAPSHOT_PROTOCOL",
    "SUMMARY_PROTOCOL",
    "Announce",
    "AnswerItem",
    "CardsAnswer",
    "Delta",
    "GossipPayload",
    "HeardVersion",
    "Heartbeat",
    "InlineDelta",
    "Invitation",
    "ItemsAnswer",
    "Leave",
    "LeaveNotice",
    "Limits",
    "PullRequest",
    "Refusal",
    "SnapshotRequest",
    "SummaryAnswer",
    "SummaryRequest",
    "UnclearName",
    "UnknownVersion",
    "age_to_wire",
    "charter_from_plain",
    "charter_problem",
    "decode_card",
    "decode_cards_answer",
    "decode_delta",
    "decode_directory",
    "decode_gossip",
    "decode_groups_request",
    "decode_invitation",
    "decode_items_answer",
    "decode_leave",
    "decode_pull_request",
    "decode_snapshot_request",
    "decode_summary_answer",
    "decode_summary_request",
    "delta_digest",
    "deltas_topic",
    "encode_answer",
    "encode_card",
    "encode_delta",
    "encode_directory",
    "encode_gossip",
    "encode_groups_request",
    "encode_invitation",
    "encode_leave",
    "encode_pull_request",
    "encode_snapshot_request",
    "encode_summary_answer",
    "encode_summary_request",
    "peer_id_from_bytes",
    "peer_id_to_bytes",
]
