"""Invitations: a founder's signed word that a peer may be a member of its closed group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from openfl.core.contribution import GroupId, PeerId
from openfl.wire import cbor
from openfl.wire.limits import LIMITS
from openfl.wire.peer_ids import peer_id_from_bytes, peer_id_to_bytes
from openfl.wire.schema import (
    GroupBytes,
    PeerBytes,
    Uint,
    convert,
    group_from_bytes,
    group_to_bytes,
)

InvitationEnvelope = Annotated[
    bytes, msgspec.Meta(min_length=1, max_length=LIMITS.max_invitation_bytes)
]


@dataclass(frozen=True, slots=True)
class Invitation:
    """`guest` may be a member of the group until `expires_at` (unix seconds). Only the founder's
    signature makes it one: see `openfl.group.admission`."""

    group_id: GroupId
    guest: PeerId
    issued_at: int
    expires_at: int


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    group: GroupBytes
    guest: PeerBytes
    issued_at: Uint
    expires_at: Uint


def encode_invitation(invitation: Invitation) -> bytes:
    """The body to be signed as `INVITATION_TYPE` by the group's founder."""
    return cbor.encode(
        {
            "group": group_to_bytes(invitation.group_id),
            "guest": peer_id_to_bytes(invitation.guest),
            "issued_at": invitation.issued_at,
            "expires_at": invitation.expires_at,
        }
    )


def decode_invitation(body: bytes) -> Invitation:
    """DecodeError for anything but the body of an invitation."""
    message = convert(cbor.decode(body, LIMITS.max_invitation_bytes), _Body)
    return Invitation(
        group_from_bytes(message.group),
        peer_id_from_bytes(message.guest),
        message.issued_at,
        message.expires_at,
    )
