"""Checks of what is on disk: configuration, home folder, identity, saved state, room."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from shlex import quote

from openfl.app.doctor.finding import Finding, fault, fine, warning
from openfl.app.doctor.subject import Subject
from openfl.app.home_folder import is_locked, peer_id
from openfl.core.atomic_files import read_own, reason
from openfl.core.errors import StateError
from openfl.core.files import owner_problem
from openfl.storage.home import Home
from openfl.storage.moved import is_moved
from openfl.storage.remembered_peers import RememberedPeers
from openfl.storage.state_files import state_problem

MEGABYTE = 1_000_000
SPARE_BYTES = 8 * MEGABYTE
"""Beside what is saved now, for a save that is larger than the last."""
LOW_BYTES = 100 * MEGABYTE
MAX_NEIGHBOURS = 256
"""Folders beside the home in which a copy of it is looked for."""
MAX_LISTED = 20
TOKEN_FILE = "players.token"


def configuration(subject: Subject) -> Iterator[Finding]:
    """Everything that the loader finds wrong, each as a finding of its own."""
    for problem in subject.config_problems:
        kind = "config-unknown" if ": unknown " in problem else "config-wrong"
        place, _, what = problem.partition(": ")
        yield fault(kind, what or problem, "correct it there, or remove it", place)
    if subject.config_problems:
        return
    where = str(subject.config_file) if subject.config_file is not None else ""
    yield fine("read, and nothing is wrong with it" if where else "all defaults", where)


def home(subject: Subject) -> Iterator[Finding]:
    """Whose the home is, and who can look into it."""
    root = subject.home.root
    try:
        status = root.stat()
    except FileNotFoundError:
        yield warning(
            "home-missing",
            "there is no node here yet",
            f"make one: openfl-node init --home {quote(str(root))}",
            str(root),
        )
        return
    except OSError as error:
        yield fault("home-unreadable", f"cannot be looked into: {reason(error)}", "", str(root))
        return
    foreign = owner_problem(status.st_uid)
    if foreign is not None:
        yield fault("home-foreign", foreign, "", str(root))
    if not stat.S_ISDIR(status.st_mode):
        yield fault("home-no-folder", "is not a folder", "name another with --home", str(root))
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield fault(
            "home-open",
            f"can be changed by everybody (mode {mode:04o}): they could put another identity there",
            f"chmod o-w {quote(str(root))}",
            str(root),
        )
    if is_moved(subject.home):
        yield fault(
            "home-moved",
            "this node lives in another home now, and does not start here",
            "start it there; or, when it runs nowhere else: openfl-node home undo-move --home"
            f" {quote(str(root))}",
            str(subject.home.moved_file),
        )
    secrets = {
        subject.home.identity_file: "identity-readable",
        root / TOKEN_FILE: "token-readable",
    }
    if subject.config.network.psk_file:
        secrets[Path(subject.config.network.psk_file)] = "network-key-readable"
    for path, kind in secrets.items():
        yield from _readable(path, kind)


def _readable(path: Path, kind: str) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return  # not there, or told by another check
    if mode & 0o077:
        yield fault(
            kind,
            f"others can read it (mode {mode:04o}), and it is a secret",
            f"chmod 600 {quote(str(path))}",
            str(path),
        )


def identity(subject: Subject) -> Iterator[Finding]:
    """Whether there is a key, and it is this node's alone."""
    file = subject.home.identity_file
    if subject.silent:
        yield fault(
            "node-hangs",
            f"a node holds this home and does not answer: {subject.silent}",
            f"see {subject.home.log_file}; end the process that is named in"
            f" {subject.home.lock_file}",
            str(subject.home.root),
        )
    if not os.path.lexists(file):
        return
    try:
        name = peer_id(subject.home.root)
        mine = read_own(file, 4096)
    except StateError as error:
        if "can be read by others" not in str(error):  # told by the check of the home
            yield fault("identity-damaged", str(error), "restore it from a backup", str(file))
        return
    except OSError as error:
        yield fault("identity-unreadable", f"cannot be read: {reason(error)}", "", str(file))
        return
    twice = list(_copies(subject.home, mine))
    for other in twice:
        held = _is_held(other)
        tell = fault if held else warning
        yield tell(
            "identity-twice",
            "another home has the same key"
            + (", and a node runs there: others listen to one of the two only" if held else ""),
            f"delete {other / 'identity.key'}, and the node there gets an identity of its own; a"
            " backup is best kept where no node is started",
            str(other),
        )
    if not twice:
        yield fine(f"peer id {name}", str(file))


