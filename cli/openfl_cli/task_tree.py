"""What every task of this process is doing: for the report of a node that seems to hang.

`kill -USR1 PID` has a running node write it into node.log; the node goes on.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

MOST_LINES = 400
MOST_FRAMES = 5
END = "(end of tasks)"
"""The last line of what is written at the signal."""


def task_tree() -> str:
    """A line for each trio task of this thread, below its parent: its name, and the innermost calls
    it waits in. At most `MOST_LINES`; says so where no tasks run."""
    import trio

    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        return "no tasks run in this thread"
    lines = [] if root is None else list(_lines(root, 0))
    left_out = len(lines) - MOST_LINES
    return "\n".join(lines[:MOST_LINES] + [f"... and {left_out} more"] * (left_out > 0))


def _lines(task: Any, depth: int) -> Iterator[str]:
    frames = list(task.iter_await_frames())[-MOST_FRAMES:]
    calls = " > ".join(f"{frame.f_code.co_qualname}:{line}" for frame, line in frames)
    yield f"{'  ' * depth}{task.name}: {calls or 'running'}"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _lines(child, depth + 1)


@contextlib.contextmanager
def told_at_signal() -> Iterator[None]:
    """While open, SIGUSR1 logs the tasks of the main thread. Ignored at the start, it stays so;
    Windows has none."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None or signal.getsignal(number) is signal.SIG_IGN:
        yield
        return

    def tell(*_: object) -> None:
        # A message is one line of the log, and bounded.
        for line in ("tasks at SIGUSR1", *task_tree().splitlines(), END):
            logging.getLogger("openfl.node").warning("%s", line)

    before = signal.signal(number, tell)
    try:
        yield
    finally:
        signal.signal(number, before)
