"""The form of an exported home: a zip file of known names, each of a bounded size.

Beside them the first member, `openfl-home.json`, says whose it is and what is in it. What is read
here may have been written by anybody: nothing is taken from it but files of these names, and they
are written by us, so that no name and no link of the archive leads anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from openfl.core.atomic_files import reason
from openfl.core.errors import StateError
from openfl.core.files import open_named

MANIFEST = "openfl-home.json"
FORMAT = 1
MAX_MEMBERS = 4096
MAX_MANIFEST_BYTES = 1 << 20
MAX_ALL_BYTES = 1 << 34
"""Of all files together."""
_CHUNK = 1 << 20
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_KB, _MB, _GB = 1 << 10, 1 << 20, 1 << 30

_NAMES: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(pattern), most)
    for pattern, most in (
        (r"config\.toml", _MB),
        (r"identity\.key", 4 * _KB),
        (r"peers\.json", 4 * _MB),
        (r"players\.token", 4 * _KB),
        (r"swarm\.key", 4 * _KB),
        (r"model\.safetensors", 8 * _GB),
        (r"invitations/[0-9]{1,3}-[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", 64 * _KB),
        (r"state/[a-z0-9][a-z0-9_-]{0,63}\.state", _GB),
        (r"data/(plays|ratings|songs)\.csv", 8 * _GB),
        (r"given/[0-9]{1,3}-[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", 8 * _GB),
    )
)
"""What may be in an archive, as it is called in a home, and how large it may be."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """peer_id: whose home it was; root: where; version: of OpenFL; moved: whether it rests there
    since. paths: absolute path there -> name here, of files that lay outside. files: name ->
    (bytes, SHA-256 in hex)."""

    peer_id: str
    root: str
    version: str
    moved: bool
    paths: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]


def most_bytes(name: str) -> int | None:
    """How large the member `name` may be; None when no archive has one of that name."""
    return next((most for pattern, most in _NAMES if pattern.fullmatch(name)), None)


def write_archive(file: BinaryIO, manifest: Manifest, contents: Mapping[str, Path | bytes]) -> None:
    """Write `contents` (name -> a file, or what it is to hold). The digests and sizes of
    `manifest` are found out here. StateError: one cannot be read, is too large, or changes."""
    files = {name: _measured(name, content) for name, content in contents.items()}
    plain = {
        "format": FORMAT,
        "peer_id": manifest.peer_id,
        "root": manifest.root,
        "version": manifest.version,
        "moved": manifest.moved,
        "paths": dict(manifest.paths),
        "files": {
            name: {"bytes": size, "sha256": digest} for name, (size, digest) in files.items()
        },
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        archive.writestr(_info(MANIFEST), json.dumps(plain, indent=1))
        for name, content in contents.items():
            digest = hashlib.sha256()
            with archive.open(_info(name), "w", force_zip64=True) as member:
                for chunk in _chunks(content):
                    digest.update(chunk)
                    member.write(chunk)
            if digest.hexdigest() != files[name][1]:
                raise StateError(f"{name}: was changed while it was read; try again")


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # no time: a clock that was never set shows none that fits
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    return info


def _measured(name: str, content: Path | bytes) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    most = most_bytes(name)
    assert most is not None, name
    for chunk in _chunks(content):
        size += len(chunk)
        digest.update(chunk)
    if size > most:
        raise StateError(f"{name}: is larger than an archive may hold ({most:,} bytes)")
    return size, digest.hexdigest()


def _chunks(content: Path | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    try:
        with open_named(content) as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise StateError(f"{content}: cannot be read: {reason(error)}") from error


class Archive:
    """One that is read; see `opened_archive`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise self.bad(f"has more than {MAX_MEMBERS} files")
        if not members or members[0].filename != MANIFEST:
            raise self.bad("is no exported home")
        self.manifest = self._manifest(members[0])
        named = [member.filename for member in members[1:]]
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG) and member.compress_type in _COMPRESSIONS
            # Without a name, `is_dir` of Python 3.11 ends in an IndexError.
            if not member.filename or member.is_dir() or not plain or member.flag_bits & 1:
                raise self.bad(f"{member.filename[:100]!r} in it is no plain file")
        if sorted(named) != sorted(self.manifest.files):
            raise self.bad("does not hold what it says it does")
        self._members = dict(zip(named, members[1:], strict=True))

    def bad(self, why: str) -> StateError:
        """The error for an archive that is not as it should be."""
        return StateError(f"{self._path}: {why}; nothing was imported")

    def _manifest(self, member: zipfile.ZipInfo) -> Manifest:
        with self._archive.open(member) as opened:
            data = opened.read(MAX_MANIFEST_BYTES + 1)
        try:
            if len(data) > MAX_MANIFEST_BYTES:
                raise ValueError
            plain = json.loads(data)
            if type(plain["format"]) is not int or plain["format"] != FORMAT:
                raise self.bad(f"is of a form that is not known here ({plain['format']!r:.20})")
            files = {
                name: (_whole(of["bytes"]), _text(of["sha256"]))
                for name, of in plain["files"].items()
            }
            paths = {_text(old): _text(new) for old, new in plain["paths"].items()}
            found = Manifest(
                _text(plain["peer_id"]),
                _text(plain["root"]),
                _text(plain["version"]),
                plain["moved"] is True,
                paths,
                files,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self.bad("is no exported home, or a damaged one") from None
        for name, (size, _) in found.files.items():
            most = most_bytes(name)
            if most is None:
                raise self.bad(f"{name[:100]!r} in it is nothing that a home has")
            if size > most:
                raise self.bad(f"{name} in it is larger than it may be ({most:,} bytes)")
        if sum(size for size, _ in found.files.values()) > MAX_ALL_BYTES:
            raise self.bad(f"holds more than a home may ({MAX_ALL_BYTES:,} bytes)")
        if not set(found.paths.values()) <= found.files.keys():
            raise self.bad("does not hold what it says it does")
        return found

    def extract(self, folder: Path) -> None:
        """Write every file below `folder`, which is empty. StateError: one is not what the manifest
        says, or cannot be written."""
        for name, (size, wanted) in self.manifest.files.items():
            target = folder / name
            target.parent.mkdir(mode=0o700, exist_ok=True)
            digest, left = hashlib.sha256(), size
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as out, self._archive.open(self._members[name]) as member:
                while chunk := member.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        break
                    digest.update(chunk)
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            if left or digest.hexdigest() != wanted:
                raise self.bad(f"{name} in it is damaged")


@contextmanager
def opened_archive(path: Path) -> Iterator[Archive]:
    """The archive at `path`, its manifest and names checked. StateError: it cannot be read, or is
    not as it should be; also while the block reads it."""
    try:
        with open_named(path) as file, zipfile.ZipFile(file) as archive:
            yield Archive(path, archive)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        UnicodeDecodeError,
    ) as error:
        raise StateError(
            f"{path}: is no exported home, or a damaged one ({error}); nothing was imported"
        ) from error
    except OSError as error:
        raise StateError(f"{error.filename or path}: {reason(error)}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise TypeError("not a text")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a size")
    return value
