"""A whole home in one file, to be kept or moved to another machine, and back again."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from openfl import __version__
from openfl.app.home_archive import Manifest, most_bytes, opened_archive, write_archive
from openfl.app.home_folder import is_locked
from openfl.config import load_config
from openfl.config.edit import problems_of, with_setting
from openfl.core.atomic_files import reason
from openfl.core.errors import StateError
from openfl.core.files import read_named
from openfl.storage import last_run
from openfl.storage.home import Home
from openfl.storage.last_run import NODE_KIND, NODE_VERSION
from openfl.storage.moved import is_moved, mark_moved, unmark_moved
from openfl.storage.state_files import peek_state, write_state

_PLAIN = ("identity.key", "peers.json", "players.token", "model.safetensors")
_NEVER = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """left: what of the home is not in the file, and why."""

    file: Path
    peer_id: str
    files: int
    size: int
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """group: the name of the one it was in, if any. remarks: what its owner should know."""

    home: Path
    peer_id: str
    group: str | None
    files: int
    remarks: tuple[str, ...]


@dataclass
class _Collected:
    contents: dict[str, Path | bytes] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def add_outside(self, folder: str, path: Path, name: str | None = None) -> str | None:
        """The name in the archive of a file that the owner named; None when it is none."""
        absolute = str(path.absolute())
        if absolute in self.paths:
            return self.paths[absolute]
        if not path.is_file():
            self.left.append(f"{path} ({'a folder' if path.is_dir() else 'not there'})")
            return None
        if name is None:
            clean = _NEVER.sub("-", path.name).lstrip(".-")[:80] or "file"
            name = f"{folder}/{len(self.paths)}-{clean}"
        self.contents[name] = path
        self.paths[absolute] = name
        return name


def export_home(
    root: Path, target: Path, *, with_data: bool = False, move: bool = False, force: bool = False
) -> Exported:
    """Write the home to `target`, readable by its owner only: identity, state, configuration,
    invitations, names of songs, the model; with `with_data` also the data it learns from. `move`:
    no node starts here afterwards.

    StateError: there is no node, one runs here, `target` exists (without `force`), or it cannot be
    written. ConfigError: the configuration is wrong.
    """
    from openfl.app.home_folder import peer_id as peer_id_of_home

    home = Home(root)
    home.check()
    peer_id = peer_id_of_home(root)
    if peer_id is None:
        raise StateError(f"there is no node in {root}")
    _require_none_runs(root)
    if os.path.lexists(target) and not force:
        raise StateError(f"{target}: exists already (--force replaces it)")
    with home.lock():
        collected = _collect(home, with_data)
        manifest = Manifest(peer_id, str(root), __version__, move, collected.paths, {})
        with _replacing(target) as file:
            write_archive(file, manifest, collected.contents)
            size = file.tell()
        if move:
            mark_moved(home, str(target.absolute()), time.time())
    return Exported(
        target, str(peer_id), len(collected.contents), size, tuple(dict.fromkeys(collected.left))
    )


def import_home(source: Path, root: Path) -> Imported:
    """Make `root`, which is not there or empty, the home that was written to `source`.

    Everything is checked before anything appears there. StateError: `root` holds something, or the
    file is no exported home, or a damaged one. ConfigError: its configuration is not one of this
    version.
    """
    from openfl.network.libp2p.envelope import peer_id_of

    home = Home(root)
    home.check()
    _require_empty(root)
    real = Path(os.path.realpath(root))  # a home may be a link, to a larger disk for example
    with opened_archive(source) as archive:
        manifest = archive.manifest
        with _folder_beside(real) as folder:
            archive.extract(folder)
            if "identity.key" not in manifest.files:
                raise archive.bad("holds no identity")
            if peer_id_of(read_named(folder / "identity.key")) != manifest.peer_id:
                raise archive.bad("its identity is not the one it says")
            remarks = list(_check_config(folder, home))
            (folder / "state").mkdir(mode=0o700, exist_ok=True)
            new_paths = {
                old: str(root / name)
                for old, name in (*manifest.paths.items(), *_data_of(manifest).items())
            }
            remarks += _with_new_paths(folder, new_paths)
            charter = last_run.current_charter(Home(folder))
            with suppress(FileNotFoundError):
                real.rmdir()
            folder.rename(real)
    if not manifest.moved:
        remarks.append(
            f"the home it is from ({manifest.root}) was not told to rest: do not run both, for"
            " they are one identity"
        )
    group = None if charter is None else charter.name
    return Imported(root, manifest.peer_id, group, len(manifest.files), tuple(remarks))


def undo_move(root: Path) -> None:
    """The node of this home may start again. StateError when it has not moved."""
    home = Home(root)
    home.check()
    if not is_moved(home):
        raise StateError(f"the node of {root} has not moved")
    unmark_moved(home)


def _require_none_runs(root: Path) -> None:
    if is_locked(root):
        raise StateError(
            f"a node is running in {root}, and would go on changing what is copied: stop it first"
            f" (openfl-node stop --home {quote(str(root))})"
        )


def _collect(home: Home, with_data: bool) -> _Collected:
    found = _Collected()
    for name in _PLAIN:
        if (home.root / name).is_file():
            found.contents[name] = home.root / name
    for file in sorted(home.state_folder.glob("*.state")):
        name = f"state/{file.name}"
        if most_bytes(name) is not None and file.is_file():
            found.contents[name] = file
    if with_data:
        for file in sorted(home.data_folder.glob("*.csv")):
            if most_bytes(f"data/{file.name}") is not None and file.is_file():
                found.contents[f"data/{file.name}"] = file
                found.paths[str(file)] = f"data/{file.name}"
        for key in ("ratings_file", "catalogue_file"):
            path = last_run.data_files(home).get(key)
            if path:
                found.add_outside("given", Path(path))
    elif home.data_folder.is_dir():
        found.left.append(f"{home.data_folder} (the data; --with-data takes it along)")
    if home.config_file.is_file():
        found.contents["config.toml"] = _config_with_new_paths(home, found, with_data)
    return found


def _config_with_new_paths(home: Home, found: _Collected, with_data: bool) -> bytes:
    """config.toml, in which files that lay elsewhere are called as in the archive."""
    file = home.config_file
    config = load_config(file, {"HOME": os.environ.get("HOME", "")}, {})
    text = read_named(file).decode("utf-8-sig")
    invitations = []
    for path in config.group.invitation_files:
        name = found.add_outside("invitations", Path(path))
        invitations.append(name or path)
    if invitations:
        text = with_setting(text, "group.invitation_files", tuple(invitations))
    if config.network.psk_file:
        name = found.add_outside("", Path(config.network.psk_file), "swarm.key")
        if name is not None:
            text = with_setting(text, "network.psk_file", name)
    for key, path in (
        ("data.ratings_file", config.data.ratings_file),
        ("data.catalogue_file", config.data.catalogue_file),
    ):
        if path and with_data:
            name = found.add_outside("given", Path(path))
            if name is not None:
                text = with_setting(text, key, name)
        elif path:
            found.left.append(f"{path} (the data; --with-data takes it along)")
    left = [config.http.cert_file, config.http.key_file]
    if config.model.file != "model.safetensors":
        left.append(config.model.file)
    found.left += [f"{path} (of this machine)" for path in left if path]
    return text.encode()


def _check_config(folder: Path, home: Home) -> Iterator[str]:
    """Remarks on config.toml; ConfigError when this version would refuse it."""
    file = folder / "config.toml"
    if not file.exists():
        return
    try:
        text = read_named(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StateError("config.toml in it is not UTF-8 text; nothing was imported") from None
    problems = problems_of(home.config_file, text, os.environ)
    if problems:
        raise StateError(
            "its config.toml does not fit this version; nothing was imported:\n"
            + "\n".join(problems)
        )
    config = load_config(home.config_file, {"HOME": os.environ.get("HOME", "")}, {}, text=text)
    named = {
        "data.ratings_file": config.data.ratings_file,
        "data.catalogue_file": config.data.catalogue_file,
        "network.psk_file": config.network.psk_file,
        "http.cert_file": config.http.cert_file,
        "http.key_file": config.http.key_file,
    }
    for key, path in named.items():
        if path and not _will_be_there(Path(path), folder, home):
            yield f"{key} = {path} is not on this machine: change it with openfl-node config set"


def _will_be_there(path: Path, folder: Path, home: Home) -> bool:
    if path.is_relative_to(home.root):
        return (folder / path.relative_to(home.root)).is_file()
    return path.exists()


def _data_of(manifest: Manifest) -> dict[str, str]:
    """Where the data that was kept in the home itself is -> its name in the archive."""
    return {
        str(Path(manifest.root) / name): name for name in manifest.files if name.startswith("data/")
    }


def _with_new_paths(folder: Path, new_paths: Mapping[str, str]) -> Iterator[str]:
    """Have the state say where the data is now; remarks on what is not there."""
    file = Home(folder).state_file("node")
    content: Any = peek_state(file, NODE_KIND, NODE_VERSION)
    if not isinstance(content, dict) or not isinstance(content.get("data_files"), dict):
        return
    files = {
        key: new_paths.get(path, path) if isinstance(path, str) else path
        for key, path in content["data_files"].items()
    }
    write_state(file, NODE_KIND, NODE_VERSION, {**content, "data_files": files})
    data = files.get("ratings_file")
    if isinstance(data, str) and data not in new_paths.values() and not Path(data).exists():
        yield f"its data is not here (it was {data}): start it with --data PATH"


def _require_empty(root: Path) -> None:
    try:
        there = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StateError(f"{root}: {reason(error)}") from error
    if there:
        raise StateError(
            f"{root} is not empty ({there[0]}): import into a new home, with --home DIR"
        )


@contextmanager
def _folder_beside(root: Path) -> Iterator[Path]:
    """A new folder on the same disk, which is gone after the block unless it was renamed."""
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".import", dir=root.parent))
    except OSError as error:
        raise StateError(f"{root.parent}: {reason(error)}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """A new file (mode 0600) that takes the place of `target` once the block has ended well."""
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".tmp", dir=target.absolute().parent
        )
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise StateError(f"{target}: cannot be written: {reason(error)}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
