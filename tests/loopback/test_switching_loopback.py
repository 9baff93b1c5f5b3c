"""Real nodes on real libp2p that choose their groups: by themselves, by hand, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from openfl.aggregation.replica import Replica
from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.core.errors import GroupError
from openfl.core.telemetry import NodeEvent
from openfl.node import Node
from openfl_cli.demo.tastes import write_communities
from openfl_cli.sample import sample_folder
from tests.situation import until_seen as until

SIX_ROUNDS: dict[str, Any] = {"training__rounds": 6, "training__when_done": "serve"}
"""A group that is taught, and then at rest: five nodes that train all the time in one process leave
a slow machine no time for what they have to say to each other."""


class Live:
    def __init__(self, node: Node, events: list[NodeEvent]) -> None:
        self.node = node
        self.events = events

    @property
    def address(self) -> str:
        return self.node.network.multiaddrs[0]

    @property
    def group(self) -> str:
        return self.node.snapshot().group_name

    @property
    def round(self) -> int:
        return self.node.snapshot().round

    @property
    def replica(self) -> Replica:
        return self.node._current_group.current.session.replica

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    """Home n is of community n % 2."""
    folders = [tmp_path / f"home-{n}" for n in range(6)]
    for folder in folders:
        folder.mkdir()
    write_communities(sample_folder(), folders, communities=2, seed=3)
    return folders


@asynccontextmanager
async def running(
    home: Path, bootstrap: Sequence[str] = (), *, pin: bool | None = None, **settings: Any
) -> AsyncIterator[Live]:
    config = load_config(
        None,
        {},
        {
            "network.host": "127.0.0.1",
            "network.bootstrap": tuple(bootstrap),
            "data.ratings_file": str(home / "ratings.csv"),
            "data.rating_scale": "0.5-5",
            "training.interval_seconds": 0.3,
            "training.alone_rounds": 0,
            "gossip.heartbeat_seconds": 0.5,
            "switching.auto": False,
            **{name.replace("__", "."): value for name, value in settings.items()},
        },
    )
    events: list[NodeEvent] = []
    async with open_node(config, home, events.append, pin=pin) as node:
        live = Live(node, events)
        await until(lambda: node.snapshot().phase not in ("starting", "joining"), "joined")
        yield live


@asynccontextmanager
async def two_groups(homes: list[Path]) -> AsyncIterator[tuple[list[Live], list[Live]]]:
    """Two nodes of community 0 in `jazz`, two of community 1 in `blues`; none of them moves."""
    jazz_name = {"group__name": "jazz", **SIX_ROUNDS}
    blues_name = {"group__name": "blues", **SIX_ROUNDS}
    async with (
        running(homes[0], **jazz_name) as one,
        running(homes[2], [one.address], **jazz_name) as two,
        running(homes[1], [one.address], **blues_name) as three,
        running(homes[3], [one.address], **blues_name) as four,
    ):
        nodes = [one, two, three, four]
        await until(lambda: all(n.replica.member_count == 2 for n in nodes), "two members each")
        await until(lambda: all(n.round >= 6 for n in nodes), "six rounds")
        yield nodes[:2], nodes[2:]


async def test_a_node_whose_data_fit_the_other_group_moves_there_by_itself(
    homes: list[Path],
) -> None:
    curious: dict[str, Any] = {"switching__auto": True, "switching__look_probability": 1.0}
    async with two_groups(homes) as (jazz, blues):
        me = {"group__name": "blues", "training__interval_seconds": 1.0, **curious}
        async with running(homes[4], [blues[0].address], **me) as node:
            assert node.group == "blues"
            peer = node.node.network.peer_id
            await until(lambda: node.group == "jazz", "moved to jazz")
            await until(lambda: "switched" in node.kinds(), "the move is over")
            await until(
                lambda: all(peer in other.replica.version_vector() for other in jazz), "known"
            )
            # The word of a leave may reach the old group later than the new one has heard.
            await until(
                lambda: not any(peer in other.replica.version_vector() for other in blues),
                "forgotten by blues",
            )
            switching = node.node.snapshot().switching
            assert switching.moves == 1
            assert any(
                "moved from blues to jazz: jazz should be " in d.text for d in switching.decisions
            )
            (jazz_view,) = [g for g in await node.node.groups() if g.name == "jazz"]
            assert jazz_view.mine
        # A restart with the same options goes on where the node went, not where it began.
        async with running(homes[4], [blues[0].address], **me) as again:
            assert again.group == "jazz"
            assert again.node.snapshot().switching.moves == 1


async def test_a_pinned_node_stays_though_the_other_group_fits_better(homes: list[Path]) -> None:
    curious: dict[str, Any] = {"switching__auto": True, "switching__look_probability": 1.0}
    async with (
        two_groups(homes) as (_, blues),
        running(homes[4], [blues[0].address], pin=True, group__name="blues", **curious) as node,
    ):
        done = node.round
        await until(lambda: node.round >= done + 10, "ten rounds")
        assert node.group == "blues"
        assert node.node.snapshot().switching.why == "pinned to blues by its owner"


async def test_a_move_whose_fetch_fails_leaves_the_node_where_it_was(homes: list[Path]) -> None:
    async with running(homes[1], group__name="blues") as node:
        async with running(homes[0], [node.address], group__name="jazz") as other:
            await until(lambda: other.round >= 2, "two rounds")
            await until(
                lambda: len(node.node._views._groups.finder.known()) == 2, "the card is known"
            )
        before = node.replica.digest()
        with pytest.raises(GroupError, match="no member of group jazz answers"):
            await node.node.switch("jazz")
        assert node.group == "blues"
        await until(lambda: node.replica.digest() != before, "it goes on learning")


async def test_the_group_left_is_as_if_the_node_had_never_been_there(homes: list[Path]) -> None:
    quiet: dict[str, Any] = {"training__rounds": 4, "training__when_done": "serve"}
    async with (
        running(homes[1], group__name="blues", **quiet) as stayer,
        running(homes[0], [stayer.address], group__name="jazz", **quiet) as jazz,
    ):
        await stayer.node.wait_done()
        await jazz.node.wait_done()
        alone = stayer.replica.digest()
        async with running(
            homes[4], [stayer.address], group__name="blues", training__rounds=4
        ) as node:
            await node.node.wait_done()
            await until(lambda: stayer.replica.member_count == 2, "it contributed")
            assert stayer.replica.digest() != alone
            old = node.node._current_group.current.session
            await node.node.switch("jazz")
            merged = old.deltas_merged
            await until(lambda: stayer.replica.digest() == alone, "withdrawn")
            assert old.deltas_merged == merged
            assert jazz.node.network.peer_id in node.replica.version_vector()


async def test_a_founded_group_is_known_to_others_and_its_founder_learns_in_it(
    homes: list[Path],
) -> None:
    async with (
        running(homes[1], group__name="blues") as first,
        running(homes[0], [first.address], group__name="blues") as node,
    ):
        await until(lambda: first.replica.member_count == 2, "both contribute")
        view = await node.node.found_group("bebop", pin=True)
        assert (view.name, view.mine) == ("bebop", True)
        assert node.node.snapshot().switching.pinned
        done = node.round
        await until(lambda: node.round >= done + 2, "it learns")
        assert set(node.replica.version_vector()) == {node.node.network.peer_id}
        with pytest.raises(GroupError, match="there is a group bebop already"):
            await node.node.found_group("bebop")
        await first.node.switch("bebop")
        assert first.group == "bebop"
