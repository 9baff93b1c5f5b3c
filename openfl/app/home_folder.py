"""A home folder as one sees it who runs no node there: whose it is, and what is made by hand.

Importing this is quick: what needs NumPy or libp2p is imported where it is used.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.core.errors import DecodeError, GroupError, StateError, UsageError
from openfl.core.files import open_own
from openfl.storage.home import Home
from openfl.storage.moved import require_not_moved

if TYPE_CHECKING:
    from openfl.core.contribution import PeerId

__all__ = [
    "Home",
    "Invited",
    "invite",
    "is_locked",
    "make_peer_id",
    "peer_id",
    "require_not_moved",
    "write_network_key",
]


def is_locked(home: Path) -> bool:
    """Whether a node still holds the home folder; it lets go last of all. StateError when that
    cannot be told: the lock is no file of ours."""
    try:
        lock = open_own(Home(home).lock_file)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StateError(f"{Home(home).lock_file}: {error.strerror or error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def make_peer_id(home: Path) -> PeerId:
    """The peer id of `home`; folder and identity are made when there are none. StateError when
    they cannot be, or are not ours."""
    from openfl.network.libp2p.envelope import load_or_create_identity, peer_id_of

    folder = Home(home)
    folder.prepare()
    return peer_id_of(load_or_create_identity(folder.identity_file))


def peer_id(home: Path) -> PeerId | None:
    """The peer id of `home`; None when no identity was made there yet. StateError when it cannot
    be read."""
    from openfl.network.libp2p.envelope import load_or_create_identity, peer_id_of

    file = Home(home).identity_file
    return peer_id_of(load_or_create_identity(file)) if file.exists() else None


@dataclass(frozen=True, slots=True)
class Invited:
    """`text`: the invitation, one line to be sent to `guest`. `expires_at`: unix seconds."""

    text: str
    guest: PeerId
    group_name: str
    expires_at: int


def invite(home: Path, guest: str, unix_now: float, days: float) -> Invited:
    """An invitation of a peer to the closed group that the node of `home` founded.

    GroupError when that node is in no group, in an open one, or in one that another founded;
    UsageError when `guest` is no peer id.
    """
    from openfl.core.contribution import PeerId
    from openfl.network.libp2p.envelope import Libp2pSealer, load_or_create_identity
    from openfl.storage.invitations import invite as signed_invitation
    from openfl.storage.last_run import current_charter

    folder = Home(home)
    charter = current_charter(folder)
    if charter is None or not folder.identity_file.exists():
        raise GroupError(f"the node in {folder.root} is in no group yet: start it with --closed")
    sealer = Libp2pSealer(load_or_create_identity(folder.identity_file))
    try:
        text, invitation = signed_invitation(charter, sealer, PeerId(guest), unix_now, days)
    except DecodeError as error:
        raise UsageError(f"{guest!r} is not a peer id (12D3KooW...)") from error
    return Invited(text, PeerId(guest), charter.name, invitation.expires_at)


def write_network_key(path: Path) -> None:
    """Make the key of a private network, readable by its owner only. StateError when `path` is
    there already or cannot be written."""
    from openfl.network.libp2p.private_network import generate_network_key

    try:
        # Never over an existing key: nodes that have a copy of it would be locked out.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(generate_network_key())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise StateError(f"{path} exists already; remove it first if no node uses it") from None
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {error.strerror or error}") from error
