"""Named points at which a test can end a node as by SIGKILL: one at every step of a move.

A crash between two steps must leave the node a member of exactly one group. Tests name the point
in the environment variable `OPENFL_FAULT_POINT` of a real process; otherwise nothing ever happens
here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

VARIABLE = "OPENFL_FAULT_POINT"

MOVE_POINTS = (
    "move-decided",
    "move-fetched",
    "move-saved",
    "move-committed",
    "move-subscribed",
    "move-left",
    "move-unsubscribed",
    "move-forgotten",
    "move-finished",
)
"""In the order in which a move passes them."""


def kill_this_process() -> None:
    """SIGKILL: nothing is closed or saved, as in a power cut."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultPoints:
    """`reach(name)` calls `act` when `name` is the point to fail at; "" is never reached."""

    def __init__(self, fail_at: str = "", act: Callable[[], None] = kill_this_process) -> None:
        """ValueError when there is no such point: a test that waits for it would prove nothing."""
        if fail_at and fail_at not in MOVE_POINTS:
            raise ValueError(f"{VARIABLE}: there is no point {fail_at!r}")
        self._fail_at = fail_at
        self._act = act

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> FaultPoints:
        """The point to end at is the value of `VARIABLE`; none when it is not set."""
        return cls(environ.get(VARIABLE, ""))

    def reach(self, name: str) -> None:
        """End here when this is the point; else nothing."""
        if name == self._fail_at:
            self._act()
