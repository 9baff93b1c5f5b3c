"""Named points at which a test can end a node as by SIGKILL: one at every step of a move.

A crash between two steps must leave the node a member of exactly one group. Tests name the point
in the environment variable `OPENFL_FAULT_POINT` of a real process; otherwise nothing ever happens
here.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from openfl.switching.events import MOVE_POINTS

VARIABLE = "OPENFL_FAULT_POINT"


def kill_this_process() -> None:
    """As the machine does that loses power: nothing is said, saved or closed."""
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
        """The point that a test names in the environment; ValueError when there is no such."""
        return cls(environ.get(VARIABLE, ""))

    def reach(self, name: str) -> None:
        """Act, when this is the point to fail at."""
        if name == self._fail_at:
            self._act()
