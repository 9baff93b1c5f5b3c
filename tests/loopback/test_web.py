"""The page's endpoint: who is answered, what is streamed, to how many, and what is loaded when."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from openfl.app.http import serving, streams
from openfl.app.http.page import asset
from openfl.app.http.serving import Endpoint
from openfl.config import HttpConfig
from tests.cli.cli_fakes import GROUP, make_event, make_snapshot
from tests.situation import until_seen, within

SNAPSHOT = make_snapshot().to_plain()


class Commands:
    """A node whose course grows when a test says so."""

    def __init__(self) -> None:
        self.rounds = 1
        self.groups = [GROUP.to_plain()]
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.snapshot: Any = SNAPSHOT

    async def __call__(self, command: str, arguments: Mapping[str, Any]) -> Any:
        self.asked.append((command, dict(arguments)))
        if command == "snapshot":
            return self.snapshot
        if command == "course":
            return {"points": [{"round": self.rounds}], "moves": []}
        if command == "groups":
            return self.groups
        return [command, dict(arguments)]


@asynccontextmanager
async def endpoint(
    home: Path, commands: Any = None, kept_port: int = 0
) -> AsyncIterator[tuple[Endpoint, str]]:
    answering = commands if commands is not None else Commands()
    config = HttpConfig(listen="" if kept_port else "127.0.0.1:0")
    async with serving.serving(config, home, answering, kept_port) as found:
        token = found.token_file.read_text().strip()
        with within():
            yield found, token


@asynccontextmanager
async def client(of: Endpoint, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        base_url=of.url, headers=headers, trust_env=False, timeout=None
    ) as asking:
        with within():
            yield asking


class Reading:
    """What comes on a stream, line by line; the lines of the chunked form say nothing here."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = b""

    async def line(self) -> str | None:
        """None at the end."""
        while b"\n" not in self._rest:
            try:
                more = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode().rstrip("\r")

    async def next(self, wanted: str = "") -> tuple[str, Any]:
        """(event, data); the next one of the kind that is wanted."""
        name = ""
        while (line := await self.line()) is not None:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and wanted in ("", name):
                return name, json.loads(line.removeprefix("data: "))
        return "end", None


@asynccontextmanager
async def reading(at: Endpoint, token: str, buffer: int = 0) -> AsyncIterator[Reading]:
    """The stream, asked for. buffer: of this side's system, bytes."""
    raw = trio.socket.socket()
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await raw.connect(("127.0.0.1", at.port))
    head = [
        "GET /api/stream HTTP/1.1",
        f"host: {at.url.removeprefix('http://')}",
        f"authorization: Bearer {token}",
    ]
    async with trio.SocketStream(raw) as stream:
        await stream.send_all("\r\n".join([*head, "", ""]).encode())
        yield Reading(stream)


OK = "HTTP/1.1 200 "


async def until_there_is_room(at: Endpoint, token: str) -> None:
    found = ""
    while found != "snapshot":  # the other side notices by what it sends
        async with reading(at, token) as again:
            if await again.line() == OK:
                found = (await again.next("snapshot"))[0]


async def rest_of(page: Reading) -> bytes:
    received = b""
    with suppress(trio.BrokenResourceError):
        async for chunk in page.stream:
            received += chunk
    return received


# --- the page -------------------------------------------------------------------------------------


async def test_the_shell_needs_no_token_and_allows_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:
        for path in ("/", "/page.js", "/page.css"):
            answer = await ask.get(path)
            media_type, content = asset(path)
            assert answer.status_code == 200
            assert (answer.headers["content-type"], answer.content) == (media_type, content)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["cross-origin-opener-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert token not in answer.text
        for path in ("/page.html", "/page", "/page.js/", "/..%2fplayers.token", "/api/"):
            assert (await ask.get(path)).status_code == 404
    assert "<script>" not in asset("/")[1].decode()


@pytest.mark.parametrize("path", ["/api/page", "/api/course", "/api/stream", "/metrics"])
async def test_what_tells_of_the_node_needs_the_token(tmp_path: Path, path: str) -> None:
    commands = Commands()
    async with endpoint(tmp_path, commands) as (at, token), client(at) as ask:
        for headers in (
            {},
            {"authorization": f"Bearer {token[:-1]}"},
            {"authorization": f"Basic {token}"},
            {"cookie": f"token={token}"},
        ):
            refused = await ask.get(path, headers=headers)
            assert refused.status_code == 401
            assert token not in refused.text
        assert (await ask.get(f"{path}?token={token}")).status_code == 401
        twice = [("authorization", f"Bearer {token}"), ("authorization", "Bearer x")]
        assert (await ask.get(path, headers=twice)).status_code == 401
    assert commands.asked == [], "nobody has asked the node anything"


async def test_page_course_and_metrics_are_the_nodes_own(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        assert (await ask.get("/api/page")).json() == ["page", {}]
        assert (await ask.get("/api/course")).json() == {"points": [{"round": 1}], "moves": []}
        scraped = await ask.get("/metrics")
        assert scraped.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        names = [family.name for family in text_string_to_metric_families(scraped.text)]
        assert "openfl_round" in names
        own = {"origin": at.url, "sec-fetch-site": "same-origin"}
        assert (await ask.get("/api/page", headers=own)).is_success
        other = {"origin": "http://evil.example"}
        assert (await ask.get("/api/page", headers=other)).status_code == 403


# --- the stream -----------------------------------------------------------------------------------


async def test_a_page_hears_what_happens_until_the_node_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 0.01)
    commands = Commands()
    async with AsyncExitStack() as after:
        async with endpoint(tmp_path, commands) as (at, token):
            at.tell(make_event(0))  # nobody reads yet
            page = await after.enter_async_context(reading(at, token))
            assert await page.line() == OK
            while (line := await page.line()) != ": still here":
                assert line is not None
                assert "content-length" not in line
            assert (await page.next("groups"))[1][0]["name"] == "music"
            assert (await page.next("snapshot"))[1] == json.loads(json.dumps(SNAPSHOT))
            at.tell(make_event(3, message="line\nbreak \u2028 and 'quotes'"))
            _, told = await page.next("told")
            assert told["message"] == "line\nbreak \u2028 and 'quotes'"
            assert (told["kind"], told["data"]) == ("round", {"round": 3})
            commands.rounds = 7
            assert (await page.next("point"))[1] == {"round": 7}
        assert await page.next("bye") == ("bye", {})
        assert await page.next() == ("end", None)


async def test_nobody_is_looked_at_while_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 0.01)
    commands = Commands()
    async with endpoint(tmp_path, commands) as (at, token):
        async with reading(at, token) as page:
            await page.next("snapshot")

        async def quiet() -> bool:
            before = len(commands.asked)
            await trio.sleep(0.1)
            return len(commands.asked) == before

        with within():
            while not await quiet():
                pass


