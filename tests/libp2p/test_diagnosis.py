"""Ping, and what doctor says of bootstrap nodes: real networks on loopback."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from openfl.app.doctor.commands import seen_by_some
from openfl.app.doctor.examine import CHECKS, examine
from openfl.app.doctor.finding import Finding
from openfl.app.doctor.netcheck import netcheck
from openfl.app.doctor.pinging import ping_from_here, round_trip
from openfl.app.doctor.subject import look
from openfl.app.doctor.whom import whom
from openfl.app.home_folder import make_peer_id, write_network_key
from openfl.core.contribution import PeerId
from openfl.core.errors import NetworkError, RequestFailed, UsageError
from openfl.network.base import PeerAddress
from openfl.network.libp2p.envelope import generate_identity, peer_id_of
from openfl.network.libp2p.network import Libp2pNetwork, Libp2pSettings
from openfl.network.libp2p.private_network import load_network_key

LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


@asynccontextmanager
async def network(key: bytes | None = None) -> AsyncIterator[Libp2pNetwork]:
    settings = Libp2pSettings(generate_identity(), time.time_ns(), listen=LOOPBACK, network_key=key)
    async with Libp2pNetwork(settings) as opened:
        yield opened


def address_of(other: Libp2pNetwork) -> PeerAddress:
    return PeerAddress(other.peer_id, tuple(a.rpartition("/p2p/")[0] for a in other.multiaddrs))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# --- ping -----------------------------------------------------------------------------------------


async def test_a_peer_answers_pings_one_after_another() -> None:
    async with network() as one, network() as other:
        trips = [await round_trip(one, address_of(other)) for _ in range(5)]
    assert trips[0].connect_seconds > 0
    assert [trip.connect_seconds for trip in trips[1:]] == [0.0] * 4
    assert all(trip.seconds > 0 and not trip.relayed for trip in trips)
    assert all(trip.address.startswith("/ip4/127.0.0.1/tcp/") for trip in trips)


async def test_whoever_is_not_there_gives_no_round_trip() -> None:
    async with network() as one:
        gone = PeerAddress(
            peer_id_of(generate_identity()), (f"/ip4/127.0.0.1/tcp/{closed_port()}",)
        )
        with pytest.raises(NetworkError, match="refused"):
            await round_trip(one, gone)
        with pytest.raises(UsageError, match="this node itself"):
            await round_trip(one, address_of(one))
        with pytest.raises(RequestFailed, match="not connected"):
            await one.diagnosis.ping(gone.peer_id)


@pytest.mark.parametrize("answer", [b"", b"x" * 32, b"x" * 7])
async def test_a_peer_that_answers_pings_wrongly_is_no_answer(answer: bytes) -> None:
    async with network() as one, network() as other:

        async def lie(stream: object) -> None:
            await stream.read(32)  # type: ignore[attr-defined]
            if answer:
                await stream.write(answer)  # type: ignore[attr-defined]
            await stream.close()  # type: ignore[attr-defined]

        other._host.set_stream_handler("/ipfs/ping/1.0.0", lie)
        with pytest.raises(NetworkError, match="ping"):
            await round_trip(one, address_of(other))


async def test_a_peer_says_where_it_sees_this_node() -> None:
    async with network() as one, network() as other:
        await one.connect(address_of(other))
        (seen,) = await seen_by_some(one)
    assert seen.peer_id == other.peer_id
    assert seen.seen_at.startswith("/ip4/127.0.0.1/tcp/")
    assert "libp2p" in seen.agent


def test_a_peer_is_named_by_its_id_or_the_end_of_it() -> None:
    one, two = (peer_id_of(generate_identity()) for _ in range(2))
    known = {one: ("/ip4/192.0.2.1/tcp/1",), two: ()}
    for reference in (one, one[-6:], f"..{one[-6:]}", f"12D3…{one[-6:]}"):
        assert whom(reference, known) == PeerAddress(one, known[one])
    whole = f"/ip4/192.0.2.9/tcp/9/p2p/{two}"
    assert whom(whole, known) == PeerAddress(two, ("/ip4/192.0.2.9/tcp/9",))
    twins = {PeerId("AAAAbcdef"): (), PeerId("BBBBbcdef"): ()}
    for reference, complaint in (("abc", "4 characters"), ("zzzzzz", "no peer"), ("bcdef", "2 pe")):
        with pytest.raises(UsageError, match=complaint):
            whom(reference, {**known, **twins})


# --- without a running node -----------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    make_peer_id(folder)
    return folder


def settings(*bootstrap: str, **others: object) -> dict[str, object]:
    named = {key.replace("__", ".", 1): value for key, value in others.items()}
    return {"network.host": "127.0.0.1", "network.bootstrap": bootstrap, **named}


async def test_a_stopped_node_pings_by_a_network_of_its_own(home: Path) -> None:
    told: list[object] = []
    async with network() as other:
        (address,) = other.multiaddrs
        subject = look(home, None, {}, settings(address))
        await ping_from_here(subject, other.peer_id[-8:], 2, 0.01, told.append)
        await ping_from_here(subject, address, 1, 0.01, told.append)
    assert len(told) == 3
    assert not any(isinstance(each, Exception) for each in told)
    with pytest.raises(UsageError):
        await ping_from_here(subject, "nobody", 1, 0.01, told.append)
    await ping_from_here(subject, address, 1, 0.01, told.append)  # it has gone
    assert isinstance(told[-1], NetworkError)


async def test_a_stopped_node_learns_from_peers_how_it_is_seen(home: Path) -> None:
    async with network() as other:
        (address,) = other.multiaddrs
        gone = f"/ip4/127.0.0.1/tcp/{closed_port()}/p2p/{peer_id_of(generate_identity())}"
        report = await netcheck(look(home, None, {}, settings(address, gone)))
    assert not report.running
    assert (report.nat, report.translated) == ("public", False)
    assert [vote.reached for vote in report.reach.votes] == [True]
    answered, silent = report.bootstrap
    assert answered.seconds is not None
    assert silent.seconds is None
    assert "refused" in silent.problem
    assert {a.ip: a.reachable_from for a in report.addresses}["127.0.0.1"] == "this machine"
    assert report.routers is None
    assert report.lan is None


# --- doctor: bootstrap ----------------------------------------------------------------------------


async def bootstrap_findings(home: Path, *bootstrap: str, **others: object) -> list[Finding]:
    check = next(check for check in CHECKS if check.name == "bootstrap")
    subject = look(home, None, {}, settings(*bootstrap, **others))
    assert subject.config_problems == ()
    return list(await examine(subject, [check]))


async def one_finding(home: Path, *bootstrap: str, **others: object) -> Finding:
    (finding,) = await bootstrap_findings(home, *bootstrap, **others)
    return finding


async def test_a_bootstrap_node_that_answers_is_fine_and_then_another_is_only_a_warning(
    home: Path,
) -> None:
    gone = f"/ip4/127.0.0.1/tcp/{closed_port()}/p2p/{peer_id_of(generate_identity())}"
    refused = await one_finding(home, gone)
    assert (refused.kind, refused.severity) == ("bootstrap-refused", "fault")
    async with network() as other:
        findings = await bootstrap_findings(home, gone, *other.multiaddrs)
    assert [f.severity for f in findings] == ["warning", "fine"]


async def test_a_malformed_or_denied_bootstrap_address_is_found(home: Path) -> None:
    malformed = await one_finding(home, "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWnonsense")
    assert (malformed.kind, malformed.severity) == ("bootstrap-malformed", "fault")
    peer = peer_id_of(generate_identity())
    address = f"/ip4/127.0.0.1/tcp/1/p2p/{peer}"
    denied = await one_finding(home, address, network__deny_peers=(peer,))
    assert denied.kind == "bootstrap-denied"


async def test_a_name_that_nobody_knows_is_found(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    peer = peer_id_of(generate_identity())
    finding = await one_finding(home, f"/dns4/node.invalid/tcp/4001/p2p/{peer}")
    assert finding.kind == "bootstrap-unknown-name"


async def test_another_peer_at_the_address_is_found(home: Path) -> None:
    async with network() as other:
        address = other.multiaddrs[0].rpartition("/")[0] + f"/{peer_id_of(generate_identity())}"
        assert (await one_finding(home, address)).kind == "bootstrap-other-peer"


async def test_something_else_at_the_address_is_found_by_what_it_says(home: Path) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(64)
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        address = f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_of(generate_identity())}"
        finding = await one_finding(home, address)
        nursery.cancel_scope.cancel()
    assert finding.kind == "bootstrap-other-protocol"
    assert "HTTP/1.1 400 Bad Request" in finding.what


async def test_a_private_network_of_another_key_is_found(home: Path, tmp_path: Path) -> None:
    async with network(key=secrets.token_bytes(32)) as private:
        without_one = await one_finding(home, *private.multiaddrs)
    assert without_one.kind == "bootstrap-network-key"
    file = tmp_path / "swarm.key"
    write_network_key(file)
    async with network() as open_to_all:
        with_one = await one_finding(home, *open_to_all.multiaddrs, network__psk_file=str(file))
    assert with_one.kind == "bootstrap-network-key"
    async with network(key=load_network_key(file)) as same:
        finding = await one_finding(home, *same.multiaddrs, network__psk_file=str(file))
    assert finding.severity == "fine"
