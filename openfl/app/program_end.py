"""Nodes in threads that a program has not stopped are saved and closed when it ends.

A node needs threads to save. Python 3.12 starts none any more by the time it calls what `atexit`
knows, so nodes are closed before: once all threads have ended that the program waits for.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from typing import Protocol

EXIT_SECONDS = 10.0
"""How long the end of a program waits for nodes that it has not stopped."""


class Closable(Protocol):
    """`openfl.app.blocking.RunningNode`, as far as it matters here."""

    _finished: threading.Event

    def _ask_to_stop(self, leave: bool) -> None: ...


_running: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_end(node: Closable) -> None:
    """Close this node at the end of the program if nobody has done so by then."""
    _running.add(node)


def _unstopped() -> list[Closable]:
    return [node for node in _running if not node._finished.is_set()]


def _close_all() -> None:
    nodes = _unstopped()
    for node in nodes:
        with contextlib.suppress(AttributeError):  # it does not listen yet
            node._ask_to_stop(leave=False)
    deadline = time.monotonic() + EXIT_SECONDS
    for node in nodes:
        node._finished.wait(max(0.0, deadline - time.monotonic()))


def _close_after_the_others() -> None:
    """In a thread of its own: other threads may use their nodes for as long as they like."""
    own = (threading.current_thread(), threading.main_thread())
    while others := [
        thread for thread in threading.enumerate() if not thread.daemon and thread not in own
    ]:
        for thread in others:
            thread.join()
    _close_all()


def _main_thread_has_ended() -> None:
    if _unstopped():
        with contextlib.suppress(RuntimeError):  # 3.12.0 and 3.12.1 start none here, either
            threading.Thread(target=_close_after_the_others, name="openfl end").start()


atexit.register(_close_all)
# What concurrent.futures uses for the same reason; without it there is still the line above.
getattr(threading, "_register_atexit", lambda call: None)(_main_thread_has_ended)
