"""Where commands get their answers: the running node, else what it saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError
from openfl_cli import options

if TYPE_CHECKING:
    from openfl.core.telemetry import NodeSnapshot


def running_node(home: Path, command: str, timeout_seconds: float = 10.0, **arguments: Any) -> Any:
    """The running node's answer; NotRunningError when none answers in `home`."""
    from openfl.app import control_socket as control

    return control.call(home, command, timeout_seconds=timeout_seconds, **arguments)


def snapshot(home: Path) -> tuple[NodeSnapshot, bool]:
    """(snapshot, whether the node runs). NotRunningError when nothing was ever saved either."""
    from openfl.core.telemetry import NodeSnapshot

    try:
        return NodeSnapshot.from_plain(running_node(home, "snapshot")), True
    except NotRunningError as error:
        from openfl.app import runtime

        saved = runtime.offline_snapshot(home)
        if saved is None:
            raise
        options.note(f"{error}; this is what it last saved")
        return saved, False
