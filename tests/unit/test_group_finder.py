"""Cards that this node issues while its clock is set to another day."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.contribution import GroupCard
from openfl.group_finder import GroupFinder
from openfl.network.base import ConnectedPeer, GossipHandler, RequestHandler
from tests.group_rig import CHARTER, RigSealer, peer

NOON, DAY = 1_700_000_000.0, 86_400.0


class DirectoryNetwork:
    """The part of a `Network` that a finder uses; what it says goes nowhere."""

    peer_id = peer(0)

    def set_handler(self, protocol: str, handler: RequestHandler, max_bytes: int = 0) -> None:
        pass

    async def subscribe(self, topic: str, handler: GossipHandler) -> None:
        await trio.lowlevel.checkpoint()

    async def publish(self, topic: str, payload: bytes) -> None:
        await trio.lowlevel.checkpoint()

    def peers(self) -> tuple[ConnectedPeer, ...]:
        return ()

    def penalize(self, peer_id: str, reason: str) -> None:
        raise AssertionError(reason)


@pytest.mark.parametrize("jump", [0.0, -DAY, DAY])
async def test_a_newer_card_says_that_it_is_newer_though_the_clock_was_set(
    autojump_clock: MockClock, jump: float
) -> None:
    """Others take only a card that was issued after the one they have."""
    issued: list[float] = []
    off = 0.0

    def own_card(unix_now: float) -> GroupCard:
        issued.append(unix_now)
        return GroupCard(CHARTER, 1, 0, None, None, None, peer(0), unix_now)

    network: Any = DirectoryNetwork()
    clock = lambda: NOON + trio.current_time() + off  # noqa: E731
    finder = GroupFinder(network, RigSealer(peer(0)), np.random.default_rng(0), clock, own_card)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(finder.run)
        await trio.sleep(100)
        before, off = len(issued), jump
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert 0 < before < len(issued)
    assert issued == sorted(set(issued))
