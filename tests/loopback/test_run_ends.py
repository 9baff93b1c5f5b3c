"""How a node of `openfl.run` ends: it fails, Ctrl-C is pressed, the program ends without it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import trio

import openfl
from openfl.app import blocking
from openfl.app.blocking import RunningNode
from openfl.node import Node
from tests.loopback.run_rig import Settings, settings, until_closed
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import environment

__all__ = ["settings"]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Have every node fail with this once it listens."""

    def prepare(error: BaseException) -> None:
        async def run(self: Node, **_: Any) -> None:
            await trio.lowlevel.checkpoint()
            raise error

        monkeypatch.setattr(Node, "run", run)

    return prepare


# --- failing --------------------------------------------------------------------------------------


def test_what_a_node_fails_with_is_raised_by_calls_and_told_once(
    settings: Settings, fails: Callable[[BaseException], None]
) -> None:
    error = openfl.GroupError("does not fit")
    fails(error)
    with openfl.run(settings) as node:
        until_closed(node)
        for ask in (node.snapshot, node.groups, node.events, node.wait_done):
            with pytest.raises(openfl.GroupError) as caught:
                ask()
            assert caught.value is error
    assert "failed" in repr(node)


def test_what_a_node_fails_with_is_raised_at_the_end_of_the_block(
    settings: Settings, fails: Callable[[BaseException], None]
) -> None:
    error = openfl.GroupError("does not fit")
    fails(error)
    with pytest.raises(openfl.GroupError) as caught, openfl.run(settings) as node:
        until_closed(node)
    assert caught.value is error


def test_a_waiting_call_is_told_of_the_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, now = openfl.GroupError("does not fit"), trio.Event()

    async def run(self: Node, **_: Any) -> None:
        await now.wait()
        raise error

    monkeypatch.setattr(Node, "run", run)
    with openfl.run(settings) as node:
        threading.Timer(0.1, lambda: node._token.run_sync_soon(now.set)).start()
        with pytest.raises(openfl.GroupError) as caught:
            node.wait_done(PATIENCE_SECONDS)
    assert caught.value is error


def test_so_it_is_by_a_call_while_the_home_is_being_removed(
    settings: Settings, fails: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = openfl.GroupError("does not fit")
    fails(error)
    asked, removing = threading.Event(), threading.Event()

    def remove(folder: Path) -> None:
        removing.set()
        assert asked.wait(PATIENCE_SECONDS)
        original(folder)

    class Asked(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            asked.set()
            return super().result(timeout)

    original = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    node = openfl.run(settings)
    assert removing.wait(PATIENCE_SECONDS)
    monkeypatch.setattr(blocking, "Future", Asked)
    try:
        with pytest.raises(openfl.GroupError) as caught:
            node.groups()
    finally:
        asked.set()
        until_closed(node)
    assert caught.value is error


def test_both_come_out_when_the_block_fails_and_so_does_the_node(
    settings: Settings, fails: Callable[[BaseException], None]
) -> None:
    error, mine = openfl.GroupError("does not fit"), ValueError("mine")
    fails(error)

    def use() -> None:
        with openfl.run(settings) as node:
            until_closed(node)
            raise mine

    with pytest.raises(ExceptionGroup) as caught:
        use()
    assert caught.value.exceptions == (mine, error)


def test_what_the_block_raises_comes_out_and_the_node_is_closed(settings: Settings) -> None:
    mine = ValueError("mine")

    def use() -> None:
        with openfl.run(settings) as node:
            nodes.append(node)
            raise mine

    nodes: list[openfl.RunningNode] = []
    with pytest.raises(ValueError, match="mine") as caught:
        use()
    assert caught.value is mine
    assert nodes[0].snapshot().phase == "stopped"


def test_ctrl_c_while_waiting_closes_the_node(settings: Settings) -> None:
    def tell(event: openfl.NodeEvent) -> None:
        if event.kind == "round":
            begun.set()

    def press() -> None:
        begun.wait(PATIENCE_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    def use() -> None:
        with openfl.run(settings, on_event=tell) as node:
            nodes.append(node)
            keyboard.start()
            node.wait_done(PATIENCE_SECONDS)

    nodes: list[openfl.RunningNode] = []
    begun, keyboard = threading.Event(), threading.Thread(target=press)
    with pytest.raises(KeyboardInterrupt):
        use()
    keyboard.join()
    assert nodes[0].snapshot().phase == "stopped"


def test_ctrl_c_while_it_starts_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    def tell(event: openfl.NodeEvent) -> None:
        if event.kind == "temporary-home":  # before anything is opened
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        openfl.run(settings, on_event=tell)
    assert [*(tmp_path / "temporary").iterdir()] == []
    assert "openfl node" not in {thread.name for thread in threading.enumerate()}


def test_ctrl_c_while_it_imports_leaves_no_folder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(blocking, "set_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        openfl.run(settings)
    assert [*(tmp_path / "temporary").iterdir()] == []


def test_ctrl_c_before_it_has_an_event_loop_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Future[None]):
        def result(self, timeout: float | None = None) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(blocking, "Future", Interrupted)
    in_thread, go_on = RunningNode._in_thread, threading.Event()

    def late(self: RunningNode) -> None:
        go_on.wait(PATIENCE_SECONDS)
        in_thread(self)

    def give_up(self: RunningNode) -> None:
        first(self)
        go_on.set()

    first = RunningNode._give_up
    monkeypatch.setattr(RunningNode, "_in_thread", late)
    monkeypatch.setattr(RunningNode, "_give_up", give_up)
    with pytest.raises(KeyboardInterrupt):
        openfl.run(settings)


# --- the end of the program -----------------------------------------------------------------------

AT_THE_END = """
import atexit
atexit.register(lambda: print(repr(node).split()[1]))
"""
"""Called when all else of `atexit` has been."""
NO_MORE_THREADS = """
import threading
import trio._core._thread_cache
trio._core._thread_cache.IDLE_TIMEOUT = 0
def start(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
atexit.register(setattr, threading.Thread, "start", start)
"""
"""What Python 3.12 does; and no thread is kept that would be at hand then."""
IN_A_THREAD = """
seen = node.snapshot().round
def use():
    threading.main_thread().join()
    node.wait(lambda now: now.round > seen)
    print("used")
threading.Thread(target=use).start()
"""


@pytest.mark.parametrize("used_by_a_thread", [False, True])
def test_a_program_that_ends_without_stopping_its_node_leaves_it_saved(
    used_by_a_thread: bool, settings: Settings, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    program = (
        f"{AT_THE_END}import openfl\nopenfl.run\n{NO_MORE_THREADS}"
        f"settings = {{'data.ratings_file': {str(settings['data.ratings_file'])!r},"
        " 'network.host': '127.0.0.1', 'network.mdns': False,"
        " 'training.interval_seconds': 0.2, 'training.alone_rounds': 0}\n"
        f"node = openfl.run(settings, {str(home)!r})\n"
        "node.wait(lambda seen: seen.round >= 1)\n"
        f"{IN_A_THREAD if used_by_a_thread else ''}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    printed = ["used"] if used_by_a_thread else []
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [*printed, "closed;"], "")
    from openfl.app.offline import offline_snapshot

    saved = offline_snapshot(home)
    assert saved is not None
    assert saved.phase == "stopped"
