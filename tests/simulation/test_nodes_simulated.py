"""Groups of whole nodes in a simulated world: learning together, loss, crashes, leaving, moving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.contribution import Charter
from openfl.core.errors import GroupError, StateError
from openfl.learning.rating.charter import ITEMS
from openfl.learning.rating.workload import RatingWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.network.simulated.link import LinkSettings
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.node_rig import (
    HURRIED,
    STEP_COST_SECONDS,
    Village,
    Villager,
    until,
    village,
)

PARTS = 12
ROUGH = LinkSettings(latency_seconds=(0.01, 0.2), loss=0.2, duplication=0.2, reordering=0.3)
TEN_ROUNDS = replace(HURRIED, rounds=10)
IDLE = replace(HURRIED, auto_start=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sample ratings, dealt out: every listener's to one folder only."""
    parts = [tmp_path_factory.mktemp(f"part-{n}") for n in range(PARTS)]
    deal(sample_folder(), parts, seed=5)
    return parts


Part = Callable[..., RatingWorkload]


@pytest.fixture
def part(folders: list[Path]) -> Part:
    """part(n, **settings): what the owner of the n-th part of the ratings learns."""

    def workload(number: int, **settings: object) -> RatingWorkload:
        overrides = {name.replace("__", "."): value for name, value in settings.items()}
        file = str(folders[number] / "ratings.csv")
        return RatingWorkload.load(load_config(None, {}, {"data.ratings_file": file, **overrides}))

    return workload


@pytest.fixture(autouse=True)
def _seeded() -> None:
    seed_trio(0)


async def start_group(town: Village, part: Part, count: int, **settings: object) -> list[Villager]:
    """The first `count` parts, each knowing the first node only."""
    return [await town.start(part(n), **settings) for n in range(count)]  # type: ignore[arg-type]


def item_rows(node: Villager) -> np.ndarray:
    view = node.replica.view()
    return view.rows(ITEMS, view.keys(ITEMS))


# --- finding each other and learning --------------------------------------------------------------


async def test_nodes_that_know_only_the_first_find_each_other_and_learn_together(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 4, settings=TEN_ROUNDS, alone_rounds=30)
        await town.acquainted(10.0)
        await town.all_done()
        for node in nodes:
            snapshot = node.node.snapshot()
            assert snapshot.round == 10
            assert {p.peer_id for p in snapshot.peers} == {
                other.peer_id for other in nodes if other is not node
            }
            assert snapshot.validation is not None
            assert snapshot.alone is not None
            assert snapshot.validation < snapshot.alone
            assert snapshot.faults == {}


async def test_a_node_that_finds_nobody_is_no_better_than_alone(
    part: Part, autojump_clock: MockClock
) -> None:
    # The twin of the test above: what it measures comes from the others.
    async with village() as town:
        node = await town.start(part(0), settings=TEN_ROUNDS, alone_rounds=30)
        await town.all_done()
        snapshot = node.node.snapshot()
        assert snapshot.validation is not None
        assert snapshot.alone is not None
        assert snapshot.validation > 0.98 * snapshot.alone


async def test_a_node_with_remembered_peers_starts_though_the_bootstrap_node_is_gone(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        first, second, third = await start_group(town, part, 3)
        await town.acquainted()
        await until(lambda: bool(third.storage.peers))
        await town.stop(third)
        await town.crash(first)
        again = await town.start(
            part(2),
            bootstrap=(first,),
            number=third.number,
            remembered=third.storage.peers,
            resume=next(iter(third.storage.saved.values())),
        )
        assert again.failed is None
        await until(lambda: again.members() == {again.peer_id, second.peer_id})


async def test_a_late_joiner_has_the_groups_model_and_its_metric_before_it_trains(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 3, settings=TEN_ROUNDS)
        await town.all_done()
        # The same data as the first node has, so that the metrics can be compared.
        late = await town.start(part(0), settings=IDLE)
        took = await until(lambda: late.node.snapshot().validation is not None)
        assert took < 5.0
        assert late.replica.digest() == nodes[0].replica.digest()
        assert late.teachers() == {node.peer_id for node in nodes}
        theirs = nodes[0].node.snapshot().validation
        assert late.node.snapshot().validation == pytest.approx(theirs, abs=1e-12)
        (joined,) = [event for event in late.events if event.kind == "joined"]
        assert "snapshot" in joined.message


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 3, 4])
async def test_loss_duplication_and_reordering_end_in_equal_replicas(
    part: Part, seed: int, autojump_clock: MockClock
) -> None:
    async with village(seed, ROUGH) as town:
        nodes = await start_group(town, part, 5, settings=TEN_ROUNDS)
        await town.all_done()
        assert len({tuple(sorted(n.replica.version_vector().items())) for n in nodes}) == 1
        assert nodes[0].teachers() == {node.peer_id for node in nodes}
        for node in nodes:
            assert np.array_equal(item_rows(node), item_rows(nodes[0]))
        # The links were rough indeed: with these seeds requests fail, and there are only a few.
        assert any(n.node.snapshot().faults.get("request-failed") for n in nodes)


