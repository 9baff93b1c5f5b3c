"""Identities and signed envelopes: who a node is, and what makes its deltas self-certifying.

An identity is an Ed25519 private key in libp2p's protobuf form; the peer id follows from its public
key. An envelope is libp2p RFC 0002 (`libp2p.peer.envelope`): the signer's public key, a payload
type, the payload and a signature over all of them within a domain, so that a signature made here
is worth nothing in another protocol, and one payload type cannot pass as another.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from shlex import quote
from typing import Any

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair, KeyType
from libp2p.crypto.serialization import deserialize_private_key
from libp2p.peer.envelope import Envelope, make_unsigned, unmarshal_envelope
from libp2p.peer.id import ID

from openfl.core.contribution import PeerId
from openfl.core.errors import InvalidSignature, StateError
from openfl.core.files import open_own

DOMAIN = "openfl"
"""Separates these signatures from those of every other use of the same key."""
MAX_ENVELOPE_BYTES = 8 * 1024 * 1024
"""Larger envelopes are refused before they are parsed."""
MAX_PAYLOAD_TYPE_BYTES = 64
_SIGNATURE_BYTES = 64
_MAX_IDENTITY_FILE_BYTES = 4096


class Libp2pSealer:
    """Implements `openfl.network.base.Sealer` with the node's own identity."""

    def __init__(self, private_key_bytes: bytes) -> None:
        """`private_key_bytes` as from `generate_identity`; StateError when they are no such key."""
        self._key = key_pair_of(private_key_bytes)
        self._peer_id = PeerId(str(ID.from_pubkey(self._key.public_key)))

    @property
    def peer_id(self) -> PeerId:
        """Whose signature it is."""
        return self._peer_id

    def seal(self, payload_type: bytes, payload: bytes) -> bytes:
        """A signed envelope over `payload`. ValueError when it would exceed the size bounds."""
        if not 0 < len(payload_type) <= MAX_PAYLOAD_TYPE_BYTES:
            raise ValueError(f"a payload type has 1 to {MAX_PAYLOAD_TYPE_BYTES} bytes")
        signature = self._key.private_key.sign(make_unsigned(DOMAIN, payload_type, payload))
        sealed: bytes = Envelope(
            self._key.public_key, payload_type, payload, signature
        ).marshal_envelope()
        if len(sealed) > MAX_ENVELOPE_BYTES:
            raise ValueError(f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes")
        return sealed

    def open(self, payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
        """(author, payload). InvalidSignature for anything but a valid envelope of that type."""
        return open_envelope(payload_type, envelope)


def open_envelope(payload_type: bytes, envelope: bytes) -> tuple[PeerId, bytes]:
    """Verify without an identity of one's own: (author, payload), or InvalidSignature."""
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise InvalidSignature(f"envelope of {len(envelope)} bytes exceeds {MAX_ENVELOPE_BYTES}")
    try:
        parsed = unmarshal_envelope(envelope)
        if parsed.public_key.get_type() != KeyType.Ed25519:
            raise InvalidSignature("envelope signed with a key that is not Ed25519")
        # One envelope has one encoding: otherwise a relay could vary unsigned bytes (unknown
        # fields, repeated fields) and make one delta look like many to whoever compares digests.
        if parsed.marshal_envelope() != envelope:
            raise InvalidSignature("envelope is not in canonical form")
        if parsed.payload_type != payload_type:
            raise InvalidSignature(f"envelope holds {parsed.payload_type!r}, not {payload_type!r}")
        if len(parsed.signature) != _SIGNATURE_BYTES:
            raise InvalidSignature("envelope without a signature of 64 bytes")
        parsed.validate(DOMAIN)
        author = PeerId(str(ID.from_pubkey(parsed.public_key)))
    except InvalidSignature:
        raise
    except Exception as error:  # protobuf, nacl and libp2p each raise their own kinds
        raise InvalidSignature(f"malformed envelope: {error}") from error
    payload: bytes = parsed.raw_payload
    return author, payload


def generate_identity() -> bytes:
    """A new Ed25519 private key, protobuf-encoded as libp2p does."""
    encoded: bytes = create_new_key_pair().private_key.serialize()
    return encoded


def identity_from_seed(seed: bytes) -> bytes:
    """The Ed25519 private key that follows from 32 secret bytes, encoded alike: for simulations."""
    encoded: bytes = create_new_key_pair(seed).private_key.serialize()
    return encoded


def key_pair_of(private_key_bytes: bytes) -> KeyPair:
    """libp2p's key pair for an identity; StateError when the bytes are not an Ed25519 key."""
    try:
        private_key: Any = deserialize_private_key(private_key_bytes)
        if private_key.get_type() != KeyType.Ed25519:
            raise StateError("the identity is not an Ed25519 key")
        return KeyPair(private_key, private_key.get_public_key())
    except StateError:
        raise
    except Exception as error:  # protobuf, nacl and libp2p each raise their own kinds
        raise StateError(f"the identity is not a libp2p private key: {error}") from error


def peer_id_of(private_key_bytes: bytes) -> PeerId:
    """The peer id that belongs to an identity; StateError when the bytes are not one."""
    return PeerId(str(ID.from_pubkey(key_pair_of(private_key_bytes).public_key)))


def load_or_create_identity(path: Path) -> bytes:
    """The identity in `path`, made (mode 0600) when the file does not exist.

    StateError when the file cannot be read or written, holds no Ed25519 key, or can be read by
    others than its owner. Two processes that start at once agree on one identity: the file appears
    complete or not at all, and the one that comes second reads what the first wrote.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            _create_exclusively(path, generate_identity())
        return _load(path)
    except OSError as error:
        raise StateError(f"identity {path}: {error.strerror or error}") from error


def _load(path: Path) -> bytes:
    with os.fdopen(open_own(path), "rb") as file:
        status = os.fstat(file.fileno())
        if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
            raise StateError(
                f"identity {path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o});"
                f" run: chmod 600 {quote(str(path))}"
            )
        data = file.read(_MAX_IDENTITY_FILE_BYTES + 1)
    try:
        key_pair_of(data)
    except StateError as error:
        raise StateError(
            f"identity {path} is corrupted ({error}); restore it from a backup, "
            "or delete it to become a new peer"
        ) from error
    return data


def _create_exclusively(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # link, unlike rename, never replaces an identity that another process made meanwhile.
        with contextlib.suppress(FileExistsError):
            try:
                os.link(temporary, path)
            except (PermissionError, NotImplementedError):  # a file system without hard links
                os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
