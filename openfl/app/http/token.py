"""The token that whoever asks by HTTP must know: a file in the home that its owner alone reads."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from openfl.core.atomic_files import atomic_write
from openfl.core.errors import StateError
from openfl.core.files import open_own

TOKEN_FILE = "players.token"
LEAST_CHARS = 32
MOST_CHARS = 512
RANDOM_BYTES = 32


def load_or_create_token(path: Path) -> str:
    """The token in `path`, made if there is no such file. StateError: it cannot be read or written,
    others can read it, or it is none."""
    try:
        handle = open_own(path)
    except FileNotFoundError:
        token = secrets.token_urlsafe(RANDOM_BYTES)
        atomic_write(path, f"{token}\n".encode())
        return token
    except OSError as error:
        raise StateError(f"{path}: {error.strerror or error}") from None
    anew = "delete it, and the next start makes another"
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise StateError(f"{path} can be read by others (mode {mode:04o}); {anew}")
        token = file.read(MOST_CHARS + 2).decode("ascii", errors="replace").strip()
    good = token.isascii() and token.isprintable() and " " not in token
    if not good or not LEAST_CHARS <= len(token) <= MOST_CHARS:
        raise StateError(
            f"{path} holds no token of {LEAST_CHARS} to {MOST_CHARS} letters and digits; {anew}"
        )
    return token


def is_token(given: str, token: str) -> bool:
    """Whether `given` is the token; how long it takes tells nothing of where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def is_salted(given: str, salt: str, token: str) -> bool:
    """Whether `given` is what Subsonic clients send: MD5 of the token and `salt`, in hexadecimal.

    MD5 is the protocol's choice. The token is random, so nobody guesses it from there.
    """
    digest = hashlib.md5((token + salt).encode(errors="replace"), usedforsecurity=False)
    return hmac.compare_digest(given.lower().encode(errors="replace"), digest.hexdigest().encode())
