"""What holds for every test; tests/README.md says what it asks of a test."""

from __future__ import annotations

import functools
import inspect
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tests import leftovers, skips
from tests.leftovers import nothing_left, nothing_orphaned
from tests.situation import situation

__all__ = ["nothing_left", "nothing_orphaned"]

END_SECONDS = 60.0
"""For an async test that ran into its timeout to close its nodes."""
FIRST = ("netns", "interop", "loopback", "hostile")
"""Folders of tests that wait for processes more than they compute. They begin first, so that no
core waits for the last of them at the end."""
_scope = pytest.StashKey[tuple[trio.CancelScope, trio.lowlevel.TrioToken]]()


def heed_signals() -> None:
    """As in the foreground of a terminal. In a script's background job, or below nohup, some are
    ignored, and so they would be by every node that a test starts."""
    for name, handler in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    heed_signals()
    config.pluginmanager.register(skips, "skips")
    config.pluginmanager.register(leftovers, "leftovers")


def pytest_xdist_auto_num_workers() -> int:
    """For `--numprocesses auto`: half as many again as there are cores, since much of the suite
    waits; at most six."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return int(os.environ["PYTEST_XDIST_AUTO_NUM_WORKERS"])
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(6, cores + (cores + 1) // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first; with `--no-loadscope-reorder` xdist deals them out in this order."""
    slow: dict[Any, int] = {}
    for item in items:
        slow[item.path] = slow.get(item.path, 0) + bool(item.get_closest_marker("slow"))

    def order(item: pytest.Item) -> tuple[int, int]:
        folder = item.path.parent.name
        rank = FIRST.index(folder) if folder in FIRST else len(FIRST)
        return rank, -slow[item.path]

    items.sort(key=order)


# --- timeouts -------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Iterator[None]:
    """A timeout tells the situation. In an async test it cancels the test, which then closes what
    it has opened; an exception out of nowhere would end trio itself, and leave all of it to the
    next test."""
    done = yield
    if settings.method != "signal":
        return done
    raise_at_once: Any = signal.getsignal(signal.SIGALRM)

    def handle(number: int, frame: Any) -> None:
        item.add_report_section("call", "situation at the timeout", situation())
        running = item.stash.get(_scope, None)
        if running is None:
            raise_at_once(number, frame)
            return
        scope, token = running
        signal.signal(signal.SIGALRM, raise_at_once)
        signal.setitimer(signal.ITIMER_REAL, END_SECONDS)
        token.run_sync_soon(scope.cancel)

    signal.signal(signal.SIGALRM, handle)
    return done


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    test = getattr(item, "obj", None)
    if inspect.iscoroutinefunction(test):
        item.obj = _cancellable(item, test)  # type: ignore[attr-defined]
    return (yield)


def _cancellable(item: pytest.Item, test: Any) -> Any:
    @functools.wraps(test)
    async def run(**arguments: Any) -> None:
        with trio.CancelScope() as scope:
            item.stash[_scope] = scope, trio.lowlevel.current_trio_token()
            try:
                await test(**arguments)
            finally:
                del item.stash[_scope]
        if scope.cancelled_caught:
            raise TimeoutError("the test did not end within its timeout")

    return run
