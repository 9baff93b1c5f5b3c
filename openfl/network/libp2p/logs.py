"""Where py-libp2p's log goes: into ours, one level down, without its false alarms."""

from __future__ import annotations

import logging

from libp2p.network.connection import swarm_connection

log = logging.getLogger(__name__)


def quieten_logging() -> None:
    """For the whole process. Once is enough; again changes nothing."""
    take_its_log()
    name_its_nameless_logger()


def take_its_log() -> None:
    """Defect log-on-stderr: through the live view, that is."""
    root = logging.getLogger("libp2p")
    root.propagate = False
    if not any(isinstance(handler, _Demote) for handler in root.handlers):
        root.addHandler(_Demote())


def name_its_nameless_logger() -> None:
    """Defect log-at-the-root."""
    swarm_connection.logging = logging.getLogger("libp2p.network.swarm_connection")


def is_false_alarm(message: str) -> bool:
    """Defect log-false-alarm: the normal end of a DHT stream."""
    return message.rstrip().endswith("Failed to read DHT message from stream:")


class _Demote(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if is_false_alarm(message):
            return
        level = logging.INFO if record.levelno >= logging.CRITICAL else logging.DEBUG
        log.log(level, "%s: %s", record.name, message)