def _copies(home: Home, key: bytes) -> Iterator[Path]:
    """Other homes with the same key: beside this one, and where a node lives by default."""
    wanted = hashlib.sha256(key).digest()
    places: dict[Path, None] = {}
    with contextlib.suppress(OSError), os.scandir(home.root.parent) as entries:
        for entry in islice(entries, MAX_NEIGHBOURS):
            places[Path(entry.path)] = None
    with contextlib.suppress(StateError):
        places[Home.find(None, {}).root] = None
    here = os.path.realpath(home.root)
    for place in places:
        if os.path.realpath(place) == here:
            continue
        try:
            other = read_own(place / "identity.key", 4096)
        except OSError:
            continue
        if hashlib.sha256(other).digest() == wanted:
            yield place


def _is_held(home: Path) -> bool:
    try:
        return is_locked(home)
    except StateError:
        return False


def state(subject: Subject) -> Iterator[Finding]:
    """Whether what was saved can be read, and what an earlier start had to put aside."""
    folder = subject.home.state_folder
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        yield fault("state-unreadable", f"cannot be read: {reason(error)}", "", str(folder))
        return
    for name in [name for name in names if name.endswith(".state")]:
        problem = state_problem(folder / name)
        if problem is not None:
            yield fault(
                "state-damaged",
                problem,
                "the next start moves it aside and catches up from the group; is the disk sound?",
                str(folder / name),
            )
    try:
        if RememberedPeers.peek(subject.home.peers_file) is None:
            yield fault(
                "state-damaged",
                "is not a list of remembered peers",
                "the next start moves it aside and needs a bootstrap address",
                str(subject.home.peers_file),
            )
    except OSError as error:
        text = f"cannot be read: {reason(error)}"
        yield fault("state-unreadable", text, "", str(subject.home.peers_file))
    yield from _model(subject)
    aside = [n for n in names if ".corrupt-" in n or ".newer-" in n]
    if aside:
        yield warning(
            "state-set-aside",
            f"an earlier start could not use {len(aside)} of its files, and moved them aside:"
            f" {', '.join(aside[:3])}",
            "remove them once nothing of them is wanted",
            str(folder),
        )


def _model(subject: Subject) -> Iterator[Finding]:
    path = subject.home.model_file(subject.config.model.file)
    if not path.exists():
        return
    from openfl.learning.model_file import load_model

    try:
        load_model(path)
    except StateError as error:
        text = "recommendations from disk do not work; a running node writes it anew"
        yield fault("model-damaged", str(error), text, str(path))


_WORDS = {
    errno.ENOSPC: ("disk-full", "the disk is full", "free some space"),
    errno.EDQUOT: ("disk-quota", "your quota is used up", "free some space, or ask for more"),
    errno.EROFS: (
        "disk-read-only",
        "the file system is read-only",
        "give the node another home, or have it mounted for writing",
    ),
    errno.EACCES: ("disk-no-permission", "nothing may be written there", "check whose it is"),
    errno.EPERM: ("disk-no-permission", "nothing may be written there", "check whose it is"),
}


def disk(subject: Subject) -> Iterator[Finding]:
    """Whether the next save will find room."""
    needed = SPARE_BYTES + _kept_bytes(subject)
    home = subject.home
    folders = {home.root, home.state_folder, home.model_file(subject.config.model.file).parent}
    told: set[str] = set()
    for folder in sorted({_existing(folder) for folder in folders}):
        error = subject.probes.room_error(folder, needed)
        if error is None:
            continue
        kind, what, do = _WORDS.get(
            error.errno or 0, ("disk-unusable", f"cannot be written: {error.strerror}", "")
        )
        if kind not in told:
            told.add(kind)
            size = f" (a save needs {needed / MEGABYTE:.0f} MB)" if kind == "disk-full" else ""
            yield fault(kind, what + size, do, str(folder))
    if told:
        return
    free = subject.probes.free_bytes(_existing(home.root))
    if free is not None and free < max(LOW_BYTES, needed):
        text = f"only {free / MEGABYTE:.0f} MB are free"
        yield warning("disk-low", text, "free some space", str(home.root))
    elif free is not None:
        yield fine(f"{free / MEGABYTE:,.0f} MB free", str(home.root))


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest above it that is there."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


def _kept_bytes(subject: Subject) -> int:
    """What the node has saved so far: the next save writes it beside the last one."""
    files = [subject.home.model_file(subject.config.model.file), subject.home.peers_file]
    with contextlib.suppress(OSError), os.scandir(subject.home.state_folder) as entries:
        files += [Path(entry.path) for entry in entries if entry.name.endswith(".state")]
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total
