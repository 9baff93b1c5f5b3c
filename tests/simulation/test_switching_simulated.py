"""Whole nodes in a simulated world that choose their groups themselves."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from openfl.app.node_commands import node_commands
from openfl.config import load_config
from openfl.core.errors import GroupError
from openfl.learning.rating.workload import RatingWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.node.fault_points import FaultPoints
from openfl.switching.policy import SelectionSettings
from openfl_cli.demo.tastes import write_communities
from openfl_cli.sample import sample_folder
from tests.node_rig import AT_REST, Village, Villager, until, village

CURIOUS = SelectionSettings(look_probability=1.0)
Part = Callable[[int], RatingWorkload]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Nine nodes' ratings; node n is of community n % 3."""
    homes = [tmp_path_factory.mktemp(f"taste-{n}") for n in range(9)]
    write_communities(sample_folder(), homes, communities=3, seed=6)
    return homes


@pytest.fixture
def part(folders: list[Path]) -> Part:
    def workload(number: int) -> RatingWorkload:
        file = str(folders[number] / "ratings.csv")
        scale = {"data.rating_scale": "0.5-5", "data.ratings_file": file}
        return RatingWorkload.load(load_config(None, {}, scale))

    return workload


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


class Crash(Exception):
    """Instead of SIGKILL."""


def crash() -> None:
    raise Crash


async def strangers_and_kin(town: Village, part: Part) -> None:
    """Three nodes of community 1 in `blues`, three of community 0 less one in `jazz`; at rest."""
    for number in (0, 3):
        await town.start(part(number), group="jazz", selection=AT_REST)
    for number in (1, 4, 7):
        await town.start(part(number), group="blues", selection=AT_REST)
    await until(lambda: all(node.round >= 5 for node in town.nodes))


async def settle(node: Villager, rounds: int = 12) -> None:
    done = node.round
    await until(lambda: node.round >= done + rounds, 200.0)


