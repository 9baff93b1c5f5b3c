"""`Home`: the folder a node lives in."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from openfl.core.atomic_files import reason
from openfl.core.errors import StateError
from openfl.core.files import expanded, open_own, owner_problem

_TRIES = 5
_PAUSE_SECONDS = 0.02


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
            if given and (user := str(given).partition("/")[0]) != "~":
                raise StateError(f"{given}: there is no user {user[1:]!r} here") from None
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
        """Settings; optional."""
        return self.root / "config.toml"

    @property
    def identity_file(self) -> Path:
        """The private key."""
        return self.root / "identity.key"

    @property
    def state_folder(self) -> Path:
        """Where the state files are."""
        return self.root / "state"

    @property
    def data_folder(self) -> Path:
        """What was read from exports of the owner, as a node learns from it."""
        return self.root / "data"

    @property
    def peers_file(self) -> Path:
        """Peers to try at the next start."""
        return self.root / "peers.json"

    @property
    def moved_file(self) -> Path:
        """There when this node lives elsewhere now (`openfl.storage.moved`)."""
        return self.root / "moved.json"

    @property
    def control_socket(self) -> Path:
        """Where commands reach the running node."""
        return self.root / "control.sock"

    @property
    def log_file(self) -> Path:
        """What the node said."""
        return self.root / "node.log"

    @property
    def start_file(self) -> Path:
        """How the node was last started, for whoever starts it again."""
        return self.root / "last-start.json"

    @property
    def lock_file(self) -> Path:
        """Held by the node that runs here."""
        return self.root / "lock"

    def model_file(self, configured: str) -> Path:
        """Where `model.file` of the configuration points: relative to the home unless absolute."""
        return self.root / expanded(configured)

    def state_file(self, name: str) -> Path:
        """A file of `openfl.storage.state_files`: `node`, `last`, `privacy`, `labels`, `course` or
        a group's id."""
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
            raise StateError(f"{name}: cannot be created: {reason(error)}") from error
        foreign = owner_problem(state.st_uid)
        if foreign is not None or not stat.S_ISDIR(state.st_mode):
            problem = foreign or "is a symbolic link; put the folder itself there"
            raise StateError(f"{self.state_folder} {problem}")
        # Whoever can write here can put another identity or control socket in the place of ours.
        mode = stat.S_IMODE(self.root.stat().st_mode)
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StateError(
                f"{self.root} can be changed by everybody (mode {mode:04o});"
                f" run: chmod o-w {quote(str(self.root))}"
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
            raise StateError(f"{self.lock_file}: cannot be opened: {reason(error)}") from error
        try:
            try:
                _lock(handle)
            except BlockingIOError as error:
                holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
                process = f" (process {holder})" if holder.isdigit() else ""
                raise StateError(
                    f"{self.root}: another node{process} is running in this home folder;"
                    " stop it or give this one its own with --home"
                ) from error
            except OSError as error:
                raise StateError(f"{self.lock_file}: cannot be locked: {reason(error)}") from error
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


def _lock(handle: int) -> None:
    """Lock an open file for this process alone. BlockingIOError: another holds it.

    Tried more than once: whoever asks only whether a node runs (`is_locked`) holds it for a moment.
    """
    for left in reversed(range(_TRIES)):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
        time.sleep(_PAUSE_SECONDS)