async def test_only_so_many_pages_are_told_and_room_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_READERS", 2)
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 0.01)
    async with (
        endpoint(tmp_path) as (at, token),
        client(at, token) as ask,
        reading(at, token) as one,
    ):
        async with reading(at, token) as two:
            await one.next("snapshot")
            await two.next("snapshot")
            refused = await ask.get("/api/stream")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert (await ask.head("/api/stream")).status_code == 200
        await until_there_is_room(at, token)


async def test_a_reader_that_does_not_read_makes_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_READERS", 1)
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 0.01)
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.2)
    commands = Commands()
    commands.snapshot = {**SNAPSHOT, "home": "x" * 10_000_000}  # more than any buffer on the way
    async with (
        endpoint(tmp_path, commands) as (at, token),
        reading(at, token, buffer=4096) as slow,
    ):
        assert await slow.line() == OK
        await until_seen(lambda: len(commands.asked) >= 3)
        commands.snapshot = SNAPSHOT
        await until_there_is_room(at, token)


async def test_a_reader_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.01)
    feed = streams.Feed(Commands())

    async def send(message: Any) -> None:
        if message.get("body", streams.STILL_HERE) != streams.STILL_HERE:
            await trio.sleep_forever()

    async def read() -> None:
        with pytest.raises(trio.BrokenResourceError, match="does not read"):
            await feed.read(send)

    with within():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            feed.tell(make_event(1))


async def test_a_reader_that_misses_what_happened_is_dropped() -> None:
    async def commands(command: str, arguments: Mapping[str, Any]) -> Any:
        return {"points": [], "moves": []} if command == "course" else {}

    feed = streams.Feed(commands)
    gate = trio.Event()

    async def send(message: Any) -> None:
        if message.get("more_body"):
            await gate.wait()

    async def read() -> None:
        with pytest.raises(trio.BrokenResourceError, match="in time"):
            await feed.read(send)

    with within():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(streams.MAX_WAITING + 1):
                feed.tell(make_event(number))
            gate.set()


async def test_a_bug_in_what_is_shown_ends_the_stream_and_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 0.01)
    commands = Commands()
    async with endpoint(tmp_path, commands) as (at, token):
        async with reading(at, token) as page:
            await page.next("snapshot")
            commands.snapshot = object()
            assert (await page.next("end"))[0] == "end"
        commands.snapshot = SNAPSHOT
        async with reading(at, token) as page:
            assert (await page.next("snapshot"))[0] == "snapshot"
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "what pages are shown"
    assert token not in caplog.text


async def test_a_stream_outlives_what_bounds_other_answers_and_is_kept_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.1)
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(streams, "SNAPSHOT_SECONDS", 1000)
    async with endpoint(tmp_path) as (at, token), reading(at, token) as page:
        comments = 0
        while comments < 6:
            line = await page.line()
            assert line is not None
            comments += line == ": still here"


async def test_half_a_reader_holds_up_no_end(tmp_path: Path) -> None:
    async with AsyncExitStack() as after:
        async with endpoint(tmp_path) as (at, token):
            page = await after.enter_async_context(reading(at, token, buffer=4096))
            await page.line()
        assert b"event: bye" in await rest_of(page)


# --- where it is ----------------------------------------------------------------------------------


async def test_the_port_of_the_last_run_is_used_again_and_another_when_it_is_taken(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with endpoint(tmp_path, kept_port=port) as (at, _):
            assert at.port not in (0, port)
    async with endpoint(tmp_path, kept_port=port) as (at, _):
        assert at.url == f"http://127.0.0.1:{port}"
