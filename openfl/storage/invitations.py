"""Invitations as files: one line of text, to be mailed to whoever is invited.

openfl-invitation-1 <the signed envelope in base64>
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import DecodeError, GroupError, StateError
from openfl.core.files import open_named
from openfl.network.base import Sealer
from openfl.wire import messages as wire

DAY_SECONDS = 24 * 3600
_WORD = "openfl-invitation-1"
_MAX_FILE_BYTES = 4096


def invite(
    charter: Charter, sealer: Sealer, guest: PeerId, unix_now: float, days: float
) -> tuple[str, wire.Invitation]:
    """(the text of an invitation of `guest`, what it says), signed as the founder.

    GroupError when the group is open, or another's; DecodeError when `guest` is no peer id.
    """
    if charter.founder is None:
        raise GroupError(
            f"group {charter.name} is open: nobody needs an invitation"
            " (a closed group is founded with: openfl-node start --closed)"
        )
    if charter.founder != sealer.peer_id:
        raise GroupError(f"only its founder {charter.founder} can invite to group {charter.name}")
    wire.peer_id_to_bytes(guest)
    issued = int(unix_now)
    invitation = wire.Invitation(charter.group_id, guest, issued, issued + int(days * DAY_SECONDS))
    envelope = sealer.seal(wire.INVITATION_TYPE, wire.encode_invitation(invitation))
    return f"{_WORD} {base64.b64encode(envelope).decode()}\n", invitation


def load_invitation(path: Path) -> bytes:
    """The signed envelope in a file; StateError when there is none. Not yet verified."""
    try:
        with open_named(path) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StateError(f"invitation {path}: {error.strerror or error}") from error
    word, _, encoded = data.decode("ascii", errors="replace").strip().partition(" ")
    try:
        envelope = base64.b64decode(encoded.strip(), validate=True)
        if word != _WORD or not 0 < len(envelope) <= wire.LIMITS.max_invitation_bytes:
            raise DecodeError("not an invitation")
    except (binascii.Error, ValueError, DecodeError) as error:
        raise StateError(
            f"invitation {path} is not an invitation: one line that begins with {_WORD}"
        ) from error
    return envelope