async def test_a_node_among_strangers_moves_to_its_like_by_itself(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        await strangers_and_kin(town, part)
        jazz, blues = town.nodes[:2], town.nodes[2:]
        node = await town.start(part(6), group="blues", selection=CURIOUS)
        assert node.group == blues[0].group
        await until(lambda: node.group == jazz[0].group, 60.0)
        view = node.node.snapshot().switching
        assert (view.moves, view.auto, view.pinned) == (1, True, False)
        moved = [d for d in view.decisions if d.action == "move"]
        assert len(moved) == 1
        told = (
            r"moved from blues to jazz: jazz should be \d+\.\d % better than blues \(\+.*examples\)"
        )
        assert re.fullmatch(told, moved[0].text)
        assert node.storage.standing.moves == 1
        await until(lambda: bool(node.times("switched")))
        # The groups agree: one lost it, the other has it, and nothing of it is left behind.
        await until(lambda: all(node.peer_id in other.teachers() for other in jazz))
        await until(lambda: not any(node.peer_id in other.teachers() for other in blues))
        assert set(node.storage.saved) == {jazz[0].group[0]}
        assert node.storage.standing.owed == ()
        await settle(node)
        assert node.group == jazz[0].group


async def test_who_holds_nothing_back_moves_to_its_like_all_the_same(
    part: Part, folders: list[Path], autojump_clock: MockClock
) -> None:
    """By the ratings that it trains on, each left out in turn."""
    config = {
        "data.rating_scale": "0.5-5",
        "data.ratings_file": str(folders[6] / "ratings.csv"),
        "data.validation_fraction": 0.0,
    }
    async with village() as town:
        await strangers_and_kin(town, part)
        jazz = town.nodes[0]
        workload = RatingWorkload.load(load_config(None, {}, config))
        node = await town.start(workload, group="blues", selection=CURIOUS)
        assert node.group != jazz.group
        await until(lambda: node.group == jazz.group, 60.0)
        assert node.node.snapshot().validation is None


async def test_a_pinned_node_stays_among_strangers(part: Part, autojump_clock: MockClock) -> None:
    async with village() as town:
        await strangers_and_kin(town, part)
        node = await town.start(part(6), group="blues", selection=CURIOUS, pin=True)
        await settle(node, 20)
        assert node.group == town.nodes[2].group
        view = node.node.snapshot().switching
        assert (view.moves, view.pinned, view.why) == (0, True, "pinned to blues by its owner")


async def test_a_node_that_may_not_move_by_itself_stays(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        await strangers_and_kin(town, part)
        node = await town.start(part(6), group="blues", selection=AT_REST)
        await settle(node, 20)
        assert node.group == town.nodes[2].group
        assert "switched off" in node.node.snapshot().switching.why


async def test_the_owner_has_groups_tried_and_nothing_moves(
    part: Part, autojump_clock: MockClock
) -> None:
    """The node never looks around by itself here."""
    async with village() as town:
        await strangers_and_kin(town, part)
        node = await town.start(part(6), group="blues", selection=AT_REST)
        await settle(node, 6)
        before, ask = node.group, node_commands(node.node)
        known = {group["name"]: group for group in await ask("groups", {"ask": False})}
        assert (known["jazz"]["gain"], known["jazz"]["tried_rounds_ago"]) == (None, None)
        kin = await ask("try", {"group": "jazz"})
        assert kin["gain"] > 2 * kin["gain_error"] > 0
        assert (kin["name"], kin["mine"], kin["tried_rounds_ago"]) == ("jazz", False, 0)
        # It is what lists show from now on, and not all there is to moving.
        (listed,) = (g for g in await ask("groups", {"ask": False}) if g["name"] == "jazz")
        assert (listed["gain"], listed["gain_error"]) == (kin["gain"], kin["gain_error"])
        await settle(node, 6)
        view = node.node.snapshot().switching
        assert (node.group, view.moves, view.decisions) == (before, 0, ())
        stranger = await town.nodes[0].node.try_group(before[0])
        assert stranger.gain is not None
        assert stranger.gain < 0
        for group, why in (
            ("blues", "this node is in group blues"),
            ("metal", "no group 'metal' is known: openfl-node groups lists"),
        ):
            with pytest.raises(GroupError, match=why):
                await ask("try", {"group": group})
        for member in town.nodes[:2]:
            await town.stop(member)
        with pytest.raises(GroupError, match="group jazz could not be tried: "):
            await ask("try", {"group": "jazz"})


async def test_two_looks_at_groups_do_not_run_into_each_other(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        await strangers_and_kin(town, part)
        jazz = town.nodes[0]
        node = await town.start(part(6), group="blues", selection=CURIOUS)
        tries: list[float | None] = []

        async def tried() -> None:
            with contextlib.suppress(GroupError):  # it moves there meanwhile
                tries.append((await node.node.try_group("jazz")).gain)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(tried)
        assert all(gain is None or gain > 0 for gain in tries)
        await until(lambda: node.group == jazz.group, 60.0)


async def test_nine_nodes_of_three_communities_in_random_groups_sort_themselves_out(
    folders: list[Path], autojump_clock: MockClock
) -> None:
    async with village() as town:
        groups = ["blue", "red", "blue", "red", "green", "blue", "red", "green", "green"]
        for number, group in enumerate(groups):
            config = {
                "data.rating_scale": "0.5-5",
                "data.ratings_file": str(folders[number] / "ratings.csv"),
                "data.validation_fraction": 0.2,
                "data.test_fraction": 0.2,
            }
            await town.start(
                RatingWorkload.load(load_config(None, {}, config)),
                group=group,
                selection=CURIOUS,
                alone_rounds=30,
                pin=True,
            )
        await until(lambda: all(node.round >= 8 for node in town.nodes))
        assert [node.group[1] for node in town.nodes] == groups
        before = [node.node.snapshot().test for node in town.nodes]
        for node, group in zip(town.nodes, groups, strict=True):
            await node.node.switch(group)  # lets it go

        def sorted_out() -> bool:
            found = [{n.group for n in town.nodes[taste::3]} for taste in range(3)]
            return all(len(group) == 1 for group in found) and len(set.union(*found)) == 3

        await until(sorted_out, 60.0)
        await settle(town.nodes[0], 10)
        assert sorted_out()
        after = [node.node.snapshot().test for node in town.nodes]
        assert all(now < then for now, then in zip(after, before, strict=True) if now and then)


async def test_a_leave_kept_back_by_a_crash_is_said_after_the_restart(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        await strangers_and_kin(town, part)
        jazz, blues = town.nodes[:2], town.nodes[2:]
        # It ends right after its move is committed: the old group has not been told.
        faults = FaultPoints("move-committed", crash)
        node = await town.start(part(6), group="blues", faults=faults)
        await until(lambda: all(node.peer_id in other.teachers() for other in blues))
        with pytest.raises(Crash):
            await node.node.switch("jazz")
        await town.crash(node)
        kept = node.storage
        assert kept.current is not None
        assert (kept.current.name, len(kept.standing.owed)) == ("jazz", 1)
        again = await town.start(
            part(6),
            number=node.number,
            group="blues",
            resume=kept.saved[kept.current.group_id],
            standing=kept.standing,
        )
        assert again.group == jazz[0].group
        await until(lambda: not any(again.peer_id in other.teachers() for other in blues))
        await until(lambda: all(again.peer_id in other.teachers() for other in jazz))
        await until(lambda: again.storage.standing.owed == ())
        assert again.topics() == jazz[0].topics()


async def test_why_no_other_group_was_reached_is_said(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        jazz = await town.start(part(0), group="jazz", selection=AT_REST)
        await until(lambda: jazz.round >= 1)
        node = await town.start(part(1), group="blues", selection=CURIOUS)
        await until(lambda: bool(node.times("stayed")) or bool(node.times("switched")))
        await town.crash(jazz)
        stayed = len(node.times("stayed"))
        await until(lambda: len(node.times("stayed")) > stayed, 200.0)
        why = "no other group was reached: jazz: no member can be reached"
        assert node.node.snapshot().switching.why.endswith(why)
        event = [event for event in node.events if event.kind == "stayed"][-1]
        assert event.data["why"] == why
