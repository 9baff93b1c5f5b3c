"""What is asked of routers in a process of its own, with real miniupnpc and hostile routers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import psutil
import pytest
import trio

from openfl.network.lan import upnp_router
from openfl.network.lan.upnp import PERMANENT_ONLY, TAKEN, Mapping, RouterFailed, RouterView
from openfl.network.lan.upnp_router import LanRouter
from tests.fake_router import FakeRouter, serving
from tests.patience import PATIENCE_SECONDS

HERE = IPv4Address("127.0.0.1")
OUTSIDE = "93.184.216.34"
MAPPING = Mapping(4001, 4002, HERE)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question starts a process, which a busy machine may be slow to do."""
    monkeypatch.setattr(upnp_router, "ASK_SECONDS", PATIENCE_SECONDS)


async def refused_word(router: LanRouter, url: str, mapping: Mapping = MAPPING) -> str:
    with pytest.raises(RouterFailed) as failed:
        await router.add(url, mapping, 60)
    return failed.value.word


async def test_a_router_tells_its_address_maps_and_unmaps() -> None:
    fake = FakeRouter(OUTSIDE)
    with serving(fake) as url:
        router = LanRouter()
        assert await router.look(url) == RouterView(HERE, IPv4Address(OUTSIDE))
        for _ in range(2):  # made, then renewed
            await router.add(url, MAPPING, 60)
            assert fake.mappings == {4001: ("127.0.0.1", 4002, 60)}
        await router.remove(url, MAPPING)
        assert fake.mappings == {}


async def test_a_mapping_of_another_machine_is_neither_replaced_nor_removed() -> None:
    theirs = {4001: ("127.0.0.9", 4002, 0)}
    fake = FakeRouter(OUTSIDE, mappings=dict(theirs))
    with serving(fake) as url:
        router = LanRouter()
        assert await refused_word(router, url) in TAKEN
        await router.remove(url, MAPPING)
        assert fake.mappings == theirs


async def test_a_router_that_knows_no_lease_is_understood() -> None:
    fake = FakeRouter(OUTSIDE, permanent_only=True)
    with serving(fake) as url:
        router = LanRouter()
        assert await refused_word(router, url) in PERMANENT_ONLY
        await router.add(url, MAPPING, 0)
        assert fake.mappings == {4001: ("127.0.0.1", 4002, 0)}


@pytest.mark.parametrize("external", ["", "nowhere", "::1", "1.2.3.4.5", "<b>"])
async def test_an_address_that_is_none_is_refused(external: str) -> None:
    with serving(FakeRouter(external)) as url, pytest.raises(RouterFailed):
        await LanRouter().look(url)


async def test_a_router_that_would_have_us_talk_to_another_host_is_left() -> None:
    with socket.create_server(("127.0.0.2", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        fake = FakeRouter(OUTSIDE, control=f"http://127.0.0.2:{port}/control")
        with serving(fake) as url, pytest.raises(RouterFailed, match="another address"):
            await LanRouter().look(url)
        elsewhere.settimeout(0)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def drip(connection: socket.socket) -> None:
    """A header that never ends, slowly: miniupnpc waits for five seconds for each byte."""
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    """A body that never ends, as fast as it goes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(1 << 20))


def junk(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n<root><service><" + b"\xff" * 999
    )
    connection.close()


class Hostile:
    """A router at `url` that treats its only visitor so; `visited` once that has come."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.visited = threading.Event()
        self._behave = behave
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/desc.xml"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._server.accept()
            self._server.close()
            with connection:
                connection.recv(4096)
                self.visited.set()
                self._behave(connection)

    @contextlib.contextmanager
    def running(self) -> Iterator[Hostile]:
        thread = threading.Thread(target=self.serve)
        thread.start()
        try:
            yield self
        finally:
            with contextlib.suppress(OSError):  # nobody came, or it is closed
                self._server.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the visitor is still there"


async def test_a_router_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upnp_router, "ASK_SECONDS", 1.0)
    with Hostile(drip).running() as router, pytest.raises(RouterFailed, match="in time"):
        await LanRouter().look(router.url)


async def test_a_question_that_is_cancelled_leaves_no_process() -> None:
    others = set(psutil.Process().children())  # nodes of other tests, for example
    with Hostile(drip).running() as router:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LanRouter().look, router.url)
            assert await trio.to_thread.run_sync(router.visited.wait, PATIENCE_SECONDS)
            nursery.cancel_scope.cancel()
        assert set(psutil.Process().children()) == others


@pytest.mark.parametrize("behave", [flood, junk])
async def test_a_router_that_floods_or_talks_nonsense_costs_the_node_nothing(
    behave: Callable[[socket.socket], None],
) -> None:
    before = psutil.Process().memory_info().rss
    with Hostile(behave).running() as router, pytest.raises(RouterFailed) as failed:
        await LanRouter().look(router.url)
    assert "in time" not in str(failed.value)
    assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
