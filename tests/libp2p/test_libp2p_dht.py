"""The DHT does no more than it must: whom it tells, whom it asks, and what is said on the way."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
import trio
from libp2p.io.exceptions import IncompleteReadError
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.utils.varint import encode_delim
from libp2p_rig import address_of, id_of, make_network, until

from openfl.network.libp2p import dht as libp2p_dht
from openfl.network.libp2p.negotiation import EagerClient
from openfl.network.libp2p.network import Libp2pNetwork
from tests.situation import within

KEY = b"k" * 32


async def know_each_other(*networks: Libp2pNetwork) -> None:
    for number, one in enumerate(networks):
        for other in networks[:number]:
            await one.connect(address_of(other))
    for one in networks:
        for other in networks:
            if one is not other:
                await until(lambda o=one, p=other: o._dht.routing_table.peer_in_table(id_of(p)))


def asked(network: Libp2pNetwork) -> Counter[str]:
    """Counts, from now on, what the network asks of each peer in the DHT."""
    counts: Counter[str] = Counter()
    store = network._dht.provider_store
    ask = store._ask

    async def count(peer: Any, request: Any) -> Any:
        counts[f"{request.type} {peer}"] += 1
        return await ask(peer, request)

    store._ask = count
    return counts


def told(counts: Counter[str]) -> dict[str, int]:
    add = libp2p_dht.Message.MessageType.ADD_PROVIDER
    return {key.split()[1]: n for key, n in counts.items() if key.split()[0] == str(add)}


def queried(counts: Counter[str]) -> dict[str, int]:
    get = libp2p_dht.Message.MessageType.GET_PROVIDERS
    return {key.split()[1]: n for key, n in counts.items() if key.split()[0] == str(get)}


async def test_what_was_provided_is_told_to_those_who_came_since_only() -> None:
    async with contextlib.AsyncExitStack() as stack:
        node, one, other = [await stack.enter_async_context(make_network()) for _ in range(3)]
        await know_each_other(node, one)
        counts = asked(node)
        for _ in range(4):
            await node.provide(KEY)
        assert told(counts) == {one.peer_id: 1}
        await know_each_other(node, one, other)
        for _ in range(4):
            await node.provide(KEY)
        assert told(counts) == {one.peer_id: 1, other.peer_id: 1}
        assert [p.peer_id for p in await other.find_providers(KEY)] == [node.peer_id]
        # Another key is another matter.
        await node.provide(b"l" * 32)
        assert told(counts) == {one.peer_id: 2, other.peer_id: 2}


async def test_a_peer_that_starts_anew_is_told_again() -> None:
    identity = bytes(make_network()._settings.identity)
    async with make_network() as node:
        async with make_network(identity) as peer:
            await know_each_other(node, peer)
            await node.provide(KEY)
        await until(lambda: not node.peers())
        async with make_network(identity) as peer:
            await know_each_other(node, peer)
            await node.provide(KEY)
            assert [p.peer_id for p in await peer.find_providers(KEY)] == [node.peer_id]


async def test_in_the_course_of_time_everybody_is_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p_dht, "RETELL_SECONDS", 0.0)
    async with make_network() as node, make_network() as peer:
        await know_each_other(node, peer)
        counts = asked(node)
        for _ in range(3):
            await node.provide(KEY)
        assert told(counts) == {peer.peer_id: 3}


async def test_a_peer_that_did_not_take_it_is_told_again() -> None:
    async with make_network() as node, make_network() as peer:
        await know_each_other(node, peer)

        async def refuse(stream: Any) -> None:
            await stream.reset()

        handlers = peer._host.multiselect.handlers
        takes = handlers[libp2p_dht.DHT_PROTOCOL]
        handlers[libp2p_dht.DHT_PROTOCOL] = refuse
        assert await node._dht.provider_store.provide(libp2p_dht.multihash(KEY)) is False
        handlers[libp2p_dht.DHT_PROTOCOL] = takes
        assert await node._dht.provider_store.provide(libp2p_dht.multihash(KEY)) is True
        assert [p.peer_id for p in await peer.find_providers(KEY)] == [node.peer_id]


async def test_a_provide_right_after_a_lookup_asks_nobody_again() -> None:
    async with make_network() as node, make_network() as peer:
        await know_each_other(node, peer)
        counts = asked(node)
        await node.find_providers(KEY)
        assert queried(counts) == {peer.peer_id: 1}
        await node.provide(KEY)
        assert (queried(counts), told(counts)) == ({peer.peer_id: 1}, {peer.peer_id: 1})


async def test_lookups_of_one_key_at_the_same_time_ask_once() -> None:
    async with make_network() as node, make_network() as peer:
        await know_each_other(node, peer)
        await peer.provide(KEY)
        counts = asked(node)
        found = []

        async def look_up() -> None:
            found.append([p.peer_id for p in await node.find_providers(KEY)])

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(look_up)
        assert found == [[peer.peer_id]] * 5
        assert queried(counts) == {peer.peer_id: 1}
        await look_up()
        assert queried(counts) == {peer.peer_id: 2}


async def test_a_lookup_that_is_given_up_does_not_take_the_others_with_it() -> None:
    async with make_network() as node, make_network() as peer:
        await know_each_other(node, peer)
        await peer.provide(KEY)
        found = []
        first, begun = trio.CancelScope(), trio.Event()
        ask = node._dht.provider_store._ask

        async def slow(to: Any, request: Any) -> Any:
            begun.set()
            if not first.cancel_called:
                await trio.sleep_forever()
            return await ask(to, request)

        node._dht.provider_store._ask = slow

        async def give_up() -> None:
            with first:
                await node.find_providers(KEY)

        async def look_up() -> None:
            found.extend(p.peer_id for p in await node.find_providers(KEY))

        with within(what="the second lookup"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give_up)
                await begun.wait()
                nursery.start_soon(look_up)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel()
        assert found == [peer.peer_id]
        assert node._dht.provider_store._lookups == {}


# negotiation-waits


class Listener:
    """Answers a negotiation in memory; counts what is written to it, each by itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.written: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        await self._stream.send_all(data)

    async def read(self, n: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(n))
        if not data:
            raise IncompleteReadError("it has ended")
        return data


@pytest.mark.parametrize(
    ("offered", "chosen", "writes"),
    [(["/a"], "/a", 1), (["/x", "/a"], "/a", 2), (["/x", "/y", "/b"], "/b", 3), (["/x"], None, 1)],
)
async def test_the_first_protocol_is_proposed_with_the_greeting(
    offered: Any, chosen: str | None, writes: int
) -> None:
    left, right = map(Listener, trio.testing.memory_stream_pair())
    server = Multiselect({protocol: None for protocol in ("/a", "/b")})  # type: ignore[misc]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.negotiate, MultiselectCommunicator(right))
        client = EagerClient()
        with within(what="an agreement"):
            if chosen is None:
                with pytest.raises(MultiselectClientError, match="not supported"):
                    await client.select_one_of(offered, MultiselectCommunicator(left))
            else:
                assert await client.select_one_of(offered, MultiselectCommunicator(left)) == chosen
        assert len(left.written) == writes
        assert left.written[0] == encode_delim(b"/multistream/1.0.0") + encode_delim(
            offered[0].encode()
        )
        nursery.cancel_scope.cancel()
