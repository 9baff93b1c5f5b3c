"""The identity of a home folder, as a peer id."""

from __future__ import annotations

from pathlib import Path

from openfl.network.libp2p.envelope import load_or_create_identity, peer_id_of
from openfl.storage.home import Home


def load_or_create(home: Path) -> str:
    """The peer id of `home`, with an identity made when there is none; or StateError."""
    place = Home(home)
    place.prepare()
    return str(peer_id_of(load_or_create_identity(place.identity_file)))


def load(home: Path) -> str | None:
    """The peer id of `home`; None when nothing was made there yet."""
    file = Home(home).identity_file
    return str(peer_id_of(load_or_create_identity(file))) if file.exists() else None
