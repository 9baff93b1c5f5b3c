"""Where commands get their answers: the running node, else what it saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError, StateError
from openfl_cli import options

if TYPE_CHECKING:
    from openfl.core.telemetry import NodeSnapshot


def running_node(home: Path, command: str, timeout_seconds: float = 10.0, **arguments: Any) -> Any:
    """The running node's answer; NotRunningError when none answers in `home`."""
    from openfl.app import control_socket as control

    return control.call(home, command, timeout_seconds=timeout_seconds, **arguments)


def running_snapshot(home: Path, timeout_seconds: float = 10.0) -> NodeSnapshot:
    """How the running node is; NotRunningError as `running_node`. StateError: it is of a version
    whose words are not known here, as after an upgrade."""
    from openfl.core.telemetry import NodeSnapshot

    plain = running_node(home, "snapshot", timeout_seconds)
    try:
        return NodeSnapshot.from_plain(plain)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StateError(
            f"the node that runs in {home} is of another version of OpenFL than this command:"
            f" openfl-node restart{options.home_option(home)}"
        ) from None


def snapshot(home: Path) -> tuple[NodeSnapshot, bool]:
    """(snapshot, whether the node runs). NotRunningError when nothing was ever saved either."""
    try:
        return running_snapshot(home), True
    except NotRunningError as error:
        from openfl.app import runtime

        saved = runtime.offline_snapshot(home)
        if saved is None:
            raise
        options.note(f"{error}; this is what it last saved")
        return saved, False
