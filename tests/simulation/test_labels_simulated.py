"""Nodes that have nothing but their own history name what others taught them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.contribution import PeerId
from openfl.group.labels import Heard
from openfl.items import Label, music_key
from openfl.learning.factorization.recommend import Recommendations
from openfl.learning.implicit.workload import ImplicitWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.wire import messages as wire
from tests.node_rig import HURRIED, Village, Villager, until, village

ROUNDS = replace(HURRIED, rounds=3)
SONGS = 60
TAILS = ("", " - Remastered 2011", " (Live)", " (feat. Guest)")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


def listener(folder: Path, number: int, songs: range, **settings: object) -> ImplicitWorkload:
    """Eight people's plays of the songs, written as one service writes them."""
    home = folder / f"node{number}"
    home.mkdir()
    rng = np.random.default_rng(number)
    rows = ["user_id,song_id,plays"]
    rows += [
        f"u{number}-{user},i{song},{rng.integers(1, 9)}"
        for user in range(8)
        for song in songs
        if rng.random() < 0.9
    ]
    names = ["song_id,title,artist"]
    names += [f"i{song},Song {song}{TAILS[number % 4]},Artist {song % 9}" for song in songs]
    (home / "plays.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (home / "songs.csv").write_text("\n".join(names) + "\n", encoding="utf-8")
    return ImplicitWorkload.load(
        load_config(
            None,
            {},
            {
                "task.kind": "implicit",
                "task.items": "music",
                "data.ratings_file": str(home / "plays.csv"),
                **settings,
            },
        )
    )


def songs_of(number: int) -> range:
    """Each knows half of all songs, another half."""
    return range(10 * number, 10 * number + 30)


async def four(town: Village, folder: Path, **how: object) -> list[Villager]:
    nodes = [
        await town.start(listener(folder, n, songs_of(n)), settings=ROUNDS, **how)  # type: ignore[arg-type]
        for n in range(4)
    ]
    await town.all_done()
    return nodes


def asked(node: Villager) -> Recommendations:
    return node.node.recommend(f"u{node.number}-0", 10)


def known(node: Villager) -> int:
    """How many songs of others the node can name."""
    heard: int = node.node._views._learning.labels.heard
    return heard


async def test_a_node_names_what_it_never_had(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with village() as town:
        nodes = await four(town, tmp_path)
        await until(lambda: all(known(node) == SONGS for node in nodes), 60)
        for node in nodes:
            items = node.node.snapshot().items
            assert items is not None
            assert (items.mine, items.named) == (30, SONGS)
            assert items.text.endswith(f"; {SONGS} have a name here")
            mine = set(songs_of(node.number))
            found = asked(node).items
            assert len(found) == 10
            others = 0
            for item in found:
                assert item.title is not None
                number = int(item.title.split()[1])
                assert item.artist == f"Artist {number % 9}"
                assert "feat" not in item.title
                others += number not in mine
            assert others > 3  # it had no name for these
            assert not any(n.startswith("labels") for n in node.node.snapshot().faults)


async def test_who_does_not_tell_of_its_own_data_gives_on_what_it_heard(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = [
            await town.start(
                listener(tmp_path, n, songs_of(n)), settings=ROUNDS, tell_labels=n != 3
            )
            for n in range(4)
        ]
        await town.all_done()
        # Songs 50 to 59 are only in the data of the one that tells nothing.
        await until(lambda: all(known(node) == 50 for node in nodes), 60)
        await trio.sleep(60)
        assert [known(node) for node in nodes] == [50] * 4
        newcomer = await town.start(
            listener(tmp_path, 4, range(3)), bootstrap=(nodes[3],), settings=ROUNDS
        )
        for node in nodes[:3]:
            await town.crash(node)
        await until(lambda: known(newcomer) == 50, 120)


async def test_no_name_is_told_of_a_song_whose_row_is_not_published(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = [
            await town.start(
                listener(
                    tmp_path, n, songs_of(n), **{"training.min_row_evidence": 9 if n == 3 else 1}
                ),
                settings=ROUNDS,
            )
            for n in range(4)
        ]
        await town.all_done()
        await until(lambda: all(known(node) == 50 for node in nodes), 60)
        # Asked for all its songs by name, the fourth, whose rows eight people are too few for,
        # tells those that it heard from the others.
        keys = sorted(music_key(f"Artist {n % 9}", f"Song {n}") for n in songs_of(3))
        answer = await nodes[0].network.request(
            nodes[3].peer_id,
            wire.LABELS_PROTOCOL,
            wire.encode_labels_request(
                wire.LabelsRequest(nodes[0].group[0], np.array(keys, dtype=np.uint64))
            ),
        )
        told = wire.decode_labels_answer(answer)
        assert isinstance(told, wire.LabelsAnswer)
        assert {int(label.title.split()[1]) for _, label in told.labels} == set(range(30, 50))


def liar(node: Villager, forge: Callable[[int], tuple[int, Label]]) -> None:
    """From now on the node answers every request for labels with forged ones."""

    async def answer(peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        keys = wire.decode_labels_request(payload).keys.tolist()
        labels = sorted({forge(key) for key in keys}, key=lambda pair: pair[0])
        return wire.encode_labels_answer(wire.LabelsAnswer(tuple(labels)))

    node.network.set_handler(wire.LABELS_PROTOCOL, answer)


@pytest.mark.parametrize(
    "forge",
    [
        lambda key: (key, Label("Buy now", "Shop")),
        lambda key: (music_key("Shop", "Buy now"), Label("Buy now", "Shop")),
    ],
    ids=["another name", "another key"],
)
async def test_an_attackers_labels_are_refused_and_counted_and_the_others_still_heard(
    forge: Callable[[int], tuple[int, Label]], tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with village() as town:
        attacker = await town.start(listener(tmp_path, 9, range(60)), settings=ROUNDS)
        liar(attacker, forge)
        nodes = [
            await town.start(listener(tmp_path, n, songs_of(n)), settings=ROUNDS) for n in range(4)
        ]
        await town.all_done()
        await until(lambda: all(known(node) == SONGS for node in nodes), 120)
        refused = 0
        for node in nodes:
            refused += node.node.snapshot().faults.get("labels-false", 0)
            assert all(item.artist != "Shop" for item in asked(node).items)
            assert len(asked(node).items) == 10
        assert refused > 0


class Kept:
    """A `KeptLabels` in memory."""

    def __init__(self) -> None:
        self.labels: list[tuple[int, Label]] = []

    async def load(self, kind: str) -> Heard:
        await trio.lowlevel.checkpoint()
        return Heard(kind, self.labels)

    async def save(self, heard: Heard) -> None:
        await trio.lowlevel.checkpoint()
        self.labels = list(heard)


async def test_what_was_heard_is_kept_for_the_next_start(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    kept = Kept()
    async with village() as town:
        nodes = [
            await town.start(
                listener(tmp_path, n, songs_of(n)),
                settings=ROUNDS,
                labels=kept if n == 0 else None,
            )
            for n in range(4)
        ]
        await town.all_done()
        await until(lambda: known(nodes[0]) == SONGS, 60)
        await town.stop(nodes[0])
        assert len(kept.labels) == SONGS
    async with village(1) as town:
        again = await town.start(listener(tmp_path, 7, songs_of(0)), labels=kept, settings=ROUNDS)
        await until(lambda: known(again) == SONGS, 5)


async def test_groups_of_ids_ask_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with village() as town:
        nodes = [
            await town.start(
                listener(tmp_path, n, songs_of(n), **{"task.items": "opaque"}), settings=ROUNDS
            )
            for n in range(2)
        ]
        await town.all_done()
        await trio.sleep(30)
        for node in nodes:
            items = node.node.snapshot().items
            assert items is not None
            assert items.named is None
            assert known(node) == 0
            assert wire.LABELS_PROTOCOL not in node.network._handlers
