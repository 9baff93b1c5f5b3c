"""What a node keeps on disk, written so that neither a crash nor a full disk loses anything.

Rules of this file: a file is replaced, never edited (write a temporary file in the same folder,
fsync, rename, fsync the folder), so that at any moment its old or its new content is whole on disk.
What cannot be read because it is damaged is moved aside, never deleted, and the caller is told by
a value; what cannot be read or written because of the machine (disk full, permissions) is a
`StateError`. Time is an argument.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2

from openfl.errors import StateError
from openfl.files import open_own, owner_problem

_MAGIC = b"OpenFL state\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
MAX_STATE_BYTES = 1 << 30
"""A state file beyond this is not ours; it is not read into memory."""
MAX_REMEMBERED_PEERS = 256
MAX_REMEMBERED_ADDRESSES = 8
_MAX_PEERS_FILE_BYTES = 1 << 20


def atomic_write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the content of `path` with `data`, entirely or not at all.

    Returns once the new content would survive a power cut. StateError (disk full, no permission,
    read-only...) leaves the old file as it was and no temporary file.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
        )
        try:
            os.fchmod(handle, mode)
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
        temporary = None
        _fsync_folder(path.parent)
    except OSError as error:
        raise StateError(f"{path}: cannot be saved: {_reason(error)}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot fsync a folder; the rename is then as durable as it gets.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _read_own(path: Path, most: int) -> bytes:
    """Up to `most` bytes of a file of this home, and one more when it is larger."""
    with os.fdopen(open_own(path), "rb") as file:
        return file.read(most + 1)


def remove(path: Path) -> None:
    """Afterwards there is no such file; StateError (read-only...) when there still is."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{path}: cannot be removed: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """The cause in words that say what to do where that is not obvious."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full (what was saved before is kept); free some space"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission; check who owns the folder"
    if error.errno == errno.EROFS:
        return "the file system is read-only"
    if error.errno == errno.EFBIG:
        return "larger than files may be here (what was saved before is kept)"
    return error.strerror or str(error)


