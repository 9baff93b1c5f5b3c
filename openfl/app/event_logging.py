"""Events for an owner who gave nobody to tell them to: they go to Python's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openfl.core.names import is_unseen

if TYPE_CHECKING:
    from openfl.core.telemetry import NodeEvent

log = logging.getLogger("openfl.events")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def log_event(event: NodeEvent) -> None:
    """To the logger `openfl.events`, at the level of the event, which is also the record's
    `node_event`. A program that sets up no logging sees warnings and errors on stderr: that is what
    Python does. What could steer a terminal is replaced, for parts of a message may come from
    strangers."""
    level = LEVELS[event.level]
    if log.isEnabledFor(level):
        message = "".join("\ufffd" if is_unseen(sign) else sign for sign in event.message)
        log.log(level, "%s", message, extra={"node_event": event})
