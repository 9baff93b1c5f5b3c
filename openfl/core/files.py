"""Opening files: the one place that says what is opened, and what is refused.

- A file that its owner *named* (data, configuration, invitation, network key, model) is opened by
  `open_named`. Symbolic links are followed: people have them, and all that Kubernetes mounts are
  such links.
- A file that a node keeps for *itself* in its home (lock, log, identity, state, peers) is opened by
  `open_own`: never through a symbolic link, and only when it is ours or root's. Whoever could put a
  link there would have this process, perhaps root's, write into the file behind it.
- What is replaced rather than edited goes through `openfl.core.atomic_files`, which puts a new
  file in the place of a link.

Both open first and then ask what they have opened, so that nothing can be exchanged in between; and
both take regular files only, at once: a FIFO would block whoever opens it, a device never ends.
Problems are OSErrors whose `strerror` is the rest of a sentence that begins with the path.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Where one of these is missing (Windows) no node runs, but commands say so.
_ALWAYS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"))

_KINDS = (
    (stat.S_ISFIFO, "a FIFO (a pipe)"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def expanded(path: str | os.PathLike[str]) -> Path:
    """`path` with a home folder for a `~` or `~name` in front, as shells have it; where nobody is
    called so it stays as it is, and is then not found."""
    return Path(os.path.expanduser(path))


def open_named(path: Path) -> BinaryIO:
    """A regular file, for reading. OSError when there is none, or `path` is anything else."""
    try:
        handle = os.open(path, os.O_RDONLY | _ALWAYS)
    except OSError as error:
        raise _explained(error, path, named=True) from None
    try:
        _check_regular(handle, path, named=True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_named(path: Path) -> bytes:
    """All of it; OSError as `open_named`."""
    with open_named(path) as file:
        return file.read()


def open_own(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file of this node; with O_CREAT in `flags` it is made 0600.

    OSError also when it is a symbolic link, or belongs to another user than this one or root.
    """
    try:
        handle = os.open(path, flags | os.O_NOFOLLOW | _ALWAYS, 0o600)
    except OSError as error:
        raise _explained(error, path, named=False) from None
    try:
        _check_regular(handle, path, named=False)
        foreign = owner_problem(os.fstat(handle).st_uid)
        if foreign is not None:
            raise OSError(errno.EINVAL, foreign, str(path))
        return handle
    except BaseException:
        os.close(handle)
        raise


def owner_problem(owner: int) -> str | None:
    """What is wrong with files of user `owner` in a home of ours; None when nothing is.

    Root's are as good as ours: root could change ours, too. A folder that Kubernetes mounts is
    root's, for example.
    """
    me = os.geteuid()
    if owner in (me, 0):
        return None
    return (
        f"belongs to {_user(owner)}, not to {_user(me)}: run this as that user, or change the owner"
        " (chown -R)"
    )


def _check_regular(handle: int, path: Path, named: bool) -> None:
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise _not_a_file(mode, path, named)


def _not_a_file(mode: int, path: Path, named: bool) -> OSError:
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
    advice = "save what comes from there in a file first" if named else "move it elsewhere"
    return OSError(errno.EINVAL, f"is {kind}, not a file; {advice}", str(path))


def _explained(error: OSError, path: Path, named: bool) -> OSError:
    """`error` of opening `path`, or what says better what stands there."""
    try:
        mode = os.stat(path, follow_symlinks=named).st_mode
    except OSError:
        return error
    if stat.S_ISLNK(mode):
        text = "is a symbolic link, which could lead anywhere; put the file itself there"
        return OSError(errno.EINVAL, text, str(path))
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return error
    return _not_a_file(mode, path, named)


def _user(uid: int) -> str:
    import pwd  # here: only needed when something is wrong

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