async def test_a_crash_delays_no_other_nodes_rounds(part: Part, autojump_clock: MockClock) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 4)
        await until(lambda: all(node.round >= 3 for node in nodes))
        crashed, *others = nodes
        await town.crash(crashed)
        at = trio.current_time()
        await trio.sleep(20.0)
        # A round comes at most a tenth of the interval late, and takes its work.
        longest = 1.1 * HURRIED.interval_seconds + STEP_COST_SECONDS + 0.01
        for node in others:
            times = [t for t in node.times("round") if t > at - 2 * longest]
            assert len(times) >= 18
            assert max(np.diff(times)) <= longest


async def test_what_a_crashed_node_taught_stays_and_its_absence_is_told(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 3)
        await until(lambda: all(len(node.teachers()) == 3 for node in nodes))
        crashed, *others = nodes
        await town.crash(crashed)
        await until(lambda: all(crashed.peer_id not in node.members() for node in others))
        await until(lambda: all(node.times("member-away") for node in others), 5.0)
        assert all(crashed.peer_id in node.teachers() for node in others)


async def test_after_a_partition_heals_both_sides_have_one_model(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 6, settings=replace(HURRIED, rounds=25))
        await town.acquainted()
        one, other = nodes[:3], nodes[3:]
        town.world.partition([n.peer_id for n in one], [n.peer_id for n in other])
        await trio.sleep(10.0)
        assert not town.agree(one[0], other[0])
        apart = one[0].replica.version_of(other[0].peer_id)
        assert apart < other[0].replica.version_of(other[0].peer_id)
        town.world.heal()
        await town.all_done()
        assert nodes[0].teachers() == {node.peer_id for node in nodes}


# --- leaving and moving ---------------------------------------------------------------------------


async def test_a_leavers_influence_is_removed_everywhere_to_the_bit(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 4, settings=TEN_ROUNDS)
        await town.all_done()
        leaver, *others = nodes
        keys = others[0].replica.view().keys(ITEMS)
        without = others[0].replica.view_without((leaver.peer_id,)).rows(ITEMS, keys)
        assert not np.array_equal(without, others[0].replica.view().rows(ITEMS, keys))
        await town.stop(leaver, leave=True)
        await until(lambda: all(leaver.peer_id not in node.teachers() for node in others), 5.0)
        for node in others:
            assert np.array_equal(node.replica.view().rows(ITEMS, keys), without)
        # Nor does a newcomer learn of it.
        late = await town.start(part(5), settings=IDLE, bootstrap=(others[0],))
        await until(lambda: late.phase == "waiting")
        assert late.replica.digest() == others[0].replica.digest()
        assert leaver.storage.current is None
        assert leaver.storage.saved == {}


async def test_a_node_that_only_stops_keeps_its_influence_and_its_membership(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 3, settings=TEN_ROUNDS)
        await town.all_done()
        stopped, *others = nodes
        await town.stop(stopped)
        await trio.sleep(30.0)
        assert all(stopped.peer_id in node.teachers() for node in others)
        assert stopped.storage.current is not None
        assert len(stopped.storage.saved) == 1


