"""What this node tells of groups and hears of them: cards issued while its clock is set to another
day, and why it knows no other group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from openfl.core.contribution import GroupCard, PeerId
from openfl.core.errors import RequestFailed
from openfl.network.base import ConnectedPeer, GossipHandler, RequestHandler
from openfl.node.group_finder import GroupFinder
from openfl.wire import messages as wire
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


class AnsweringNetwork(DirectoryNetwork):
    """Its peers answer as they are told to: None never does."""

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self.answers = {peer(number): answer for number, answer in enumerate(answers, start=1)}

    def peers(self) -> tuple[ConnectedPeer, ...]:
        return tuple(ConnectedPeer(p, (), frozenset(), frozenset()) for p in self.answers)

    async def request(self, peer_id: PeerId, *_: object) -> bytes:
        answer = self.answers[peer_id]
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer


KNOWS_NOTHING = wire.encode_answer(wire.CardsAnswer(()))
REFUSES = wire.encode_answer(wire.Refusal("busy", "too many requests"))


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ((), "no peer was there to ask"),
        ((KNOWS_NOTHING, REFUSES, None), "1 of 3 peers asked answered, and know of no other"),
        ((REFUSES, REFUSES), "all 2 peers asked refused"),
        ((None,), "the one peer asked gave no answer"),
        ((RequestFailed("gone"), None), "all 2 peers asked gave no answer"),
    ],
)
async def test_why_no_group_is_known_is_said_in_words(
    autojump_clock: MockClock, answers: tuple[bytes | Exception | None, ...], text: str
) -> None:
    network: Any = AnsweringNetwork(*answers)
    finder = GroupFinder(
        network, RigSealer(peer(0)), np.random.default_rng(0), lambda: NOON, lambda _: None
    )
    await finder.ask()
    assert finder.asked.text == text
    assert finder.asked.asked == len(answers)


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
