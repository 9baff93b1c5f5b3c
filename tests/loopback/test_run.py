"""`openfl.run`: a node in a thread, for programs that wait."""

from __future__ import annotations

import asyncio
import csv
import os
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
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import environment

Settings = dict[str, Any]


def ratings(file: Path, users: range) -> Path:
    """Made up: 20 songs, of which everybody has rated all but two."""
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["user_id", "song_id", "rating"])
        for user in users:
            left_out = (user % 20, (user + 7) % 20)
            songs = (song for song in range(20) if song not in left_out)
            rows.writerows([f"u{user}", f"s{song}", 1 + (user * song) % 5] for song in songs)
    return file


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return {
        "network.host": "127.0.0.1",
        "network.mdns": False,
        "data.ratings_file": ratings(tmp_path / "ratings.csv", range(10)),
        "training": {"interval_seconds": 0.2, "alone_rounds": 0},
    }


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Have every node fail with this once it listens."""

    def prepare(error: BaseException) -> None:
        async def run(self: Node, **_: Any) -> None:
            await trio.lowlevel.checkpoint()
            raise error

        monkeypatch.setattr(Node, "run", run)

    return prepare


def until_closed(node: openfl.RunningNode) -> None:
    """Until it is, whyever."""
    assert node._finished.wait(PATIENCE_SECONDS)


def ask_to_stop(node: openfl.RunningNode) -> None:
    """As `openfl-node stop` does."""
    node._look(lambda inner: inner.request_stop())


# --- one node -------------------------------------------------------------------------------------


def test_a_script_waits_asks_and_listens_and_nothing_is_left(settings: Settings) -> None:
    told: list[openfl.NodeEvent] = []
    settings["training"]["rounds"] = 2
    with openfl.run(settings, on_event=told.append) as node:
        assert node.home.is_dir()
        assert node.temporary_home
        events = node.events(timeout=PATIENCE_SECONDS)
        seen = node.wait_done(PATIENCE_SECONDS)
        assert (seen.phase, seen.round, seen.group_name) == ("done", 2, "music")
        kinds = [next(events).kind for _ in range(3)]
        assert "round" in kinds
        for user in (None, "u0"):
            answer = node.recommend(user, top=2)
            assert (answer.user, answer.kind) == ("u0", "known")
            assert {item.song_id for item in answer.items} == {"s0", "s7"}
        assert node.recommend("nobody", top=3).kind == "popular"
        assert len(node.similar("s1", top=3).items) == 3
        assert [group.mine for group in node.groups()] == [True]
        with pytest.raises(openfl.GroupError, match="no group 'jazz' is known"):
            node.switch("jazz")
        assert node.found_group("jazz", pin=True).name == "jazz"
        jazz = node.wait(lambda seen: seen.group_name == "jazz", PATIENCE_SECONDS)
        assert jazz.switching.pinned
        with pytest.raises(TimeoutError, match=r'not so after 0 s: group "jazz", \w+, round'):
            node.wait(lambda seen: len(seen.members) > 1, timeout=0)
        with pytest.raises(ZeroDivisionError):
            node.wait(lambda seen: 1 / 0)
    assert not node.home.exists()
    assert [event.kind for event in told][:2] == ["temporary-home", "listening"]
    assert node.snapshot().phase == "stopped"
    assert node.snapshot().group_name == "jazz"
    assert "closed" in repr(node)
    assert [*node.events()] == []
    assert "switched" in [event.kind for event in events], "what was told before can still be taken"
    node.stop()  # again: nothing happens
    with pytest.raises(openfl.NotRunningError, match="closed"):
        node.groups()


def test_a_home_is_kept_and_the_next_run_is_the_same_peer(
    settings: Settings, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    config = openfl.load_config(settings)
    with openfl.run(config, home) as node:
        first = node.wait(lambda seen: seen.round >= 2, PATIENCE_SECONDS)
        with pytest.raises(openfl.StateError, match="another node"):
            openfl.run(config, str(home))
    with openfl.run(config, str(home)) as node:
        again = node.wait(lambda seen: seen.round > first.round, PATIENCE_SECONDS)
        node.leave()
    assert again.peer_id == first.peer_id
    assert not node.temporary_home
    assert home.is_dir()
    assert not [*(home / "state").glob(f"{again.group_id}*")], "what it taught is withdrawn"


def test_what_keeps_a_node_from_starting_is_raised_by_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(openfl.ConfigError, match="did you mean"):
        openfl.run({"training.round": 3})
    with pytest.raises(openfl.DataError, match=r"none\.csv"):
        openfl.run({**settings, "data.ratings_file": tmp_path / "none.csv"}, tmp_path / "home")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with pytest.raises(openfl.DataError, match=r"none\.csv"):
        openfl.run({**settings, "data.ratings_file": tmp_path / "none.csv"})
    assert [*(tmp_path / "temporary").iterdir()] == [], "no temporary home is left"


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


# --- from where it is asked -----------------------------------------------------------------------


def test_several_nodes_in_one_process_learn_together_and_any_thread_may_ask(
    settings: Settings, tmp_path: Path
) -> None:
    settings["training"]["wait_for_members"] = 2
    with openfl.run(settings, tmp_path / "a") as a:
        more = {
            "data.ratings_file": ratings(tmp_path / "more.csv", range(5, 15)),
            "network.bootstrap": [a.snapshot().multiaddrs[0]],
        }
        with openfl.run({**settings, **more}, tmp_path / "b") as b:
            rounds: list[int] = []

            def look(node: openfl.RunningNode) -> None:
                seen = node.wait(
                    lambda seen: len(seen.members) == 2 and seen.round >= 2, PATIENCE_SECONDS
                )
                rounds.append(seen.round)
                assert node.groups()

            threads = [threading.Thread(target=look, args=(node,)) for node in (a, b, a, b)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(rounds) == 4
            assert a.snapshot().group_id == b.snapshot().group_id


def test_whoever_waits_is_told_when_the_node_is_stopped_elsewhere(settings: Settings) -> None:
    with openfl.run(settings) as node:
        events = node.events()
        results: list[object] = []

        def wait() -> None:
            try:
                results.append(node.wait(lambda seen: False))
            except openfl.NotRunningError as error:
                results.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        done = threading.Thread(target=lambda: results.append(node.wait_done()))
        done.start()
        assert next(events)
        ask_to_stop(node)
        waiting.join()
        done.join()
        assert {type(result) for result in results} == {
            openfl.NotRunningError,
            openfl.NodeSnapshot,
        }
        for _ in events:
            pass  # it ends
        until_closed(node)


def test_inside_asyncio_it_is_asked_directly_or_from_a_thread(settings: Settings) -> None:
    async def main() -> tuple[str, int]:
        # As a notebook does: a loop runs in this thread, and waits.
        with openfl.run(settings) as node:
            here = node.snapshot().group_name
            seen = await asyncio.to_thread(
                node.wait, lambda seen: seen.round >= 1, PATIENCE_SECONDS
            )
            first = await asyncio.to_thread(next, node.events())
            assert first.kind
            return here, seen.round

    group, reached = asyncio.run(main())
    assert group == "music"
    assert reached >= 1


def test_inside_trio_it_says_what_to_use_instead(settings: Settings) -> None:
    async def main() -> None:
        openfl.run(settings)

    with pytest.raises(openfl.UsageError, match=r"use openfl\.open_node"):
        trio.run(main)


def test_asking_from_on_event_is_an_error_and_no_deadlock(settings: Settings) -> None:
    said: list[str] = []

    def tell(event: openfl.NodeEvent) -> None:
        if event.kind == "round" and nodes and not said:
            for ask in (nodes[0].snapshot, nodes[0].stop):
                with pytest.raises(openfl.UsageError) as caught:
                    ask()
                said.append(str(caught.value))

    nodes: list[openfl.RunningNode] = []
    with openfl.run(settings, on_event=tell) as node:
        nodes.append(node)
        node.wait(lambda seen: bool(said), PATIENCE_SECONDS)
    assert {line.split(":")[0] for line in said} == {"on_event must not ask the node"}


def test_an_iterator_that_is_slow_is_told_what_it_missed(settings: Settings) -> None:
    with openfl.run(settings) as node:
        slow = node.events(kept=1)
        node.wait(lambda seen: seen.round >= 2, PATIENCE_SECONDS)
        missed = next(slow)
        assert missed.kind == "events-missed"
        assert missed.data["missed"] >= 1
        with pytest.raises(ValueError, match="at least 1"):
            node.events(kept=0)
    assert len([*slow]) <= 2, "the one that was kept, and how many were not"


def test_waiting_for_an_event_may_end_before_one_comes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(self: Node, **_: Any) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Node, "run", run)
    with openfl.run(settings) as node:
        events = node.events(timeout=0.01)
        with pytest.raises(TimeoutError, match=r"no event within 0\.01 s"):
            next(events)


def test_a_program_that_ends_without_stopping_its_node_leaves_it_saved(
    settings: Settings, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    program = (
        "import openfl\n"
        f"settings = {{'data.ratings_file': {str(settings['data.ratings_file'])!r},"
        " 'network.host': '127.0.0.1', 'network.mdns': False}\n"
        f"node = openfl.run(settings, {str(home)!r})\n"
        "node.wait(lambda seen: seen.round >= 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    from openfl.app.offline import offline_snapshot

    saved = offline_snapshot(home)
    assert saved is not None
    assert saved.phase == "stopped"
