"""Who gets a connection: private networks, and lists of peer ids."""

from __future__ import annotations

import pytest
import trio
from libp2p_rig import address_of, answers, make_network, until

from openfl.core.errors import RequestFailed
from openfl.network.access_list import AccessList
from openfl.network.base import PeerAddress
from openfl.network.libp2p import access as libp2p_access
from openfl.network.libp2p import swarm as libp2p_swarm
from openfl.network.libp2p.transport import CountingStream, Traffic

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


async def test_nodes_with_one_network_key_talk() -> None:
    async with make_network(network_key=KEY) as a, make_network(network_key=KEY) as b:
        await a.connect(address_of(b))
        assert await answers(b, a)


@pytest.mark.parametrize("theirs", [None, OTHER_KEY], ids=["none", "another"])
async def test_a_node_without_the_network_key_gets_no_connection(
    theirs: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libp2p_swarm, "UPGRADE_TIMEOUT_SECONDS", 1.5)
    async with make_network(network_key=KEY) as a, make_network(network_key=theirs) as b:
        for near, far in ((a, b), (b, a)):
            with pytest.raises(RequestFailed, match="handshake"):
                await near.connect(address_of(far))
        assert a.peers() == b.peers() == ()


async def test_what_crosses_the_wire_of_a_private_network_names_no_protocol() -> None:
    heard = bytearray()

    async def listen(stream: trio.SocketStream) -> None:
        async for data in stream:
            heard.extend(data)

    async with (
        make_network() as plain,
        make_network(network_key=KEY) as private,
        trio.open_nursery() as nursery,
    ):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen, [listener])
        port = listener.socket.getsockname()[1]
        for network, named in ((private, False), (plain, True)):
            heard.clear()
            other = plain if network is private else private
            async with trio.open_nursery() as dialling:
                address = PeerAddress(other.peer_id, (f"/ip4/127.0.0.1/tcp/{port}",))
                dialling.start_soon(network.connect, address)
                await until(lambda: len(heard) >= 20)
                dialling.cancel_scope.cancel()
            assert (b"/multistream/1.0.0" in heard) is named
        nursery.cancel_scope.cancel()


async def test_a_nonce_that_arrives_in_pieces_is_put_together() -> None:
    class Pieces:
        """Gives what was written, two bytes at a time."""

        def __init__(self) -> None:
            self.data = b""

        async def write(self, data: bytes) -> None:
            self.data += data

        async def read(self, n: int | None = None) -> bytes:
            taken = min(2, n or 2)
            piece, self.data = self.data[:taken], self.data[taken:]
            return piece

    pipe = Pieces()
    await libp2p_access.ProtectedStream(pipe, KEY).write(b"hello")
    reader, heard = libp2p_access.ProtectedStream(pipe, KEY), b""
    while len(heard) < 5:
        heard += await reader.read(100)
    assert heard == b"hello"


async def test_a_length_that_a_stranger_announces_is_not_what_memory_is_made_for() -> None:
    """Bytes under another key, read as a length, are often enormous; so are an attacker's."""
    async with make_network() as node:
        port = int(address_of(node).multiaddrs[0].rpartition("/")[2])
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        far = await listener.accept()
        async with listener, far:
            await far.send_all(b"few")
            stream = CountingStream(near, Traffic())
            assert await stream.read(1 << 60) == b"few"
            await stream.close()
        # And over the wire: the node says nothing to it and goes on.
        attacker = await trio.open_tcp_stream("127.0.0.1", port)
        await attacker.send_all(b"\xff" * 8 + b"\x7f")
        async with make_network() as other:
            await other.connect(address_of(node))
            assert await answers(node, other)
        await attacker.aclose()


async def test_a_denied_peer_gets_no_connection_either_way_and_is_counted() -> None:
    async with make_network() as denied, make_network() as other:
        lists = AccessList(deny=frozenset([denied.peer_id]))
        async with make_network(access=lists) as node:
            await other.connect(address_of(node))
            with pytest.raises(RequestFailed, match=r"refused by network\.deny_peers"):
                await node.connect(address_of(denied))
            await _connects_in_vain(denied, node)
            assert [peer.peer_id for peer in node.peers()] == [other.peer_id]
            assert node.statistics().faults["peer-denied"] == 1


async def test_with_a_list_of_allowed_peers_nobody_else_gets_a_connection() -> None:
    async with make_network() as friend, make_network() as stranger:
        lists = AccessList(allow=frozenset([friend.peer_id]))
        async with make_network(access=lists) as node:
            await friend.connect(address_of(node))
            assert await answers(node, friend)
            with pytest.raises(RequestFailed, match=r"not in network\.allow_peers"):
                await node.connect(address_of(stranger))
            await _connects_in_vain(stranger, node)
            assert [peer.peer_id for peer in node.peers()] == [friend.peer_id]
            assert node.statistics().faults["peer-not-allowed"] == 1


def test_deny_wins_over_allow() -> None:
    from openfl.core.contribution import PeerId

    both = AccessList(frozenset([PeerId("a")]), frozenset([PeerId("a")]))
    assert both.refusal(PeerId("a")) == "peer-denied"


async def _connects_in_vain(visitor: object, node: object) -> None:
    """The visitor may see its side open for a moment; then it is alone again."""
    try:
        await visitor.connect(address_of(node))  # type: ignore[attr-defined,arg-type]
    except RequestFailed:
        return
    await until(lambda: not visitor.peers())  # type: ignore[attr-defined]
