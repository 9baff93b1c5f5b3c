"""Discovery over the simulated network: who finds whom, and how soon in virtual time."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from openfl.core.contribution import GroupId
from openfl.discovery.discovery import (
    MAX_REMEMBERED,
    Discovery,
)
from openfl.discovery.retries import EARLY_SECONDS, RETRY_MAX_SECONDS, retry_delay
from openfl.network.base import GossipMessage, PeerAddress, Verdict
from openfl.network.simulated.internet import SimulatedInternet, simulated_peer_id
from openfl.network.simulated.network import SimulatedNetwork
from openfl.wire.names import deltas_topic, group_key

GROUP = GroupId("ab" * 16)
OTHER_GROUP = GroupId("cd" * 16)
NOON = 1_700_000_000.0
HEAL_SECONDS = 7.0
"""Leaves as much of the 15 s that are promised for what follows a connection."""


def accept(message: GossipMessage) -> Verdict:
    return Verdict.ACCEPT


def address_of(network: SimulatedNetwork) -> PeerAddress:
    return PeerAddress(network.peer_id, (network.address,))


def unix_now() -> float:
    return NOON + trio.current_time()


def discovery_of(network: SimulatedNetwork, *bootstrap: PeerAddress, **options: Any) -> Discovery:
    return Discovery(
        network,
        bootstrap=bootstrap,
        now=unix_now,
        rng=random.Random(network.peer_id),
        **options,
    )


async def enter(
    world: SimulatedInternet,
    stack: AsyncExitStack,
    count: int,
    group: GroupId = GROUP,
    name: str = "",
) -> list[SimulatedNetwork]:
    networks = []
    for number in range(count):
        network = await stack.enter_async_context(
            world.network(simulated_peer_id(f"{name}{number}"))
        )
        await network.subscribe(deltas_topic(group), accept)
        networks.append(network)
    return networks


@pytest.mark.parametrize("count", [2, 4, 8, 20])
async def test_nodes_that_start_together_find_the_others_within_seconds(
    autojump_clock: Any, count: int
) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        networks = await enter(world, stack, count)
        boot = address_of(networks[0])
        discoveries = [discovery_of(networks[0])]
        discoveries += [discovery_of(network, boot) for network in networks[1:]]
        started = trio.current_time()

        async def start(discovery: Discovery) -> None:
            await discovery.join()
            await discovery.run(GROUP)

        for discovery in discoveries:
            nursery.start_soon(start, discovery)
        wanted = min(count - 1, 6)
        while any(len(discovery.members(GROUP)) < wanted for discovery in discoveries):
            await trio.sleep(0.05)
            assert trio.current_time() - started < 10
        nursery.cancel_scope.cancel()


async def test_a_node_dials_no_more_members_than_it_wants(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        networks = await enter(world, stack, 30)
        hub = networks[0]
        for network in networks[1:]:
            await network.connect(address_of(hub))
            await network.provide(group_key(GROUP, unix_now()))
        async with world.network(simulated_peer_id("late")) as late:
            await late.subscribe(deltas_topic(GROUP), accept)
            discovery = discovery_of(late, address_of(hub), dial_members=4)
            await discovery.join()
            await nursery.start(discovery.run, GROUP)
            await trio.sleep(300)
            assert 4 <= len(discovery.members(GROUP)) <= 6
        nursery.cancel_scope.cancel()


async def test_members_of_other_groups_are_told_apart(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        ours = await enter(world, stack, 3, GROUP, "ours")
        theirs = await enter(world, stack, 3, OTHER_GROUP, "theirs")
        hub = await stack.enter_async_context(world.network(simulated_peer_id("hub")))
        everyone = [(n, GROUP) for n in ours] + [(n, OTHER_GROUP) for n in theirs]
        discovery_of(hub)  # answers who is connected
        discoveries = []
        for network, group in everyone:
            discovery = discovery_of(network, address_of(hub))
            discoveries.append(discovery)
            await discovery.join()
            nursery.start_soon(discovery.run, group)
        await trio.sleep(20)
        assert discoveries[0].members(GROUP) == {n.peer_id for n in ours[1:]}
        assert discoveries[0].members(OTHER_GROUP) == frozenset()
        found = {peer.peer_id for peer in await discoveries[0].find_members(OTHER_GROUP)}
        assert found == {n.peer_id for n in theirs}
        anyone = {peer.peer_id for peer in await discoveries[0].find_peers()}
        assert anyone >= {n.peer_id for n in theirs}
        nursery.cancel_scope.cancel()


async def test_joining_says_what_came_of_each_address(autojump_clock: Any) -> None:
    async with SimulatedInternet(1) as world, AsyncExitStack() as stack:
        a, b = await enter(world, stack, 2)
        gone = PeerAddress(simulated_peer_id("gone"), ("/memory/77",))
        discovery = discovery_of(a, gone, address_of(b))
        outcomes = {outcome.address: outcome for outcome in await discovery.join()}
        assert outcomes[f"{b.address}/p2p/{b.peer_id}"].ok
        failed = outcomes[f"/memory/77/p2p/{gone.peer_id}"]
        assert not failed.ok
        assert "no answer" in failed.reason


@pytest.mark.parametrize("somebody_answers", [True, False])
async def test_joining_does_not_wait_for_a_machine_that_is_off_once_another_has_answered(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, somebody_answers: bool
) -> None:
    async with SimulatedInternet(1) as world, AsyncExitStack() as stack:
        a, b = await enter(world, stack, 2)
        off = PeerAddress(simulated_peer_id("off"), ("/memory/77",))
        connect = a.connect

        async def connect_or_hang(peer: PeerAddress) -> None:
            if peer.peer_id == off.peer_id or not somebody_answers:
                await trio.sleep_forever()
            await connect(peer)

        monkeypatch.setattr(a, "connect", connect_or_hang)
        discovery = discovery_of(a, off, address_of(b))
        began = trio.current_time()
        outcomes = {outcome.peer.peer_id: outcome for outcome in await discovery.join()}
        took = trio.current_time() - began
        assert outcomes[b.peer_id].ok == somebody_answers
        assert not outcomes[off.peer_id].ok
        assert "no answer" in outcomes[off.peer_id].reason
        assert (took <= 2.0) == somebody_answers


async def test_with_nobody_to_dial_joining_is_empty_and_the_node_can_be_found(
    autojump_clock: Any,
) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        a, b = await enter(world, stack, 2)
        first = discovery_of(a)
        assert await first.join() == ()
        await nursery.start(first.run, GROUP)
        second = discovery_of(b, address_of(a))
        await second.join()
        await nursery.start(second.run, GROUP)
        assert second.members(GROUP) == {a.peer_id}
        nursery.cancel_scope.cancel()


async def test_a_bootstrap_node_that_comes_late_is_found_by_retrying(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        (a,) = await enter(world, stack, 1)
        late = world.network(simulated_peer_id("late"))
        discovery = discovery_of(a, address_of(late))
        outcomes = await discovery.join()
        assert [outcome.ok for outcome in outcomes] == [False]
        await nursery.start(discovery.run, GROUP)
        await trio.sleep(200)
        async with late:
            await trio.sleep(RETRY_MAX_SECONDS + 5)
            assert {peer.peer_id for peer in a.peers()} == {late.peer_id}
        nursery.cancel_scope.cancel()


async def test_remembered_peers_make_a_restart_work_without_the_bootstrap_node(
    autojump_clock: Any,
) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        a, b, c = await enter(world, stack, 3)
        for network in (b, c):
            discovery = discovery_of(network, address_of(a))
            await discovery.join()
            await nursery.start(discovery.run, GROUP)
        await trio.sleep(10)
        remembered = discovery.remembered()
        assert {peer.peer_id for peer in remembered} == {a.peer_id, b.peer_id}
        world.crash(a.peer_id)
        world.crash(c.peer_id)
        async with world.network(c.peer_id) as again:
            await again.subscribe(deltas_topic(GROUP), accept)
            restarted = discovery_of(again, remembered=remembered)
            outcomes = {o.peer.peer_id: o.ok for o in await restarted.join()}
            assert outcomes == {a.peer_id: False, b.peer_id: True}
            # The one that failed is kept, but behind those that answered.
            assert [p.peer_id for p in restarted.remembered()] == [b.peer_id, a.peer_id]
        nursery.cancel_scope.cancel()


async def test_remembered_peers_are_bounded(autojump_clock: Any) -> None:
    async with SimulatedInternet(1) as world, AsyncExitStack() as stack:
        (a,) = await enter(world, stack, 1)
        many = [PeerAddress(simulated_peer_id(str(n)), ("/memory/9",)) for n in range(1000)]
        assert len(discovery_of(a, remembered=many).remembered()) == MAX_REMEMBERED


async def test_members_are_provided_anew_in_the_next_hour(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        a, b = await enter(world, stack, 2)
        discovery = discovery_of(a, address_of(b))
        await discovery.join()
        await nursery.start(discovery.run, GROUP)
        for _ in range(3):
            await trio.sleep(3600)
            found = await b.find_providers(group_key(GROUP, unix_now() - 60))
            assert found == (address_of(a),)
        nursery.cancel_scope.cancel()


async def test_after_a_partition_members_find_each_other_again(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        networks = await enter(world, stack, 4)
        boot = address_of(networks[0])
        discoveries = []
        for network in networks:
            discovery = discovery_of(network, *([] if network is networks[0] else [boot]))
            discoveries.append(discovery)
            await discovery.join()
            await nursery.start(discovery.run, GROUP)
        await trio.sleep(10)
        ids = [network.peer_id for network in networks]
        world.partition(ids[:2], ids[2:])
        await trio.sleep(120)
        assert discoveries[0].members(GROUP) == {ids[1]}
        world.heal()
        await trio.sleep(2 * RETRY_MAX_SECONDS)
        assert all(len(discovery.members(GROUP)) == 3 for discovery in discoveries)
        nursery.cancel_scope.cancel()


async def test_a_network_that_fell_apart_is_one_again_within_seconds_of_its_heal(
    autojump_clock: Any,
) -> None:
    """Each half has as many members as a node wants, and nobody has a bootstrap address."""
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        networks = await enter(world, stack, 14)
        for number, network in enumerate(networks):
            await network.connect(address_of(networks[number - 1]))
            await nursery.start(discovery_of(network).run, GROUP)
        await trio.sleep(20)
        ids = [network.peer_id for network in networks]
        halves = set(ids[::2]), set(ids[1::2])

        def bridges() -> int:
            return sum(
                peer.peer_id in halves[1] for network in networks[::2] for peer in network.peers()
            )

        assert bridges()
        world.partition(*halves)
        await trio.sleep(100)
        assert not bridges()
        world.heal()
        await trio.sleep(HEAL_SECONDS)
        assert bridges()
        nursery.cancel_scope.cancel()


async def test_whoever_started_alone_is_there_soon_after_the_first_of_those_it_remembers(
    autojump_clock: Any,
) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        (a,) = await enter(world, stack, 1)
        late = world.network(simulated_peer_id("late"))
        discovery = discovery_of(a, remembered=[address_of(late)])
        await discovery.join()
        await nursery.start(discovery.run, GROUP)
        await trio.sleep(600)
        async with late:
            await trio.sleep(HEAL_SECONDS)
            assert {peer.peer_id for peer in a.peers()} == {late.peer_id}
        nursery.cancel_scope.cancel()


async def test_whoever_was_started_at_the_same_moment_is_there_as_soon_as_it_listens(
    autojump_clock: Any,
) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        (a,) = await enter(world, stack, 1)
        late = world.network(simulated_peer_id("late"))
        discovery = discovery_of(a, address_of(late))
        (refused,) = await discovery.join()
        assert not refused.ok
        await nursery.start(discovery.run, GROUP)
        await trio.sleep(EARLY_SECONDS / 2)
        async with late:
            await trio.sleep(0.6)
            assert {peer.peer_id for peer in a.peers()} == {late.peer_id}
        nursery.cancel_scope.cancel()


async def test_whoever_met_nobody_for_long_is_patient(autojump_clock: Any) -> None:
    async with (
        SimulatedInternet(1) as world,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        (a,) = await enter(world, stack, 1)
        connect, dials = a.connect, 0

        async def counted(peer: PeerAddress) -> None:
            nonlocal dials
            dials += 1
            await connect(peer)

        a.connect = counted  # type: ignore[method-assign]
        discovery = discovery_of(a, address_of(world.network(simulated_peer_id("never"))))
        await discovery.join()
        await nursery.start(discovery.run, GROUP)
        await trio.sleep(EARLY_SECONDS)
        early, dials = dials, 0
        await trio.sleep(10 * EARLY_SECONDS)
        assert early <= 60
        assert dials <= 40  # as before: a missed peer is tried every four seconds at most
        nursery.cancel_scope.cancel()


def test_a_key_holds_for_an_hour() -> None:
    hour = 1_700_000_000 // 3600 * 3600
    assert group_key(GROUP, hour) == group_key(GROUP, hour + 3599)
    assert group_key(GROUP, hour) != group_key(GROUP, hour + 3600)
    assert group_key(GROUP, hour) != group_key(OTHER_GROUP, hour)
    assert len(group_key(GROUP, hour)) == 32


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (4, 8), (7, 60), (1000, 60)])
def test_the_pause_after_failures_doubles_up_to_a_minute(failures: int, seconds: float) -> None:
    assert retry_delay(failures) == seconds
