"""The document of a node: of the running one, else of what it last saved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfl.core.errors import NotRunningError, OpenFLError
from openfl_cli import options

if TYPE_CHECKING:
    from openfl.config import Config

ANSWER_SECONDS = 60.0
"""It recommends as well, on a machine that may be slow."""
TOP = 10


def node_document(config: Config, home: Path) -> dict[str, Any]:
    """The document of the page, of the kind "node". NotRunningError: no node runs in `home`, and
    none has saved anything there. StateError: what it saved is of another version."""
    from openfl_cli.ask import running_node

    try:
        found: dict[str, Any] = running_node(home, "page", ANSWER_SECONDS)
        return found
    except NotRunningError as error:
        saved = _saved(config, home)
        if saved is None:
            raise
        options.note(f"{error}; this is what it last saved")
        return saved


def _saved(config: Config, home: Path) -> dict[str, Any] | None:
    from openfl.app import runtime
    from openfl.app.offline import offline_course
    from openfl.app.page_document import page_document

    snapshot = runtime.offline_snapshot(home)
    if snapshot is None:
        return None
    plain = {**snapshot.to_plain(), "phase": "stopped", "peers": []}
    course = offline_course(home)
    return page_document(plain, course, [], _recommendations(config, home), snapshot.time)


def _recommendations(config: Config, home: Path) -> dict[str, Any] | None:
    """None where it recommends nothing, or has nothing to recommend from."""
    from openfl.app import runtime

    try:
        found = runtime.offline_recommend(config, home, "", TOP, why=True)
    except OpenFLError:
        return None
    return found.to_plain()
