"""Asking who answers at a place: the identity that is proved there, or why there is none."""

from __future__ import annotations

import os
import random

import pytest
import trio
from libp2p_rig import make_network, until

from openfl.core.errors import NetworkError
from openfl.network.libp2p.network import Libp2pNetwork
from openfl.network.libp2p.who_is_there import who_is_there


def port_of(network: Libp2pNetwork) -> int:
    return network.listening[0][1]


@pytest.mark.parametrize("tls", [True, False])
async def test_a_node_proves_who_it_is_by_address_and_by_name(tls: bool) -> None:
    async with make_network(tls=tls) as network:
        assert await who_is_there("127.0.0.1", port_of(network)) == network.peer_id
        assert await who_is_there("localhost", port_of(network)) == network.peer_id
        # It was a visitor who left: nobody is connected.
        await until(lambda: network.statistics().connections == 0)
        assert network.peers() == ()


async def test_of_a_private_network_only_with_its_key() -> None:
    key = os.urandom(32)
    async with make_network(network_key=key) as network:
        assert await who_is_there("127.0.0.1", port_of(network), key) == network.peer_id
        for other in (None, os.urandom(32)):
            with pytest.raises(NetworkError, match="no node, or one of a private network"):
                await who_is_there("127.0.0.1", port_of(network), other)


async def test_where_nobody_listens_and_names_that_are_not_known() -> None:
    async with make_network() as network:
        port = port_of(network)
    with pytest.raises(NetworkError, match=rf"nothing answers at 127.0.0.1:{port}: connection ref"):
        await who_is_there("127.0.0.1", port)
    with pytest.raises(NetworkError, match=r"nothing answers at nowhere\.invalid:1: "):
        await who_is_there("nowhere.invalid", 1)
    with pytest.raises(
        NetworkError, match=r"nothing answers at a\.\.b:1: that is no name of a host"
    ):
        await who_is_there("a..b", 1)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x13/multistream/1.0.0\n\x03na\n",
        random.Random(7).randbytes(99),
    ],
    ids=["nothing", "http", "no-common-protocol", "noise"],
)
async def test_what_is_no_node_is_told_from_one(said: bytes) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(said)
        await stream.receive_some(100)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        with pytest.raises(NetworkError, match="no node"):
            await who_is_there("127.0.0.1", listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def test_one_that_never_answers_is_waited_for_no_longer_than_the_bound(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = trio.Event()

    class Silent:
        """A connection over which nothing ever comes."""

        async def send_all(self, data: bytes) -> None:
            asked.set()

        async def receive_some(self, most: int) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            pass

    async def opened(host: str, port: int) -> Silent:
        return Silent()

    monkeypatch.setattr(trio, "open_tcp_stream", opened)
    with pytest.raises(NetworkError, match="no answer within 10 s"):
        await who_is_there("127.0.0.1", 4001)
    assert asked.is_set()
