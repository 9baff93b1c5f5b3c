"""Nodes of one group that write their ids alike, or not: what their owners are told."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.contribution import plain_key
from openfl.core.telemetry import ItemsView, NodeEvent, NodeSnapshot
from openfl.learning.classification.workload import ClassificationWorkload
from openfl.learning.factorization import item_rows
from openfl.learning.rating.workload import RatingWorkload
from openfl.network.simulated.internet import seed_trio
from tests.node_rig import HURRIED, Village, Villager, village

ROUNDS = replace(HURRIED, rounds=3)
SONGS = 30


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


def listeners(folder: Path, number: int, write: Callable[[int], str]) -> RatingWorkload:
    """Twelve listeners, who rated all songs but `number`; `write`: how a song's id is written."""
    lines = ["user_id,song_id,rating"]
    lines += [
        f"u{number}-{write(user)},{write(song)},{1 + (user * song + number) % 5}"
        for user in range(12)
        for song in range(SONGS)
        if song != number
    ]
    path = folder / f"{number}.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return RatingWorkload.load(load_config(None, {}, {"data.ratings_file": str(path)}))


async def two_nodes(
    town: Village, folder: Path, first: Callable[[int], str], second: Callable[[int], str]
) -> list[Villager]:
    nodes = [
        await town.start(listeners(folder, n, write), settings=ROUNDS)
        for n, write in enumerate((first, second))
    ]
    await town.all_done()
    return nodes


def told(node: Villager) -> list[NodeEvent]:
    return [event for event in node.events if event.kind == "items-known"]


async def test_a_node_whose_ids_nobody_else_has_is_told_so_once_and_in_what_they_differ(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await two_nodes(town, tmp_path, str, "{}.0".format)
        for node, words in zip(nodes, ("with", "without"), strict=True):
            (event,) = told(node)
            assert event.level == "warning"
            assert event.message == (
                "0 of your 29 songs are among the group's 29: are the ids written alike?"
                f' (28 would be, written {words} ".0" at the end)'
            )
            assert node.node.snapshot().items == ItemsView("songs", 29, 0, 29)


async def test_nodes_that_write_their_ids_alike_are_told_how_many_the_group_knows(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        for node in await two_nodes(town, tmp_path, str, str):
            (event,) = told(node)
            assert (event.level, event.message) == (
                "info",
                "28 of your 29 songs are among the group's 29",
            )
            snapshot = node.node.snapshot()
            assert NodeSnapshot.from_plain(snapshot.to_plain()).items == snapshot.items


async def test_ids_of_no_known_likeness_are_asked_about(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await two_nodes(town, tmp_path, str, "track-{}".format)
        assert told(nodes[0])[0].message.endswith("are the ids written alike?")


async def test_accents_in_either_encoding_are_one_song(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    def composed(song: int) -> str:
        return f"caf\u00e9 {song}"

    async with village() as town:
        nodes = await two_nodes(
            town, tmp_path, composed, lambda n: unicodedata.normalize("NFD", composed(n))
        )
        assert [node.node.snapshot().items for node in nodes] == [
            ItemsView("songs", 29, 28, 29)
        ] * 2


async def test_a_node_alone_is_told_nothing_of_the_kind(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        node = await town.start(listeners(tmp_path, 0, str), settings=ROUNDS)
        await town.all_done()
        assert told(node) == []
        assert node.node.snapshot().items is None


async def test_labels_that_nobody_else_has_are_told_like_ids(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    rng = np.random.default_rng(0)
    async with village() as town:
        nodes = []
        for number, names in enumerate((("yes", "no"), ("Yes", "No"))):
            path = tmp_path / f"{number}.csv"
            rows = [f"{rng.normal():.3f},{names[n % 2]}" for n in range(60)]
            path.write_text("\n".join(["x,label", *rows]) + "\n")
            settings = {"data.ratings_file": str(path), "task.kind": "classification"}
            workload = ClassificationWorkload.load(load_config(None, {}, settings))
            nodes.append(await town.start(workload, settings=ROUNDS))
        await town.all_done()
        assert told(nodes[1])[0].message == (
            "0 of your 2 classes are among the group's 2: are the labels written alike?"
            " (2 would be, written in lower case)"
        )


async def test_a_home_of_the_keys_before_goes_on_and_its_old_rows_go(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was saved under keys of ids in normal form D, as they stood in the file then."""

    def decomposed(song: int) -> str:
        return f"cafe\u0301 {song}"

    async with village() as town:
        with monkeypatch.context() as before:
            before.setattr(
                item_rows,
                "item_key",
                lambda i, bits=64: plain_key(unicodedata.normalize("NFD", i), bits),
            )
            old = await town.start(listeners(tmp_path, 0, decomposed), settings=ROUNDS)
            await town.all_done()
            await town.stop(old)
        (saved,) = old.storage.saved.values()
        assert saved.items
        workload = listeners(tmp_path, 0, decomposed)
        again = await town.start(
            workload, resume=saved, number=0, bootstrap=(), settings=replace(ROUNDS, rounds=2)
        )
        assert again.failed is None
        await town.all_done()
        task = workload.task(again.replica.charter)
        assert np.array_equal(again.replica.view().keys("items"), task.own_items.keys)
