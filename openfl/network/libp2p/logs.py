"""Where py-libp2p's log goes."""

from __future__ import annotations

import logging

from libp2p.network.connection import swarm_connection

log = logging.getLogger(__name__)


def quieten_logging() -> None:
    """Send py-libp2p's log to ours, one level down, without its false alarms.

    Defects: its root logger has no handler, so warnings go to stderr, through the live view;
    `swarm_connection.py` logs to the root logger, which installs a handler there; and the normal
    end of a DHT stream is a WARNING with an empty reason.
    """
    root = logging.getLogger("libp2p")
    root.propagate = False
    if not any(isinstance(handler, _Demote) for handler in root.handlers):
        root.addHandler(_Demote())
    swarm_connection.logging = logging.getLogger("libp2p.network.swarm_connection")


class _Demote(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.rstrip().endswith("Failed to read DHT message from stream:"):
            return
        level = logging.INFO if record.levelno >= logging.CRITICAL else logging.DEBUG
        log.log(level, "%s: %s", record.name, message)
