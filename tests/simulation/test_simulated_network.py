"""The simulation itself: the same seed gives the same run, and faults do what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed
from openfl.network.base import GossipMessage, PeerAddress, Verdict
from openfl.network.simulated.internet import SimulatedInternet, seed_trio, simulated_peer_id
from openfl.network.simulated.link import Link, LinkSettings
from openfl.network.simulated.network import SimulatedNetwork

TOPIC = "topic"
LOSSY = LinkSettings(
    latency_seconds=(0.01, 0.2),
    loss=0.1,
    duplication=0.1,
    reordering=0.2,
    bandwidth_bytes_per_second=100_000,
)


def address_of(network: SimulatedNetwork) -> PeerAddress:
    return PeerAddress(network.peer_id, (network.address,))


async def ring_with_chords(networks: list[SimulatedNetwork]) -> None:
    for number, network in enumerate(networks):
        for step in (1, 3):
            await network.connect(address_of(networks[(number + step) % len(networks)]))


def run_gossip(seed: int, settings: LinkSettings = LOSSY, count: int = 10) -> list[tuple[Any, ...]]:
    """(when, who heard, author, payload) of everything heard while each peer publishes 5 times."""
    trace: list[tuple[Any, ...]] = []

    async def scenario() -> None:
        async with SimulatedInternet(seed, settings) as world, AsyncExitStack() as stack:
            networks = [
                await stack.enter_async_context(world.network(simulated_peer_id(str(n))))
                for n in range(count)
            ]

            def listen(network: SimulatedNetwork) -> Any:
                def hear(message: GossipMessage) -> Verdict:
                    trace.append(
                        (
                            round(trio.current_time(), 9),
                            network.peer_id,
                            message.author,
                            message.relayed_by,
                            message.payload,
                        )
                    )
                    return Verdict.ACCEPT

                return hear

            for network in networks:
                await network.subscribe(TOPIC, listen(network))
            await ring_with_chords(networks)
            await trio.sleep(2)

            async def talk(network: SimulatedNetwork) -> None:
                for number in range(5):
                    await network.publish(TOPIC, b"%d" % number + bytes(500))
                    await trio.sleep(1)

            async with trio.open_nursery() as nursery:
                for network in networks:
                    nursery.start_soon(talk, network)
            await trio.sleep(30)

    seed_trio(seed)
    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    return trace


@pytest.fixture(autouse=True)
def _restore_trio() -> Iterator[None]:
    run: Any = trio._core._run  # type: ignore[attr-defined]
    before = run._ALLOW_DETERMINISTIC_SCHEDULING
    yield
    run._ALLOW_DETERMINISTIC_SCHEDULING = before


def test_the_same_seed_gives_the_same_run() -> None:
    first, second = run_gossip(seed=5), run_gossip(seed=5)
    assert len(first) > 300
    assert first == second


def test_another_seed_gives_another_run() -> None:
    assert run_gossip(seed=5) != run_gossip(seed=6)


def test_without_faults_everybody_hears_everything_once() -> None:
    trace = run_gossip(seed=1, settings=LinkSettings())
    heard = [(who, author, payload) for _, who, author, _, payload in trace]
    assert len(heard) == len(set(heard)) == 10 * 9 * 5


def test_with_faults_nothing_is_heard_twice() -> None:
    trace = run_gossip(seed=1)
    heard = [(who, author, payload) for _, who, author, _, payload in trace]
    assert len(heard) == len(set(heard))


class TwoSides:
    """Four connected peers a, b | c, d and what each heard."""

    def __init__(self, world: SimulatedInternet) -> None:
        self.world = world
        self.heard: dict[PeerId, list[bytes]] = {}

    async def enter(self, stack: AsyncExitStack) -> list[SimulatedNetwork]:
        networks = []
        for name in "abcd":
            network = await stack.enter_async_context(self.world.network(simulated_peer_id(name)))
            heard = self.heard.setdefault(network.peer_id, [])

            def hear(message: GossipMessage, heard: list[bytes] = heard) -> Verdict:
                heard.append(message.payload)
                return Verdict.ACCEPT

            await network.subscribe(TOPIC, hear)
            networks.append(network)
        for one in networks:
            for other in networks:
                if one is not other:
                    await one.connect(address_of(other))
        await trio.sleep(1)
        return networks


async def test_a_partition_cuts_and_a_heal_allows_to_connect_again(autojump_clock: Any) -> None:
    async with SimulatedInternet(3) as world, AsyncExitStack() as stack:
        sides = TwoSides(world)
        a, b, c, d = await sides.enter(stack)
        world.partition([a.peer_id, b.peer_id], [c.peer_id, d.peer_id])
        await a.publish(TOPIC, b"during")
        await trio.sleep(5)
        assert sides.heard[b.peer_id] == [b"during"]
        assert sides.heard[c.peer_id] == sides.heard[d.peer_id] == []
        assert {peer.peer_id for peer in a.peers()} == {b.peer_id}
        with pytest.raises(RequestFailed, match="no answer"):
            await a.connect(address_of(c))
        world.heal()
        await a.connect(address_of(c))
        await trio.sleep(1)
        await a.publish(TOPIC, b"after")
        await trio.sleep(5)
        assert sides.heard[c.peer_id] == sides.heard[d.peer_id] == [b"after"]


async def test_a_crashed_peer_is_gone_and_may_come_back_under_its_name(
    autojump_clock: Any,
) -> None:
    async with SimulatedInternet(3) as world, AsyncExitStack() as stack:
        sides = TwoSides(world)
        a, b, _, _ = await sides.enter(stack)
        await b.provide(b"k" * 32)
        world.crash(b.peer_id)
        assert b.peer_id not in {peer.peer_id for peer in a.peers()}
        await b.publish(TOPIC, b"from beyond")
        await trio.sleep(5)
        assert sides.heard[a.peer_id] == []
        # Its provider record outlives it, as in a real DHT.
        assert await a.find_providers(b"k" * 32) == (address_of(b),)
        with pytest.raises(RequestFailed):
            await a.connect(address_of(b))
        async with world.network(b.peer_id) as successor:
            await successor.connect(address_of(a))
            assert b.peer_id in {peer.peer_id for peer in a.peers()}


async def test_a_name_can_be_in_a_world_once(autojump_clock: Any) -> None:
    async with SimulatedInternet() as world, world.network(simulated_peer_id("a")):
        with pytest.raises(NetworkError, match="already"):
            await world.network(simulated_peer_id("a")).__aenter__()


async def test_hours_pass_in_no_time(autojump_clock: Any) -> None:
    async with SimulatedInternet() as world, world.network(simulated_peer_id("a")):
        started = trio.current_time()
        await trio.sleep(24 * 3600)
        assert trio.current_time() - started >= 24 * 3600


# The model of a link


def test_a_stream_neither_loses_nor_reorders() -> None:
    link = Link(LOSSY, "seed")
    arrivals = [link.transfer(now / 100, 1000) for now in range(200)]
    assert arrivals == sorted(arrivals)


def test_bandwidth_delays_what_queues_behind() -> None:
    link = Link(LinkSettings(latency_seconds=(0.1, 0.1), bandwidth_bytes_per_second=1000), "s")
    assert link.transfer(0.0, 1000) == pytest.approx(1.1)
    assert link.transfer(0.0, 500) == pytest.approx(1.6)
    assert link.transfer(9.0, 1000) == pytest.approx(10.1)


def test_loss_and_duplication_happen_as_often_as_set() -> None:
    link = Link(LinkSettings(loss=0.2, duplication=0.1), "seed")
    copies = [len(link.gossip(float(now), 100)) for now in range(5000)]
    assert copies.count(0) / 5000 == pytest.approx(0.2, abs=0.03)
    assert copies.count(2) / 5000 == pytest.approx(0.08, abs=0.02)


def test_a_reordered_message_is_overtaken() -> None:
    link = Link(LinkSettings(reordering=0.5), "seed")
    arrivals = [link.gossip(now / 1000, 100)[0] for now in range(100)]
    assert arrivals != sorted(arrivals)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 1.5},
        {"duplication": -0.1},
        {"reordering": 2},
        {"latency_seconds": (0.2, 0.1)},
        {"latency_seconds": (0.0, 0.1)},
        {"bandwidth_bytes_per_second": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkSettings(**wrong)
