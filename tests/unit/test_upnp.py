"""Port mapping against a router of memory: what is asked of it, told to others, and said."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

import pytest
import trio
from trio.testing import MockClock

from openfl.network.lan.upnp import (
    LEASE_SECONDS,
    LOOK_SECONDS,
    LOWEST_OTHER_PORT,
    REMOVE_SECONDS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    Mapping,
    PortMapping,
    RouterFailed,
    RouterView,
    is_public,
    ports_to_map,
)
from openfl.network.lan.upnp_process import host_of
from openfl.network.lan.upnp_router import MAX_URL_CHARACTERS, read_reply

URL = "http://192.168.1.1:5000/desc.xml"
HOME, MOVED = "192.168.1.7", "192.168.1.8"
OUTSIDE = "93.184.216.34"


@dataclass
class MemoryRouter:
    """`mappings`: external port -> (mapping, lease in seconds)."""

    lan: str = HOME
    external: str = OUTSIDE
    on: bool = True
    permanent_only: bool = False
    silent: bool = False
    mappings: dict[int, tuple[Mapping, int]] = field(default_factory=dict)
    added: list[tuple[int, int]] = field(default_factory=list)
    """(external port, lease) of each time."""

    async def find(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return (URL,) if self.on else ()

    async def look(self, url: str) -> RouterView:
        await self._answer(url)
        return RouterView(IPv4Address(self.lan), IPv4Address(self.external))

    async def add(self, url: str, mapping: Mapping, lease_seconds: int) -> None:
        await self._answer(url)
        if lease_seconds and self.permanent_only:
            raise RouterFailed("725", "OnlyPermanentLeasesSupported")
        held, _ = self.mappings.get(mapping.external_port, (mapping, 0))
        if (held.client, held.internal_port) != (mapping.client, mapping.internal_port):
            raise RouterFailed("718", "ConflictInMappingEntry")
        self.mappings[mapping.external_port] = mapping, lease_seconds
        self.added.append((mapping.external_port, lease_seconds))

    async def remove(self, url: str, mapping: Mapping) -> None:
        await self._answer(url)
        if self.mappings.get(mapping.external_port, (None, 0))[0] == mapping:
            del self.mappings[mapping.external_port]

    async def _answer(self, url: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.silent:
            await trio.sleep_forever()
        if not self.on or url != URL:
            raise RouterFailed("no answer")


class Home:
    """A node at home, and what it told and said."""

    def __init__(self, router: MemoryRouter, *listening: tuple[str, int], seed: int = 1) -> None:
        self.router = router
        self.told: list[tuple[str, ...]] = []
        self.said: list[tuple[str, str]] = []
        self.local = frozenset({router.lan})
        self.mapping = PortMapping(
            router,
            listening or (("0.0.0.0", 4001),),
            self.told.append,
            lambda level, kind, text: self.said.append((kind, text)),
            lambda: self.local,
            random.Random(seed),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Entered when the first attempt is over."""
        async with self.mapping.running():
            await trio.sleep(1)
            yield

    def move(self, address: str) -> None:
        self.router.lan = address
        self.local = frozenset({address})


def ours(external: int = 4001, client: str = HOME, internal: int = 4001) -> Mapping:
    return Mapping(external, internal, IPv4Address(client))


