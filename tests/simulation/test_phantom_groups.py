"""Cards of strangers, told to whole nodes in a simulated world: what is claimed decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.contribution import Charter, GroupCard
from openfl.core.errors import GroupError
from openfl.learning.rating.workload import RatingWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.node.group_finder import GroupFinder
from openfl.storage.membership import SavedMembership
from openfl.switching.policy import SelectionSettings
from openfl.wire import messages as wire
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.group_rig import RigSealer, peer
from tests.node_rig import Village, Villager, address_of, unix_time, until, village

SELECTION = SelectionSettings(warm_up_rounds=10**6)  # chooses a first group, and looks no more


@pytest.fixture(scope="module")
def workloads(tmp_path_factory: pytest.TempPathFactory) -> list[RatingWorkload]:
    parts = [tmp_path_factory.mktemp(f"part-{n}") for n in range(4)]
    deal(sample_folder(), parts, seed=5)
    files = [str(part / "ratings.csv") for part in parts]
    # The last one would found another group than the others, whatever its name.
    seeds = [1, 1, 1, 2]
    return [
        RatingWorkload.load(load_config(None, {}, {"data.ratings_file": file, "task.seed": seed}))
        for file, seed in zip(files, seeds, strict=True)
    ]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


@asynccontextmanager
async def stranger(
    town: Village, knows: Villager, charter: Charter, members: int, number: int = 90
) -> AsyncIterator[None]:
    """Tells of a group of so many members each second, to whoever is connected and whoever asks;
    serves nothing."""
    sealer = RigSealer(peer(number))

    def lie(unix_now: float) -> GroupCard:
        return GroupCard(charter, members, 9, "rmse", 0.0, 0.0, sealer.peer_id, unix_now)

    async with town.world.network(sealer.peer_id) as network, trio.open_nursery() as nursery:
        await network.connect(address_of(knows))
        finder = GroupFinder(network, sealer, np.random.default_rng(number), unix_time, lie)
        nursery.start_soon(finder.run)

        async def repeat() -> None:
            while True:
                sealed = sealer.seal(wire.CARD_TYPE, wire.encode_card(lie(unix_time())))
                await network.publish(wire.DIRECTORY_TOPIC, wire.encode_directory(sealed))
                await trio.sleep(1.0)

        nursery.start_soon(repeat)
        yield
        nursery.cancel_scope.cancel()


async def honest_group(town: Village, workloads: list[RatingWorkload], name: str) -> list[Villager]:
    nodes = [await town.start(w, group=name) for w in workloads[:3]]
    await until(lambda: all(len(node.teachers()) == 3 for node in nodes))
    return nodes


async def test_a_newcomer_begins_where_contributions_are_served_not_where_most_are_claimed(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        honest = await honest_group(town, workloads, "films")
        phantom = workloads[0].found("phantom")
        async with stranger(town, honest[0], phantom, 10**12):
            await trio.sleep(10.0)
            began = trio.current_time()
            newcomer = await town.start(workloads[3], any_group=True, selection=SELECTION)
            assert newcomer.group == honest[0].group
            assert trio.current_time() - began < 10.0
            await until(lambda: len(newcomer.teachers()) == 4)


async def test_a_newcomer_that_nobody_serves_founds_its_own_group(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        only = await town.start(workloads[0], group="apart")
        phantom = workloads[0].found("phantom")
        async with stranger(town, only, phantom, 10**12):
            await trio.sleep(5.0)
            await town.crash(only)
            newcomer = await town.start(
                workloads[3], bootstrap=(), any_group=True, selection=SELECTION
            )
            assert newcomer.group[1] == "music"


async def test_of_the_groups_of_the_wanted_name_the_one_that_is_served_is_begun_in(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        honest = await honest_group(town, workloads, "films")
        phantom = replace(workloads[0].found("films"), seed=7)
        async with stranger(town, honest[0], phantom, 10**12):
            await trio.sleep(10.0)
            newcomer = await town.start(workloads[3], group="films")
            assert newcomer.group == honest[0].group


async def test_when_nobody_serves_a_group_of_the_wanted_name_it_is_founded_and_said_so(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        honest = await honest_group(town, workloads, "films")
        phantom = replace(workloads[0].found("songs"), seed=7)
        async with stranger(town, honest[0], phantom, 10**12):
            await trio.sleep(10.0)
            newcomer = await town.start(workloads[3], group="songs")
            assert newcomer.group == (workloads[3].found("songs").group_id, "songs")
            assert len(newcomer.times("nobody-serves")) == 1


async def test_outsiders_are_shown_what_members_say_not_what_a_stranger_repeats(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        honest = await honest_group(town, workloads, "films")
        outsider = await town.start(workloads[3], group="songs")
        charter = workloads[0].found("films")
        async with (
            stranger(town, honest[0], charter, 0, 90),
            stranger(town, honest[1], charter, 0, 91),
            stranger(town, outsider, charter, 0, 92),
            stranger(town, outsider, charter, 0, 93),
        ):
            await trio.sleep(20.0)
            shown = {view.name: view.members for view in await outsider.node.groups()}
            assert shown["films"] == 3


async def test_a_group_of_a_name_from_before_the_rule_goes_on_and_its_members_are_told(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    old = workloads[0].found("music\u3164")
    saved = SavedMembership(old, 0, 0, (), (), ())
    async with village() as town:
        node = await town.start(workloads[0], resume=saved)
        await until(lambda: node.round > 2)
        assert node.group == (old.group_id, old.name)
        assert len(node.times("unclear-name")) == 1


async def test_no_group_of_such_a_name_is_founded_by_hand(
    workloads: list[RatingWorkload], autojump_clock: MockClock
) -> None:
    async with village() as town:
        node = await town.start(workloads[0])
        with pytest.raises(GroupError, match="U\\+3164 HANGUL FILLER"):
            await node.node.found_group("music\u3164")
        view = await node.node.found_group("cafe\u0301")
        assert view.name == "caf\u00e9"
