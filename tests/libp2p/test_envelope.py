"""Identities and signed envelopes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.rsa import create_new_key_pair as create_new_rsa_key_pair
from libp2p.crypto.secp256k1 import create_new_key_pair as create_new_secp256k1_key_pair
from libp2p.peer.envelope import Envelope, make_unsigned

from openfl.core.errors import InvalidSignature, StateError
from openfl.network.libp2p import envelope
from openfl.network.libp2p.envelope import (
    Libp2pSealer,
    generate_identity,
    load_or_create_identity,
    open_envelope,
    peer_id_of,
)

KIND = b"openfl/delta/1"
IDENTITY = create_new_key_pair(b"seed" * 8).private_key.serialize()
SEALED = Libp2pSealer(IDENTITY).seal(KIND, b"payload")


def test_anyone_can_open_what_was_sealed_and_sees_who_sealed_it() -> None:
    author, payload = Libp2pSealer(generate_identity()).open(KIND, SEALED)
    assert author == peer_id_of(IDENTITY) == Libp2pSealer(IDENTITY).peer_id
    assert author.startswith("12D3KooW")
    assert payload == b"payload"


def test_sealing_is_deterministic() -> None:
    assert Libp2pSealer(IDENTITY).seal(KIND, b"payload") == SEALED


def test_another_kind_of_payload_is_refused() -> None:
    with pytest.raises(InvalidSignature, match="not b'another'"):
        open_envelope(b"another", SEALED)


@pytest.mark.parametrize("position", range(0, len(SEALED), 3))
def test_a_changed_byte_anywhere_is_noticed(position: int) -> None:
    changed = bytearray(SEALED)
    changed[position] ^= 0x01
    with pytest.raises(InvalidSignature):
        open_envelope(KIND, bytes(changed))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", SEALED[:-1], SEALED + b"\x00", SEALED + SEALED, SEALED + b"\x7a\x01x"],
    ids=["empty", "junk", "cut", "trailing", "twice", "unknown-field"],
)
def test_bytes_that_are_no_single_canonical_envelope_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidSignature):
        open_envelope(KIND, data)


def test_a_signature_for_another_domain_is_worth_nothing() -> None:
    keys = create_new_key_pair()
    signature = keys.private_key.sign(make_unsigned("libp2p-peer-record", KIND, b"payload"))
    forged = Envelope(keys.public_key, KIND, b"payload", signature).marshal_envelope()
    with pytest.raises(InvalidSignature, match="signature"):
        open_envelope(KIND, forged)


@pytest.mark.parametrize(
    "keys",
    [create_new_secp256k1_key_pair(), create_new_rsa_key_pair(2048)],
    ids=["secp256k1", "rsa"],
)
def test_other_keys_than_ed25519_are_refused(keys: object) -> None:
    unsigned = make_unsigned(envelope.DOMAIN, KIND, b"payload")
    signature = keys.private_key.sign(unsigned)  # type: ignore[attr-defined]
    public_key = keys.public_key  # type: ignore[attr-defined]
    sealed = Envelope(public_key, KIND, b"payload", signature).marshal_envelope()
    with pytest.raises(InvalidSignature, match="not Ed25519"):
        open_envelope(KIND, sealed)


def test_the_size_of_envelopes_is_bounded_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer = Libp2pSealer(IDENTITY)
    large = sealer.seal(KIND, bytes(1000))
    monkeypatch.setattr(envelope, "MAX_ENVELOPE_BYTES", len(large))
    assert sealer.open(KIND, large) == (sealer.peer_id, bytes(1000))
    monkeypatch.setattr(envelope, "MAX_ENVELOPE_BYTES", len(large) - 1)
    with pytest.raises(InvalidSignature, match="exceeds"):
        sealer.open(KIND, large)
    with pytest.raises(ValueError, match="at most"):
        sealer.seal(KIND, bytes(1000))
    with pytest.raises(ValueError, match="payload type"):
        sealer.seal(b"", b"")


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_invalid_signature(data: bytes) -> None:
    with pytest.raises(InvalidSignature):
        open_envelope(KIND, data)


@given(st.integers(0, len(SEALED)), st.binary(max_size=8), st.integers(0, 8))
def test_any_edit_of_an_envelope_is_refused(at: int, insert: bytes, drop: int) -> None:
    edited = SEALED[:at] + insert + SEALED[at + drop :]
    if edited != SEALED:
        with pytest.raises(InvalidSignature):
            open_envelope(KIND, edited)


# The identity file


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    first = load_or_create_identity(path)
    assert load_or_create_identity(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["identity.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_an_identity_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    load_or_create_identity(path)
    path.chmod(mode)
    with pytest.raises(StateError, match=f"chmod 600 {path}"):
        load_or_create_identity(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        IDENTITY[:-1],
        IDENTITY + bytes(5000),
        create_new_secp256k1_key_pair().private_key.serialize(),
    ],
    ids=["empty", "junk", "cut", "large", "secp256k1"],
)
def test_a_corrupted_identity_is_said_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StateError, match="corrupted"):
        load_or_create_identity(path)
    assert path.read_bytes() == content


def test_an_identity_made_by_another_process_meanwhile_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "identity.key"
    theirs = generate_identity()

    def made_meanwhile() -> bytes:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, theirs)
        os.close(descriptor)
        return IDENTITY

    monkeypatch.setattr(envelope, "generate_identity", made_meanwhile)
    assert load_or_create_identity(path) == theirs


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    with pytest.raises(StateError, match="a file"):
        load_or_create_identity(blocked / "identity.key")


def test_bytes_that_are_no_key_make_no_sealer() -> None:
    with pytest.raises(StateError, match="not a libp2p private key"):
        Libp2pSealer(b"junk")
