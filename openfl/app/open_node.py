"""`open_node`: from a configuration and a home folder to a running node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from openfl.app.event_logging import log_event
from openfl.app.lazy_imports import set_up
from openfl.app.one_error import is_cancelled, one_error

if TYPE_CHECKING:
    from openfl.config import Config
    from openfl.core.telemetry import NodeEvent
    from openfl.learning.workload import Workload
    from openfl.node import Node
    from openfl.node.fault_points import FaultPoints


@contextlib.asynccontextmanager
async def open_node(
    config: Config,
    home: str | os.PathLike[str],
    on_event: Callable[[NodeEvent], None] | None = None,
    workload: Workload | None = None,
    *,
    pin: bool | None = None,
    faults: FaultPoints | None = None,
) -> AsyncIterator[Node]:
    """A running node for as long as the block is open; it is saved and closed at the end.

    The block is entered as soon as the node listens; joining goes on in the background. `home`: the
    node's folder, made when it is not there. `on_event` is called, in trio's thread, with all
    that the owner should know, and must not block; without it, that goes to Python's logging
    (`openfl.events`), which shows warnings and errors.

    What the block raises comes out as it is: the same exception, not in a group; so does what
    `on_event` raises, which ends the node. When the node
    cannot start or go on, the block is cancelled and one UserError (DataError, NetworkError,
    StateError, GroupError...) comes out. Only when both happen, the block raises and the node fails
    (as when it cannot save at the end), is it an ExceptionGroup of the block's exception and the
    node's. A bug in the node comes out in the groups of the nurseries it fell through.

    A configuration without a ratings file means the one the node last ran with. `workload` replaces
    the ratings named in the configuration. `pin`: whether the node is to stay in its group from now
    on; None: as it was. `faults`: for tests.
    """
    set_up()
    # Here, not above: it imports what the line before has postponed parts of.
    from openfl.app.running_node import running_node

    tell = log_event if on_event is None else on_event
    of_owner: list[BaseException] = []

    def told(event: NodeEvent) -> None:
        try:
            tell(event)
        except BaseException as error:
            of_owner.append(error)
            raise

    with one_error(of_owner) as of_block:
        async with running_node(
            config,
            Path(home),
            told,
            workload,
            pin=pin,
            faults=faults,
        ) as node:
            try:
                yield node
            except BaseException as error:
                if not is_cancelled(error):
                    of_block.append(error)
                raise
