"""Key files of private networks, and the cipher against another implementation."""

from __future__ import annotations

import os
from pathlib import Path

import nacl.bindings
import pytest

from openfl.core.errors import StateError
from openfl.network.libp2p.private_network import XSalsa20, generate_network_key, load_network_key


@pytest.mark.parametrize("size", [1, 64, 65, 1000])
def test_the_key_stream_is_that_of_libsodium(size: int) -> None:
    key, nonce, message = os.urandom(32), os.urandom(24), os.urandom(size)
    sealed = nacl.bindings.crypto_secretbox(message, nonce, key)
    stream = XSalsa20(key, nonce)
    stream.apply(bytes(32))  # a secret box spends the first 32 bytes on its authenticator
    # In two pieces: the position in the stream is kept.
    assert stream.apply(message[:40]) + stream.apply(message[40:]) == sealed[16:]


def write_key(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_new_key_is_read_back_and_no_two_are_alike(tmp_path: Path) -> None:
    first, second = generate_network_key(), generate_network_key()
    key = load_network_key(write_key(tmp_path / "a", first))
    assert key.hex() == first.split()[2]
    assert first != second


def test_a_key_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_key(tmp_path / "swarm.key", generate_network_key(), 0o640)
    with pytest.raises(StateError, match=r"mode 0640.*chmod 600"):
        load_network_key(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/key/swarm/psk/1.0.0/\n/base16/\n" + "0" * 63,
        "/key/swarm/psk/1.0.0/\n/base64/\n" + "0" * 64,
        "0" * 64,
        generate_network_key() * 2,
    ],
)
def test_anything_but_a_key_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(StateError, match="is not a key file") as refusal:
        load_network_key(write_key(tmp_path / "k", text))
    assert "\n" not in str(refusal.value)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="network-key"):
        load_network_key(tmp_path / "none")