async def test_a_restarted_node_goes_on_where_it_was(part: Part, autojump_clock: MockClock) -> None:
    async with village() as town:
        first, second = await start_group(town, part, 2, settings=TEN_ROUNDS)
        await town.all_done()
        digest = second.replica.digest()
        await town.stop(second)
        (saved,) = second.storage.saved.values()
        again = await town.start(
            part(1), number=second.number, resume=saved, settings=replace(HURRIED, rounds=3)
        )
        assert again.replica.digest() == digest
        assert again.round == 10
        await town.all_done()
        assert again.round == 13
        assert (
            first.replica.version_of(again.peer_id).epoch
            == again.node._current_group.current.session.epoch
        )


async def two_groups(town: Village, part: Part) -> tuple[list[Villager], list[Villager]]:
    """Two nodes in each of two groups; all know the first node."""
    music = [await town.start(part(n)) for n in (0, 1)]
    films = [await town.start(part(n), group="films") for n in (2, 3)]
    await town.acquainted()
    await until(lambda: all(len(node.teachers()) == 2 for node in (*music, *films)))
    return music, films


async def test_a_node_that_switches_is_a_member_of_the_new_group_only(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        music, films = await two_groups(town, part)
        mover, stayer = music[1], music[0]
        await trio.sleep(5.0)  # cards go round
        view = await mover.node.switch("films")
        assert (view.name, mover.group) == ("films", films[0].group)
        await until(lambda: len(mover.topics()) == 1, 1.0)
        assert mover.storage.current == films[0].storage.current
        assert set(mover.storage.saved) == {films[0].group[0]}
        everyone = {mover.peer_id, *(node.peer_id for node in films)}
        await until(lambda: all(node.teachers() == everyone for node in (*films, mover)))
        # The old group forgot it.
        await until(lambda: stayer.teachers() == {stayer.peer_id})
        assert stayer.members() == {stayer.peer_id}
        done = mover.round
        await until(lambda: mover.round > done + 3)
        assert stayer.teachers() == {stayer.peer_id}
        course = mover.node.course
        assert [(move.left, move.to, move.action) for move in course.moves] == [
            (None, "music", "joined"),
            ("music", "films", "switch"),
        ]
        assert course.moves[1].why == "switched from group music to films"
        groups = [point.group for point in course.points]
        assert groups == sorted(groups, reverse=True), "music first, then films"
        assert {"music", "films"} == set(groups)
        assert course.points[-1].members == len(everyone)
        assert course.points[-1].validation is not None


async def test_a_switch_to_a_group_whose_members_are_gone_changes_nothing(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        music, films = await two_groups(town, part)
        mover, other = music
        await trio.sleep(5.0)  # cards go round
        for node in films:
            await town.crash(node)
        assert "films" in {view.name for view in await mover.node.groups()}
        before = mover.group
        with pytest.raises(GroupError, match="no member of group films answers"):
            await mover.node.switch("films")
        assert mover.group == before
        assert mover.storage.current is not None
        assert mover.storage.current.group_id == before[0]
        assert set(mover.storage.saved) == {before[0]}
        await until(lambda: len(mover.topics()) == 1)
        assert mover.peer_id in other.teachers()
        done = mover.round
        await until(lambda: mover.round > done + 3)


async def test_a_switch_that_cannot_be_saved_leaves_no_trace_in_either_group(
    part: Part, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with village() as town:
        music, films = await two_groups(town, part)
        mover, other = music

        async def full(charter: Charter, standing: object = None) -> None:
            raise StateError("the disk is full")

        with monkeypatch.context() as disk:
            disk.setattr(mover.storage, "set_current", full)
            with pytest.raises(StateError, match="disk is full"):
                await mover.node.switch("films")
        assert mover.group == other.group
        await until(lambda: len(mover.topics()) == 1, 2.0)
        done = mover.round
        await until(lambda: mover.round > done + 3)
        assert mover.peer_id in other.teachers()
        assert all(mover.peer_id not in node.teachers() for node in films)
        # And the next try works.
        await mover.node.switch("films")
        assert mover.group == films[0].group
        await until(lambda: all(mover.peer_id in node.teachers() for node in films))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere", "no group 'nowhere' is known: 1 of 1 peers asked answered, and know of no"),
        ("music", "in group music already"),
    ],
)
async def test_a_switch_to_nowhere_or_to_where_one_is_says_so(
    part: Part, reference: str, words: str, autojump_clock: MockClock
) -> None:
    async with village() as town:
        nodes = await start_group(town, part, 2)
        await town.acquainted()
        before = nodes[1].group
        with pytest.raises(GroupError, match=words):
            await nodes[1].node.switch(reference)
        assert nodes[1].group == before


async def test_whoever_can_ask_nobody_which_groups_there_are_is_told(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        node = await town.start(part(0))
        with pytest.raises(GroupError, match="'nowhere' is known: no peer was there to ask"):
            await node.node.switch("nowhere")
        await node.node.found_group("jazz")
        (event,) = [event for event in node.events if event.kind == "not-asked"]
        assert "no peer was there to ask" in event.message
        assert node.node.snapshot().directory.text == "no peer was there to ask"


# --- charters -------------------------------------------------------------------------------------


async def test_a_joiner_with_other_hyperparameters_adopts_the_existing_charter(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        first = await town.start(part(0))
        await until(lambda: first.round >= 1)
        other = part(1, task__factors=3, task__seed=9)
        assert other.found("music").group_id != first.group[0]
        second = await town.start(other)
        assert second.failed is None
        assert second.group == first.group
        await until(lambda: len(first.teachers()) == 2)


async def test_a_joiner_of_another_group_name_founds_its_own(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        first = await town.start(part(0))
        await until(lambda: first.round >= 1)
        second = await town.start(part(1), group="films")
        await until(lambda: second.round >= 3)
        assert second.group[1] == "films"
        assert second.teachers() == {second.peer_id}
        assert first.teachers() == {first.peer_id}


@pytest.fixture
def percent(tmp_path: Path) -> RatingWorkload:
    """Ratings on a scale of their own."""
    file = tmp_path / "percent.csv"
    lines = [f"u{u},s{s},{(u * 37 + s * 11) % 101}" for u in range(20) for s in range(20)]
    file.write_text("user_id,song_id,rating\n" + "\n".join(lines) + "\n")
    return RatingWorkload.load(load_config(None, {}, {"data.ratings_file": str(file)}))


async def test_a_joiner_whose_ratings_do_not_fit_is_refused_and_mixes_nothing(
    part: Part, percent: RatingWorkload, autojump_clock: MockClock
) -> None:
    async with village() as town:
        first = await town.start(part(0))
        await until(lambda: first.round >= 1)
        second = await town.start(percent)
        assert isinstance(second.failed, GroupError)
        assert "cannot join it" in str(second.failed)
        assert "scale" in str(second.failed)
        await until(lambda: first.round >= 4)
        assert first.teachers() == {first.peer_id}
        # Under another name it has a group of its own.
        third = await town.start(percent, group="percent", number=7)
        assert third.failed is None


async def test_whoever_named_no_group_is_not_refused_for_a_name_that_is_taken(
    part: Part, percent: RatingWorkload, autojump_clock: MockClock
) -> None:
    async with village() as town:
        first = await town.start(part(0))
        await until(lambda: first.round >= 1)
        second = await town.start(percent, any_group=True)
        assert second.failed is None
        assert second.group[1] == "music-rating"
        assert len(second.times("name-taken")) == 1
        third = await town.start(percent, any_group=True, number=7)
        await until(lambda: third.peer_id in second.teachers())
        assert third.group == second.group
        assert first.teachers() == {first.peer_id}


# --- the rig itself -------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run(part: Part) -> None:
    def trace(seed: int) -> list[tuple[float, int, str, str]]:
        async def run() -> list[tuple[float, int, str, str]]:
            async with village(seed, ROUGH) as town:
                nodes = await start_group(town, part, 4, settings=replace(HURRIED, rounds=5))
                await town.all_done()
                return [(e.time, n.number, e.kind, e.message) for n in nodes for e in n.events]

        seed_trio(seed)
        return trio.run(run, clock=MockClock(autojump_threshold=0))

    first = trace(3)
    assert len(first) > 40
    assert trace(3) == first
    assert trace(4) != first