async def test_a_port_is_mapped_for_an_hour_told_and_given_back(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        assert home.router.mappings == {4001: (ours(), LEASE_SECONDS)}
        assert home.told == [(f"/ip4/{OUTSIDE}/tcp/4001",)]
        assert [kind for kind, _ in home.said] == ["upnp-mapped"]
    assert home.router.mappings == {}


async def test_it_is_renewed_long_before_it_ends_and_nothing_is_said(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        await trio.sleep(3 * RENEW_SECONDS)
        assert home.router.added == [(4001, LEASE_SECONDS)] * 4
        assert len(home.told) == len(home.said) == 1
    assert RENEW_SECONDS < LEASE_SECONDS / 3


async def test_a_router_that_forgot_everything_is_told_again(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.mappings.clear()
        await trio.sleep(RENEW_SECONDS)
        assert home.router.mappings == {4001: (ours(), LEASE_SECONDS)}


async def test_another_machine_keeps_its_port_and_this_one_gets_another(
    autojump_clock: MockClock,
) -> None:
    theirs = ours(client="192.168.1.99"), 0
    home = Home(MemoryRouter(mappings={4001: theirs}))
    async with home.running():
        ((told,),) = home.told
        port = int(told.rpartition("/")[2])
        assert port >= LOWEST_OTHER_PORT
        assert home.router.mappings == {4001: theirs, port: (ours(port), LEASE_SECONDS)}
        await trio.sleep(RENEW_SECONDS)
        assert home.router.added == [(port, LEASE_SECONDS)] * 2  # and keeps it
    assert home.router.mappings == {4001: theirs}


async def test_a_mapping_of_an_earlier_run_is_taken_over(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter(mappings={4001: (ours(), 60)}))
    async with home.running():
        assert home.router.mappings == {4001: (ours(), LEASE_SECONDS)}


async def test_a_router_that_knows_no_lease_maps_for_ever_until_the_node_stops(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter(permanent_only=True))
    async with home.running():
        await trio.sleep(RENEW_SECONDS)
        assert home.router.added == [(4001, 0)] * 2
    assert home.router.mappings == {}


async def test_without_a_router_one_line_is_said_and_it_is_tried_again(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter(on=False))
    async with home.running():
        await trio.sleep(3 * RETRY_SECONDS)
        ((kind, text),) = home.said
        assert kind == "upnp-failed"
        assert "no router answers" in text
        assert home.told == []
        home.router.on = True
        await trio.sleep(RETRY_SECONDS)
        assert home.told == [(f"/ip4/{OUTSIDE}/tcp/4001",)]


@pytest.mark.parametrize("external", ["192.168.0.2", "100.64.3.4", "203.0.113.9", "0.0.0.0"])
async def test_behind_a_second_router_nothing_is_mapped_and_the_reason_is_said(
    external: str, autojump_clock: MockClock
) -> None:
    home = Home(MemoryRouter(external=external))
    async with home.running():
        assert home.router.mappings == {}
        assert home.told == []
        ((_, text),) = home.said
        assert f"{external} is not public" in text


async def test_an_address_that_stops_being_public_is_told_no_longer(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.external = "100.64.3.4"
        await trio.sleep(RENEW_SECONDS)
        assert home.told == [(f"/ip4/{OUTSIDE}/tcp/4001",), ()]


async def test_another_public_address_is_told(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.external = "93.184.216.99"
        await trio.sleep(RENEW_SECONDS)
        assert home.told[1:] == [("/ip4/93.184.216.99/tcp/4001",)]
        assert len(home.said) == 2


async def test_a_router_that_is_away_keeps_its_mapping_told_for_the_lease_only(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.on = False
        await trio.sleep(LEASE_SECONDS - RENEW_SECONDS)
        assert len(home.told) == 1
        await trio.sleep(RENEW_SECONDS + RETRY_SECONDS)
        assert home.told[1:] == [()]


async def test_with_another_local_address_it_is_mapped_anew_within_seconds(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.move(MOVED)
        await trio.sleep(LOOK_SECONDS + 2)
        assert home.router.mappings == {4001: (ours(client=MOVED), LEASE_SECONDS)}
    assert home.router.mappings == {}


async def test_in_another_network_without_a_router_the_address_is_told_no_longer(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.on = False
        home.move("10.0.0.3")
        await trio.sleep(LOOK_SECONDS + 2)
        assert home.told[1:] == [()]


async def test_a_router_that_says_nothing_does_not_hold_up_the_end(
    autojump_clock: MockClock,
) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        home.router.silent = True
        await trio.sleep(RENEW_SECONDS)
        began = trio.current_time()
    assert trio.current_time() - began < REMOVE_SECONDS + 0.01


async def test_what_is_given_back_stays_so(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter())
    async with home.running():
        await home.mapping.give_back()
        assert home.router.mappings == {}
        await trio.sleep(2 * RENEW_SECONDS)
        assert home.router.mappings == {}


async def test_a_node_of_this_machine_alone_says_so(autojump_clock: MockClock) -> None:
    home = Home(MemoryRouter(), ("127.0.0.1", 4001))
    async with home.running():
        assert home.told == []
        ((_, text),) = home.said
        assert "does not listen" in text


def test_only_sockets_that_the_router_can_reach_are_mapped() -> None:
    listening = [("127.0.0.1", 1), ("0.0.0.0", 2), (HOME, 3), ("192.168.1.9", 4), ("::", 5)]
    assert ports_to_map(listening, IPv4Address(HOME)) == (2, 3)


def test_what_is_public() -> None:
    assert is_public(IPv4Address(OUTSIDE))
    for address in ("10.1.2.3", "100.64.0.1", "169.254.1.1", "127.0.0.1", "224.0.0.1"):
        assert not is_public(IPv4Address(address))


# What is heard on the LAN

LAN = IPv4Network("192.168.1.0/24")
ROUTER = "192.168.1.1"


def reply(location: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nST: any\r\nLocation: {location}\r\nEXT:\r\n\r\n".encode("latin-1")


def test_a_router_of_the_lan_is_followed() -> None:
    assert read_reply(reply(URL), ROUTER, LAN) == URL


@pytest.mark.parametrize(
    ("location", "source"),
    [
        ("http://192.168.1.2:5000/desc.xml", ROUTER),
        ("http://127.0.0.1:5000/desc.xml", ROUTER),
        ("http://127.0.0.1:5000/desc.xml", "127.0.0.1"),
        ("http://10.9.9.9/desc.xml", "10.9.9.9"),
        ("http://example.org/desc.xml", ROUTER),
        ("http://192.168.1.1:x@10.9.9.9/", ROUTER),
        ("http://10.9.9.9:x@192.168.1.1/", ROUTER),
        ("http://192.168.1.1.example.org/", ROUTER),
        ("https://192.168.1.1/desc.xml", ROUTER),
        ("file:///etc/passwd", ROUTER),
        (URL + "?" + "x" * MAX_URL_CHARACTERS, ROUTER),
        ("", ROUTER),
        (URL + "\xff", ROUTER),
    ],
)
def test_an_answer_that_leads_elsewhere_is_not(location: str, source: str) -> None:
    assert read_reply(reply(location), source, LAN) is None


def test_bytes_that_are_no_answer_are_not() -> None:
    for junk in (b"", b"\xff" * 100, reply(URL)[5:], reply(URL) + bytes(3000)):
        assert read_reply(junk, ROUTER, LAN) is None


def test_only_a_plain_url_has_a_host() -> None:
    assert host_of("http://192.168.1.1/ctl") == "192.168.1.1"
    for url in ("http://192.168.1.1", "http://[::1]/", "http://192.168.1.1:80 /", "http://a/"):
        assert host_of(url) is None
