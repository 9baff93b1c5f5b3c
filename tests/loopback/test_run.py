"""`openfl.run`: a node in a thread, for programs that wait."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

import openfl
from openfl.node import Node
from tests.loopback.run_rig import Settings, ask_to_stop, ratings, settings, until_closed
from tests.patience import PATIENCE_SECONDS

__all__ = ["settings"]


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


def test_a_node_that_was_closed_says_that_it_has_not_left(
    settings: Settings, tmp_path: Path
) -> None:
    with openfl.run(settings, tmp_path / "home") as node:
        seen = node.wait(lambda seen: seen.round >= 1, PATIENCE_SECONDS)
    with pytest.raises(openfl.NotRunningError, match="closed before it could leave"):
        node.leave()
    assert [*(tmp_path / "home" / "state").glob(f"{seen.group_id}*")]
    with openfl.run(settings, tmp_path / "home") as node:
        node.wait(lambda seen: bool(seen.group_id), PATIENCE_SECONDS)
        node.leave()
        node.leave()  # again: nothing happens
    assert not [*(tmp_path / "home" / "state").glob(f"{seen.group_id}*")]


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
