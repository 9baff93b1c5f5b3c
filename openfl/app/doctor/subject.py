"""`Subject`: the node that is looked at, as far as it can be seen from outside without changing
anything: its home, its configuration, and what it says of itself when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openfl.app import control_socket
from openfl.app.doctor.probes import Probes
from openfl.app.home_folder import is_locked
from openfl.app.resuming import group_to_resume, with_remembered_data, with_remembered_kind
from openfl.config import Config, load_config
from openfl.core.contribution import Charter
from openfl.core.errors import ConfigError, NotRunningError, StateError, UserError
from openfl.core.reach import ReachView
from openfl.core.telemetry import NodeSnapshot
from openfl.storage.home import Home
from openfl.storage.last_run import NODE_KIND, NODE_VERSION, SNAPSHOT_KIND, SNAPSHOT_VERSION
from openfl.storage.state_files import peek_state

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Subject:
    """`config`: all defaults where it has `config_problems`. `snapshot`: of the running node, else
    what it last saved; None: neither. `silent`: why a node that holds the home does not answer."""

    home: Home
    config: Config
    config_file: Path | None = None
    config_problems: tuple[str, ...] = ()
    running: bool = False
    silent: str = ""
    snapshot: NodeSnapshot | None = None
    reach: ReachView | None = None
    """None when no node runs, or one of a version that does not tell."""
    probes: Probes = field(default_factory=Probes)

    @property
    def is_new(self) -> bool:
        """Whether no node has ever been here."""
        return not self.home.root.exists() or (
            self.snapshot is None and not self.home.identity_file.exists()
        )

    @property
    def kept_port(self) -> int:
        """The port of the last run, which the next one keeps; 0: none."""
        port = _node_state(self.home).get("port")
        return port if isinstance(port, int) and 0 < port < 65536 else 0

    @property
    def resumed(self) -> Charter | None:
        """The group that the next start goes on in; None: none."""
        return group_to_resume(self.config, self.home)


def look(
    home: Path,
    config_file: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    probes: Probes | None = None,
) -> Subject:
    """The node in `home`, configured by these layers. Nothing is raised for what is wrong there:
    that is for the checks to tell."""
    place = Home(home)
    problems: tuple[str, ...] = ()
    try:
        config = load_config(config_file, environ, overrides)
    except ConfigError as error:
        problems = tuple(line for line in str(error).splitlines() if line.strip())
        config = load_config(None, {}, {})
    config = with_remembered_kind(with_remembered_data(config, place), place)
    subject = Subject(
        place, config, config_file, problems, probes=probes if probes is not None else Probes()
    )
    return asked(subject)


def asked(subject: Subject) -> Subject:
    """`subject` with what its node says of itself, else what it last saved."""
    home = subject.home.root
    try:
        plain = control_socket.call(home, "snapshot", ANSWER_SECONDS)
        shot = NodeSnapshot.from_plain(plain)
    except (NotRunningError, StateError, KeyError, TypeError, ValueError, AttributeError) as error:
        silent = str(error) if _is_held(home) else ""
        return replace(subject, silent=silent, snapshot=_saved(subject.home))
    return replace(subject, running=True, snapshot=shot, reach=_reach(home))


def _is_held(home: Path) -> bool:
    try:
        return is_locked(home)
    except StateError:
        return False


def _reach(home: Path) -> ReachView | None:
    try:
        return ReachView.from_plain(control_socket.call(home, "reach", ANSWER_SECONDS))
    except (UserError, KeyError, TypeError, ValueError):
        return None  # of a version that knows no such command


def _saved(home: Home) -> NodeSnapshot | None:
    """Not `last_snapshot`, which moves a damaged one aside."""
    plain = peek_state(home.state_file("last"), SNAPSHOT_KIND, SNAPSHOT_VERSION)
    try:
        return None if plain is None else replace(NodeSnapshot.from_plain(plain), resources=None)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _node_state(home: Home) -> Mapping[str, Any]:
    content = peek_state(home.state_file("node"), NODE_KIND, NODE_VERSION)
    return content if isinstance(content, dict) else {}
