"""Files that are written so that neither a crash nor a full disk loses anything.

A file is replaced, never edited (write a temporary file in the same folder, fsync, rename, fsync
the folder), so that at any moment its old or its new content is whole on disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from openfl.core.errors import StateError
from openfl.core.files import open_own


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
        raise StateError(f"{path}: cannot be saved: {reason(error)}") from error
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


def read_own(path: Path, most: int) -> bytes:
    """Up to `most` bytes of a file of this home, and one more when it is larger."""
    with os.fdopen(open_own(path), "rb") as file:
        return file.read(most + 1)


def remove(path: Path) -> None:
    """Afterwards there is no such file; StateError (read-only...) when there still is."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{path}: cannot be removed: {reason(error)}") from error


def reason(error: OSError) -> str:
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
