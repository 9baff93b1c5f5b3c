"""Nodes that start before whoever they are to join through, on virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from openfl.config import load_config
from openfl.core.errors import NetworkError
from openfl.core.telemetry import Notice
from openfl.learning.rating.workload import RatingWorkload
from openfl.network.simulated.internet import seed_trio
from openfl.network.simulated.link import LinkSettings
from openfl.switching.policy import SelectionSettings
from openfl.wire import messages as wire
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.group_rig import RigSealer, peer
from tests.node_rig import HURRIED, Villager, until, village

Part = Callable[..., RatingWorkload]
IDLE = replace(HURRIED, auto_start=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parts = [tmp_path_factory.mktemp(f"part-{n}") for n in range(12)]
    deal(sample_folder(), parts, seed=5)
    return parts


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


def notices(node: Villager) -> dict[str, Notice]:
    return {notice.kind: notice for notice in node.node.snapshot().notices}


def together(*nodes: Villager) -> bool:
    ids = {node.peer_id for node in nodes}
    return len({node.group for node in nodes}) == 1 and all(n.members() == ids for n in nodes)


async def test_a_node_whose_bootstrap_node_is_absent_learns_alone_and_joins_when_it_appears(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        place, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,))
        assert early.failed is None
        await until(lambda: early.round >= 3)
        waiting = notices(early)["waiting"]
        assert waiting.text.startswith("waiting for 1 bootstrap address: no answer, ")
        assert waiting.data["addresses"] == 1
        await trio.sleep(300.0)
        # One line, however often it tried.
        assert len(early.times("waiting")) == 1
        first = await town.start(part(1), number=1, at=place, bootstrap=())
        took = await until(lambda: together(early, first))
        assert took < 30.0
        await until(lambda: early.teachers() == first.teachers() == {early.peer_id, first.peer_id})
        assert "waiting" not in notices(early)
        await until(lambda: not early.storage.standing.apart)
        assert early.times("switched") == []  # the settings are the same, so it is one group


async def test_tries_become_rarer_and_are_shown_with_the_time_of_the_next(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        _, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,), settings=IDLE)
        pauses = set()
        for _ in range(600):
            await trio.sleep(0.1)
            pauses.add(notices(early)["waiting"].data["next_try_seconds"])
        assert 2.5 < max(pauses) <= 4.0
        await trio.sleep(3700.0)  # nobody misses it so much any more
        pauses.clear()
        for _ in range(1200):
            await trio.sleep(0.1)
            pauses.add(notices(early)["waiting"].data["next_try_seconds"])
        assert 40.0 < max(pauses) <= 60.0
        text = notices(early)["waiting"].text
        assert text.split(", ")[1].startswith(("next try in", "trying again"))


@pytest.mark.parametrize("pin", [None, True])
@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
async def test_it_moves_to_the_group_of_that_name_though_its_own_has_other_settings(
    part: Part, autojump_clock: MockClock, pin: bool | None, numbers: tuple[int, int]
) -> None:
    async with village() as town:
        mine, theirs = numbers
        place, address = town.reserve(theirs)
        early = await town.start(part(0), number=mine, bootstrap=(address,), pin=pin)
        await until(lambda: early.round >= 3)
        alone_in = early.group
        first = await town.start(
            part(1, task__factors=3), number=theirs, at=place, bootstrap=(), pin=pin
        )
        await until(lambda: together(early, first))
        assert early.group == first.group
        assert early.group != alone_in
        assert first.times("switched") == []
        # It goes on where it was, and brings its data along.
        assert early.round >= 3
        await until(lambda: early.peer_id in first.teachers())
        assert early.node.snapshot().switching.pinned is bool(pin)
        assert early.node.snapshot().switching.moves == 0


async def test_without_a_name_it_moves_to_the_largest_group_there(
    part: Part, autojump_clock: MockClock
) -> None:
    watching = SelectionSettings(look_probability=1e-9, founding=False)
    async with village() as town:
        place, address = town.reserve(1)
        early = await town.start(
            part(0), number=0, bootstrap=(address,), any_group=True, selection=watching
        )
        await until(lambda: early.round >= 3)
        first = await town.start(part(1), number=1, at=place, bootstrap=(), group="jazz")
        await until(lambda: together(early, first))
        assert early.group[1] == "jazz"


async def test_with_a_name_that_nobody_there_has_it_stays_in_its_own(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        place, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,), group="blues")
        first = await town.start(part(1), number=1, at=place, bootstrap=(), group="jazz")
        await until(lambda: first.peer_id in early.network.connected())
        await trio.sleep(120.0)
        assert (early.group[1], first.group[1]) == ("blues", "jazz")
        assert notices(early) == {}


async def test_a_group_there_that_does_not_fit_is_said_and_it_goes_on_alone(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        place, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,))
        unfit = part(1, data__rating_scale="0-100")
        first = await town.start(unfit, number=1, at=place, bootstrap=())
        await until(lambda: "not-joined" in notices(early))
        text = notices(early)["not-joined"].text
        assert "music exists, but this node cannot join it" in text
        assert "scale" in text
        rounds = early.round
        await until(lambda: early.round > rounds + 2)
        assert len(early.times("not-joined")) == 1
        assert first.failed is None


async def test_an_invited_node_founds_no_open_group_while_nobody_of_the_closed_one_is_there(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        place, address = town.reserve(1)
        workload = part(1)
        founder = address.peer_id
        closed = replace(workload.found("choir"), founder=founder)
        body = wire.encode_invitation(wire.Invitation(closed.group_id, peer(0), 0, 2**40))
        invitation = RigSealer(founder).seal(wire.INVITATION_TYPE, body)
        early = await town.start(
            part(0), number=0, bootstrap=(address,), group="choir", invitations=(invitation,)
        )
        await until(lambda: early.round >= 3)
        assert early.replica.charter.founder == early.peer_id  # open to nobody
        first = await town.start(
            workload, number=1, at=place, bootstrap=(), group="choir", closed=True
        )
        await until(lambda: together(early, first))
        assert early.group[0] == closed.group_id
        await until(lambda: early.peer_id in first.teachers())


async def test_two_that_wait_for_each_other_do_not_change_places(
    part: Part, autojump_clock: MockClock
) -> None:
    # Slow links, so that both would be on their way before either hears of the other's move.
    slow = LinkSettings(latency_seconds=(0.9, 1.0))
    async with village(links=slow) as town:
        places = [town.reserve(n) for n in range(2)]
        town.world.partition([places[0][1].peer_id], [places[1][1].peer_id])
        one = await town.start(part(0), number=0, at=places[0][0], bootstrap=(places[1][1],))
        two = await town.start(
            part(1, task__factors=3), number=1, at=places[1][0], bootstrap=(places[0][1],)
        )
        await until(lambda: one.round >= 2 and two.round >= 2)
        town.world.heal()
        await until(lambda: together(one, two))
        await trio.sleep(120.0)
        assert together(one, two)
        assert len(one.times("switched")) + len(two.times("switched")) == 1


async def test_who_is_no_longer_alone_stays(part: Part, autojump_clock: MockClock) -> None:
    async with village() as town:
        place, address = town.reserve(2)
        early = await town.start(part(0), number=0, bootstrap=(address,))
        friend = await town.start(part(1), number=1, bootstrap=(early,))
        await until(lambda: together(early, friend))
        await town.start(part(2, task__factors=3), number=2, at=place, bootstrap=())
        await until(lambda: address.peer_id in early.network.connected())
        await trio.sleep(120.0)
        assert together(early, friend)


async def test_a_restart_before_the_bootstrap_node_appears_still_joins(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        place, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,))
        await until(lambda: early.round >= 2)
        await town.stop(early)
        assert early.storage.standing.apart
        again = await town.start(
            part(0),
            number=0,
            bootstrap=(address,),
            resume=next(iter(early.storage.saved.values())),
            standing=early.storage.standing,
        )
        first = await town.start(part(1, task__factors=3), number=1, at=place, bootstrap=())
        await until(lambda: together(again, first))


async def test_a_node_that_founded_its_group_by_choice_stays_there(
    part: Part, autojump_clock: MockClock
) -> None:
    # The twin of the test above: nobody made it wait for anybody.
    async with village() as town:
        founder = await town.start(part(0), number=0, bootstrap=())
        await until(lambda: founder.round >= 2)
        await town.stop(founder)
        place, address = town.reserve(1)
        again = await town.start(
            part(0),
            number=0,
            bootstrap=(address,),
            resume=next(iter(founder.storage.saved.values())),
            standing=founder.storage.standing,
        )
        await town.start(part(1, task__factors=3), number=1, at=place, bootstrap=())
        await until(lambda: address.peer_id in again.network.connected())
        await trio.sleep(120.0)
        assert again.times("switched") == []


async def test_who_gave_a_time_is_told_when_it_is_over(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        _, address = town.reserve(1)
        early = await town.start(part(0), number=0, bootstrap=(address,), bootstrap_seconds=30.0)
        began = trio.current_time()
        await early.gone.wait()
        assert trio.current_time() - began < 31.0
        assert isinstance(early.failed, NetworkError)
        assert "no bootstrap node answered within 30 s" in str(early.failed)
        assert address.peer_id in str(early.failed)


async def test_once_somebody_answered_the_time_means_nothing(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        _, nobody = town.reserve(7)
        first = await town.start(part(1), number=1, bootstrap=())
        early = await town.start(
            part(0), number=0, bootstrap=(nobody, first), bootstrap_seconds=30.0
        )
        await until(lambda: together(early, first))
        assert "waiting" not in notices(early)  # one that answers is enough
        await town.crash(first)
        await trio.sleep(60.0)
        assert early.failed is None
        assert notices(early)["waiting"].text.startswith("waiting for 2 bootstrap addresses: ")


async def test_a_node_does_not_wait_for_itself(part: Part, autojump_clock: MockClock) -> None:
    # All nodes of a set are often given one list, with each of them in it.
    async with village() as town:
        place, own = town.reserve(0)
        node = await town.start(
            part(0), number=0, at=place, bootstrap=(own,), bootstrap_seconds=10.0
        )
        await trio.sleep(60.0)
        assert node.failed is None
        assert notices(node) == {}


async def test_remembered_peers_that_are_gone_are_waited_for_in_view(
    part: Part, autojump_clock: MockClock
) -> None:
    async with village() as town:
        _, gone = town.reserve(1)
        _, too = town.reserve(2)
        node = await town.start(part(0), number=0, bootstrap=(), remembered=(gone, too))
        await until(lambda: node.round >= 2)
        assert notices(node)["waiting"].text.startswith("waiting for 2 known peers: no answer, ")
        assert node.failed is None
