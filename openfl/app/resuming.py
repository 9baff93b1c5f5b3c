"""What a home folder remembers of earlier runs, where the configuration does not say otherwise."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from openfl.config import Config, all_settings, value_of, with_values
from openfl.config.kinds import KINDS as DESCRIPTIONS
from openfl.config.settings import Problem, Value
from openfl.core.contribution import Charter, PeerId
from openfl.core.errors import ConfigError
from openfl.core.names import name_problem, normal
from openfl.learning.kinds import KINDS
from openfl.network.base import PeerAddress
from openfl.storage import last_run
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage
from openfl.storage.remembered_peers import RememberedPeers


def load_remembered(home: Home, storage: HomeStorage) -> tuple[tuple[PeerAddress, ...], list[str]]:
    """(peers of earlier runs, problems for the owner). `storage` is told of them. StateError."""
    peers, read = RememberedPeers.load(home.peers_file, time.time())
    storage.remembered(peers)
    addresses = tuple(PeerAddress(PeerId(p.peer_id), p.multiaddrs) for p in peers.peers)
    return addresses, [] if read.problem is None else [read.problem]


def require_clear_name(config: Config) -> None:
    """ConfigError when no node may begin in a group of that name. A home that is in one already
    goes on (`openfl.core.names`)."""
    problem = name_problem(normal(config.group.name))
    if problem is not None:
        raise ConfigError(f"group.name ({config.origin('group.name')}): {problem}")


def group_asked_for(config: Config) -> str | None:
    """The name of the only group to resume; None: the one this home is in, whichever it is."""
    asked_for = config.origin("group.name").kind in ("command line", "environment")
    return config.group.name if asked_for else None


def with_remembered_kind(config: Config, home: Home) -> Config:
    """`config`; when it does not set `task.kind`, with that of the group that will be resumed."""
    if config.origin("task.kind").kind != "default":
        return config
    kind = last_run.current_task(home, group_asked_for(config))
    if kind is None or kind not in KINDS:
        return config
    return replace(config, task=replace(config.task, kind=kind))


def group_to_resume(config: Config, home: Home) -> Charter | None:
    """The group this home is in, unless another is asked for."""
    charter, asked = last_run.current_charter(home), group_asked_for(config)
    return charter if charter is None or asked in (None, charter.name) else None


def data_files(config: Config) -> dict[str, str]:
    """Where the data is and how it is read, to be kept for commands that run without the node."""
    data = config.data
    files = {"ratings_file": data.ratings_file, "catalogue_file": data.catalogue_file}
    kept = {key: str(Path(path).absolute()) for key, path in files.items() if path}
    return {**kept, **reading_settings(config)}


def with_remembered_data(config: Config, home: Home) -> Config:
    """`config`; when it names no ratings file, with the files that the node last ran with."""
    if config.data.ratings_file:
        return config
    files = last_run.data_files(home)
    remembered: dict[str, Value] = {
        "data.ratings_file": files.get("ratings_file", ""),
        "data.catalogue_file": config.data.catalogue_file or files.get("catalogue_file", ""),
    }
    settings = all_settings()
    for key in _reread():
        name = key.removeprefix("data.")
        if name in files and config.origin(key).kind == "default":
            with suppress(Problem):  # of another version
                remembered[key] = settings[key].parse(files[name])
    return with_values(config, remembered)


def reading_settings(config: Config) -> dict[str, str]:
    """How the data is read, as far as that is not as usual: to be kept with where it is, since the
    same file must be read alike the next time."""
    settings = all_settings()
    values = {key: value_of(config, key) for key in _reread()}
    return {
        key.removeprefix("data."): str(value)
        for key, value in values.items()
        if value != settings[key].default
    }


def _reread() -> list[str]:
    """The keys that say how a data file is to be read."""
    of_kinds = (name for kind in DESCRIPTIONS.values() for name in kind.reread)
    return [f"data.{name}" for name in ("skip_bad_rows", *of_kinds)]