# --- the home folder ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Home:
    """The folder a node lives in. Nothing is created before `prepare`."""

    root: Path

    @classmethod
    def find(cls, option: str | Path | None, environ: Mapping[str, str]) -> Home:
        """`--home` if given, else OPENFL_HOME, else the platform's folder for user data.

        StateError when that is relative to a folder which nobody knows.
        """
        given = option if option is not None and str(option) else environ.get("OPENFL_HOME")
        try:
            if not given:
                # Here: most commands are told their home and start faster without.
                import platformdirs

                given = platformdirs.user_data_dir("openfl-node", appauthor=False)
            return cls(Path(given).expanduser().absolute())
        except RuntimeError:
            raise StateError(
                "nobody knows where this user's files are (HOME is not set);"
                " name a home folder with --home or OPENFL_HOME"
            ) from None
        except FileNotFoundError:
            raise StateError(
                f"{given}: the folder this was started in is gone; begin the home folder with /"
            ) from None

    @property
    def config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def identity_file(self) -> Path:
        return self.root / "identity.key"

    @property
    def state_folder(self) -> Path:
        return self.root / "state"

    @property
    def peers_file(self) -> Path:
        return self.root / "peers.json"

    @property
    def control_socket(self) -> Path:
        return self.root / "control.sock"

    @property
    def log_file(self) -> Path:
        return self.root / "node.log"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"

    def model_file(self, configured: str) -> Path:
        """Where `model.file` of the configuration points: relative to the home unless absolute."""
        return self.root / Path(configured).expanduser()

    def state_file(self, name: str) -> Path:
        return self.state_folder / f"{name}.state"

    def check(self) -> None:
        """StateError when nothing may be kept here, before anything is made.

        A name that is not UTF-8 cannot be written into any state. A folder that belongs to another
        user is not ours to write or to trust: root would follow whatever that user puts there.
        """
        try:
            str(self.root).encode()
        except UnicodeEncodeError:
            raise StateError(
                f"{self.root}: the name of a home folder must be UTF-8 text; use another"
            ) from None
        with suppress(OSError):  # nothing there yet, or `prepare` says what is wrong
            foreign = owner_problem(self.root.stat().st_uid)
            if foreign is not None:
                raise StateError(f"the home folder {self.root} {foreign}")

    def prepare(self) -> None:
        """Create what is missing, readable by its owner only. StateError when that is impossible,
        or the home is not ours (`check`).

        Folders that exist keep their permissions: they may be shared on purpose.
        """
        self.check()
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.state_folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            state = self.state_folder.lstat()
        except FileExistsError as error:
            raise StateError(f"{error.filename}: is a file, but must be a folder") from error
        except OSError as error:
            name = error.filename or self.root
            raise StateError(f"{name}: cannot be created: {_reason(error)}") from error
        foreign = owner_problem(state.st_uid)
        if foreign is not None or not stat.S_ISDIR(state.st_mode):
            problem = foreign or "is a symbolic link; put the folder itself there"
            raise StateError(f"{self.state_folder} {problem}")
        # Whoever can write here can put another identity or control socket in the place of ours.
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StateError(
                f"{self.root} can be changed by everybody (mode {mode:04o});"
                f" run: chmod o-w {self.root}"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other nodes out of this home; needs `prepare`. StateError names the one inside.

        The kernel drops the lock with the process, so a killed node never blocks the next one.
        Temporary files that a killed node left behind are removed.
        """
        try:
            handle = open_own(self.lock_file, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise StateError(f"{self.lock_file}: cannot be opened: {_reason(error)}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
                process = f" (process {holder})" if holder.isdigit() else ""
                raise StateError(
                    f"{self.root}: another node{process} is running in this home folder;"
                    " stop it or give this one its own with --home"
                ) from error
            except OSError as error:
                raise StateError(f"{self.lock_file}: cannot be locked: {_reason(error)}") from error
            with suppress(OSError):  # a full disk: the lock holds, only its pid is not told
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            self._remove_leftovers()
            yield
        finally:
            os.close(handle)

    def _remove_leftovers(self) -> None:
        for folder in (self.root, self.state_folder):
            for leftover in folder.glob(".*.tmp"):
                with suppress(OSError):
                    leftover.unlink()


# --- versioned state ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StateRead:
    """What `read_state` found.

    content: None when there is no usable state. version: of the writer's format, at most the one
    asked for. problem: one line for the owner when a file was there but is of no use; it then
    stands at `moved_to`.
    """

    content: Any = None
    version: int = 0
    problem: str | None = None
    moved_to: Path | None = None


def write_state(path: Path, kind: str, version: int, content: object) -> None:
    """Save `content` (None, bool, int, float, str, bytes, and lists and dicts of them) atomically.

    `kind` names what the file holds; `version` counts the formats of that kind. The file ends in a
    SHA-256 of all before it, so that a torn or altered file is noticed before it is decoded.
    """
    body = _MAGIC + cbor2.dumps({"kind": kind, "version": version, "content": content})
    atomic_write(path, body + hashlib.sha256(body).digest())


def read_state(path: Path, kind: str, version: int, now: float) -> StateRead:
    """The content that `write_state` saved, or None in its place.

    A damaged file, one of another kind or of a newer version than `version` is moved aside:
    `NAME.corrupt-YYYYMMDDTHHMMSSZ` or `NAME.newer-...`, by `now` (unix seconds). StateError when
    the file cannot be read or moved.
    """
    try:
        data = _read_own(path, MAX_STATE_BYTES)
    except FileNotFoundError:
        return StateRead()
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {_reason(error)}") from error
    envelope, damage = _open_envelope(data)
    if damage is None and envelope["kind"] != kind:
        damage = f"holds {envelope['kind']} instead of {kind}"
    if damage is not None:
        return _set_aside(path, "corrupt", damage, now)
    if envelope["version"] > version:
        newer = f"was written by a newer OpenFL (format {envelope['version']}, known {version})"
        return _set_aside(path, "newer", newer, now)
    return StateRead(content=envelope["content"], version=envelope["version"])


def peek_state(path: Path, kind: str, version: int) -> Any:
    """The content that `read_state` would find; None when it would find none.

    A file of no use stays where it is, for `read_state` to move and to tell of.
    """
    try:
        data = _read_own(path, MAX_STATE_BYTES)
    except OSError:
        return None
    envelope, damage = _open_envelope(data)
    usable = damage is None and envelope["kind"] == kind and envelope["version"] <= version
    return envelope["content"] if usable else None


def _open_envelope(data: bytes) -> tuple[dict[str, Any], str | None]:
    """(envelope, None), or ({}, what is wrong)."""
    if len(data) > MAX_STATE_BYTES:
        return {}, "is too large to be a state file"
    if not data.startswith(_MAGIC):
        return {}, "is empty" if not data else "is not a state file"
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return {}, "is damaged (its checksum does not match)"
    try:
        envelope = cbor2.loads(body[len(_MAGIC) :])
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        return {}, f"is damaged ({error})"
    if (
        not isinstance(envelope, dict)
        or not {"kind", "version", "content"} <= envelope.keys()
        or type(envelope["version"]) is not int
    ):
        return {}, "is not a state file"
    return envelope, None


def _set_aside(path: Path, word: str, damage: str, now: float) -> StateRead:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = path.with_name(f"{path.name}.{word}-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.{word}-{stamp}-{number}")
    try:
        path.rename(target)
    except OSError as error:
        raise StateError(
            f"{path}: {damage}, and cannot be moved aside: {_reason(error)}"
        ) from error
    return StateRead(problem=f"{path}: {damage}; moved to {target.name}", moved_to=target)


# --- remembered peers --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RememberedPeer:
    """A peer we were connected to. `multiaddrs` as in `PeerAddress`; `seen_at`: unix seconds."""

    peer_id: str
    multiaddrs: tuple[str, ...]
    seen_at: float


@dataclass(frozen=True, slots=True)
class RememberedPeers:
    """Peers to try first at the next start, most recently seen first, at most 256."""

    peers: tuple[RememberedPeer, ...] = ()

    def with_seen(self, peer_id: str, multiaddrs: tuple[str, ...], now: float) -> RememberedPeers:
        """These peers with `peer_id` seen `now`. New addresses go before the known ones; a peer
        without any address is not remembered."""
        known = next((peer.multiaddrs for peer in self.peers if peer.peer_id == peer_id), ())
        addresses = tuple(dict.fromkeys((*multiaddrs, *known)))[:MAX_REMEMBERED_ADDRESSES]
        if not addresses:
            return self
        others = (peer for peer in self.peers if peer.peer_id != peer_id)
        ordered = sorted(
            (RememberedPeer(peer_id, addresses, now), *others), key=lambda peer: -peer.seen_at
        )
        return RememberedPeers(tuple(ordered[:MAX_REMEMBERED_PEERS]))

    def without(self, peer_id: str) -> RememberedPeers:
        """These peers without `peer_id` (it turned out to be gone for good, or to be us)."""
        return RememberedPeers(tuple(peer for peer in self.peers if peer.peer_id != peer_id))

    def save(self, path: Path) -> None:
        """Write peers.json; StateError when that is impossible."""
        plain = {
            "version": 1,
            "peers": [
                {
                    "peer_id": peer.peer_id,
                    "multiaddrs": list(peer.multiaddrs),
                    "seen_at": peer.seen_at,
                }
                for peer in self.peers
            ],
        }
        atomic_write(path, (json.dumps(plain, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path, now: float) -> tuple[RememberedPeers, StateRead]:
        """(peers, how it went). A damaged file is moved aside as by `read_state`: see `problem`."""
        try:
            data = _read_own(path, _MAX_PEERS_FILE_BYTES)
        except FileNotFoundError:
            return cls(), StateRead()
        except OSError as error:
            raise StateError(f"{path}: cannot be read: {_reason(error)}") from error
        try:
            if len(data) > _MAX_PEERS_FILE_BYTES:
                raise ValueError("too large")
            peers = tuple(_peer_from_plain(plain) for plain in json.loads(data)["peers"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return cls(), _set_aside(path, "corrupt", "is not a list of remembered peers", now)
        newest_first = sorted(peers, key=lambda peer: -peer.seen_at)
        return cls(tuple(newest_first[:MAX_REMEMBERED_PEERS])), StateRead(content=True, version=1)


def _peer_from_plain(plain: Any) -> RememberedPeer:
    """ValueError, KeyError, TypeError or OverflowError when `plain` is not a remembered peer."""
    peer_id, addresses, seen_at = plain["peer_id"], plain["multiaddrs"], plain["seen_at"]
    if not isinstance(peer_id, str) or not isinstance(addresses, list):
        raise TypeError("not a remembered peer")
    if not all(isinstance(address, str) for address in addresses):
        raise TypeError("not a list of multiaddrs")
    if isinstance(seen_at, bool) or not isinstance(seen_at, int | float):
        raise TypeError("not a time")
    if not math.isfinite(seen_at):
        raise TypeError("not a time")
    return RememberedPeer(peer_id, tuple(addresses[:MAX_REMEMBERED_ADDRESSES]), float(seen_at))
