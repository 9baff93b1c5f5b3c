"""Players ask a real node, or its endpoint alone, over HTTP on 127.0.0.1."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from openfl.app.http import serving
from openfl.app.http.serving import Endpoint
from openfl.app.open_node import open_node
from openfl.config import Config, HttpConfig, load_config
from openfl.core.errors import ConfigError, GroupError, NetworkError, UsageError
from openfl.core.telemetry import NodeEvent
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.process_rig import RunningNode, deal_homes, ending
from tests.situation import until_seen, within

HERE = "127.0.0.1:0"
SONGS = {"items": [{"song_id": "17", "title": "Iron Man", "artist": "Black Sabbath"}]}


async def commands(command: str, arguments: Mapping[str, Any]) -> Any:
    """A node that says what it was asked."""
    if arguments.get("song") == "nobody's":
        raise UsageError("no song is called so")
    if arguments.get("song") == "unlearned":
        raise GroupError("the group knows nothing of it")
    if arguments.get("user") == "bug":
        raise RuntimeError("a bug")
    if command in ("similar", "like-artist", "top-songs") and "title" not in arguments:
        return {**SONGS, "asked": [command, dict(arguments)]}
    return [command, dict(arguments)]


@asynccontextmanager
async def endpoint(
    home: Path, listen: str = HERE, **settings: str
) -> AsyncIterator[tuple[Endpoint, str]]:
    async with serving.serving(HttpConfig(listen, **settings), home, commands) as found:
        yield found, found.token_file.read_text().strip()


@asynccontextmanager
async def client(of: Endpoint, token: str = "", **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(
        base_url=of.url, headers=headers, trust_env=False, timeout=None, **more
    ) as asking:
        with within():
            yield asking


def salted(token: str, salt: str = "abcdef") -> dict[str, str]:
    digest = hashlib.md5(f"{token}{salt}".encode()).hexdigest()
    return {"u": "ann", "t": digest, "s": salt, "f": "json", "v": "1.16.1", "c": "test"}


# --- JSON -----------------------------------------------------------------------------------------


async def test_questions_reach_the_nodes_commands_as_the_command_line_asks_them(
    tmp_path: Path,
) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        answer = await ask.get("/api/recommend", params={"user": "Ann & Bob", "top": 3})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert answer.json() == ["recommend", {"user": "Ann & Bob", "top": 3}]
        wishes = {"new_artists": "1", "not_popular": "0.25", "why": "true"}
        asked = (await ask.get("/api/recommend", params=wishes)).json()[1]
        assert asked == {"new_artists": True, "not_popular": 0.25, "why": True}
        assert (await ask.get("/api/status")).json() == ["snapshot", {}]
        assert (await ask.get("/api/groups")).json() == ["groups", {}]
        similar = (await ask.get("/api/similar", params={"song": "Iron Man"})).json()
        assert similar["asked"] == ["similar", {"song": "Iron Man"}]
        head = await ask.head("/api/status")
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("song=nobody's", 400, "no song is called so"),
        ("song=unlearned", 409, "knows nothing"),
        ("top=many&song=a", 400, "top must be a number"),
        ("top=1_0&song=a", 400, "top must be a number"),
        ("not_popular=some", 400, "not_popular must be a number"),
        ("why=perhaps", 400, "why must be 1 or 0"),
        ("leave=1", 400, "no parameter 'leave'"),
        ("song=a&song=b", 400, "song is given more than once"),
    ],
)
async def test_what_makes_no_sense_is_one_line(
    tmp_path: Path, query: str, status: int, words: str
) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        answer = await ask.get(f"/api/similar?{query}")
        assert (answer.status_code, list(answer.json())) == (status, ["error", "exit_code"])
        assert words in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer x"},
        {"authorization": "Basic TOKEN"},
        {"authorization": "TOKEN"},
        {"cookie": "token=TOKEN"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/recommend?user=a", "/api/status?apiKey=TOKEN", "/api/groups"]
)
async def test_who_does_not_know_the_token_learns_nothing(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:
        given = {name: value.replace("TOKEN", token) for name, value in headers.items()}
        answer = await ask.get(path.replace("TOKEN", token), headers=given)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert list(answer.json()) == ["error"]
        assert token not in answer.text


async def test_a_page_is_not_answered_whatever_it_knows(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        port = at.url.rpartition(":")[2]
        for headers in (
            {"host": f"evil.example:{port}"},
            {"origin": at.url},
            {"sec-fetch-site": "cross-site"},
        ):
            answer = await ask.get("/api/status", headers=headers)
            assert answer.status_code in (403, 421)
            assert "access-control-allow-origin" not in answer.headers
        assert (await ask.options("/api/status")).status_code == 405
        assert (await ask.post("/api/status", data={"a": "b"})).status_code == 405
        assert (await ask.get("/api/status", headers={"host": f"LOCALHOST:{port}"})).is_success


async def test_there_is_nothing_else(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        for path in (
            "/api",
            "/api/stop",
            "/api/switch",
            "/docs",
            "/rest",
            "/../players.token",
        ):
            assert (await ask.get(path)).status_code == 404


async def test_a_bug_is_logged_without_the_question_and_the_endpoint_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with endpoint(tmp_path) as (at, token), client(at, token) as ask:
        answer = await ask.get("/api/recommend", params={"user": "bug"})
        assert answer.status_code == 500
        assert (await ask.get("/api/status")).is_success
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "a question to /api/recommend"
    assert record.exc_info is not None
    assert token not in caplog.text


# --- OpenSubsonic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".view"])
async def test_a_subsonic_client_logs_in_and_is_answered(tmp_path: Path, suffix: str) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:

        async def rest(method: str, **parameters: Any) -> Any:
            answer = await ask.get(f"/rest/{method}{suffix}", params=salted(token) | parameters)
            assert answer.status_code == 200
            return answer.json()["subsonic-response"]

        ping = await rest("ping")
        assert (ping["status"], ping["version"], ping["openSubsonic"]) == ("ok", "1.16.1", True)
        assert (await rest("getLicense"))["license"] == {"valid": True}
        for method, key, parameters in (
            ("getSimilarSongs2", "similarSongs2", {"id": "17"}),
            ("getSimilarSongs2", "similarSongs2", {"id": "artist:Black Sabbath"}),
            ("getSimilarSongs", "similarSongs", {"id": "17", "count": 2}),
            ("getTopSongs", "topSongs", {"artist": "Black Sabbath", "count": 5}),
        ):
            (song,) = (await rest(method, **parameters))[key]["song"]
            assert (song["id"], song["title"], song["isDir"]) == ("17", "Iron Man", False)
            assert song["artistId"] == "artist:Black Sabbath"
        missing = await rest("getSimilarSongs2")
        assert (missing["status"], missing["error"]["code"]) == ("failed", 10)
        unknown = await rest("getSimilarSongs2", id="nobody's")
        assert unknown["error"] == {"code": 70, "message": "no song is called so"}


async def test_an_api_key_will_do_and_xml_is_the_usual_form(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:
        answer = await ask.get("/rest/getTopSongs", params={"apiKey": token, "artist": "x"})
        assert answer.headers["content-type"] == "application/xml; charset=utf-8"
        assert b'title="Iron Man"' in answer.content
        info = await ask.get("/rest/tokenInfo", params={"apiKey": token, "f": "json"})
        assert info.json()["subsonic-response"]["tokenInfo"] == {"username": "openfl"}
        refused = await ask.get("/rest/ping", params={"apiKey": "x", "f": "json"})
        assert refused.json()["subsonic-response"]["error"]["code"] == 44


async def test_parameters_may_come_as_a_form_and_then_in_no_address(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:
        form = salted(token) | {"artist": "Motörhead & friends"}
        answer = await ask.post("/rest/getTopSongs.view", data=form)
        assert answer.json()["subsonic-response"]["status"] == "ok"
        wrong = await ask.post("/rest/ping", data=form | {"t": "0" * 32})
        assert wrong.json()["subsonic-response"]["error"]["code"] == 40
        too_long = await ask.post("/rest/ping", data=form | {"c": "x" * 5000})
        assert too_long.status_code == 413
        assert (await ask.get("/rest/ping", params=form)).is_success, "the connection goes on"


async def test_extensions_are_told_before_a_client_logs_in_and_nothing_else(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, token), client(at) as ask:
        told = await ask.get("/rest/getOpenSubsonicExtensions", params={"f": "json"})
        told = told.json()["subsonic-response"]["openSubsonicExtensions"]
        assert {"name": "apiKeyAuthentication", "versions": [1]} in told
        other = await ask.get("/rest/ping", params={"f": "json"})
        assert other.json()["subsonic-response"]["error"]["code"] == 10
        stream = await ask.get("/rest/stream", params=salted(token) | {"id": "17"})
        assert stream.status_code == 404
        assert "there is no audio" in stream.text


# --- the connection -------------------------------------------------------------------------------


async def connected(at: Endpoint) -> trio.SocketStream:
    host, _, port = at.url.removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def rest_of(stream: trio.SocketStream) -> bytes:
    """What comes until the other side closes; then it is closed here, too."""
    received = b""
    async with stream:
        with suppress(trio.BrokenResourceError):
            async for chunk in stream:
                received += chunk
    return received


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/status HTTP/1.1\r\nhost: a b\r\nx\r\n\r\n",
        b"A" * 70_000,
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=["tls", "version", "header", "noise", "long path", "many headers"],
)
async def test_what_is_no_request_ends_its_connection_and_nothing_else(
    tmp_path: Path, sent: bytes
) -> None:
    async with endpoint(tmp_path) as (at, token):
        with within():
            stream = await connected(at)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(sent)
            assert b" 200 " not in await rest_of(stream)
        async with client(at, token) as ask:
            assert (await ask.get("/api/status")).is_success


async def test_bytes_made_of_requests_by_chance_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 1)
    caplog.set_level(logging.INFO)
    chance = random.Random(7)
    host = b"host: 127.0.0.1\r\n"
    beginnings = (
        b"GET /api/status HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /rest/ping?apiKey=x HTTP/1.1\r\n" + host + b"connection: upgrade\r\n"
        b"upgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"sec-websocket-version: 13\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
        b"connection: upgrade, http2-settings\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\5\1\5\0\0\0\1\x82\x84\x86\x41\0",
        b"POST / HTTP/1.1\r\n" + host + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    async with endpoint(tmp_path) as (at, token):
        with within():
            for number in range(100):
                sent = bytearray(beginnings[number % len(beginnings)] * chance.randint(1, 3))
                for _ in range(chance.randint(0, 6)):
                    at_byte = chance.randrange(len(sent))
                    sent[at_byte : at_byte + chance.randint(0, 4)] = chance.randbytes(
                        chance.randint(0, 8)
                    )
                stream = await connected(at)
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(bytes(sent))
                    await stream.send_eof()
                await rest_of(stream)
        async with client(at, token) as ask:
            assert (await ask.get("/api/status")).is_success
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]
    assert ours == [], "nobody fills the log of a node"


H2C = "upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nconnection: upgrade, http2-settings\r\n"
WEBSOCKET = (
    "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("with_token", [True, False])
async def test_asked_for_something_else_it_answers_in_http_1(
    tmp_path: Path, with_token: bool, upgrade: str
) -> None:
    async with endpoint(tmp_path) as (at, token):
        host = at.url.removeprefix("http://")
        bearer = f"authorization: Bearer {token}\r\n" if with_token else ""
        head = f"GET /api/status HTTP/1.1\r\nhost: {host}\r\n{bearer}{upgrade}\r\n"
        with within():
            stream = await connected(at)
            await stream.send_all(head.encode())
            expected = b"HTTP/1.1 200 " if with_token else b"HTTP/1.1 401 "
            assert (await stream.receive_some()).startswith(expected)
            await stream.aclose()


async def test_http_2_that_was_not_asked_for_is_no_request(tmp_path: Path) -> None:
    async with endpoint(tmp_path) as (at, _):
        with within():
            stream = await connected(at)
            await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            assert (await rest_of(stream)).startswith(b"HTTP/1.1 505 ")


async def test_half_a_request_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.05)
    async with endpoint(tmp_path) as (at, _):
        with within():
            for sent in (b"", b"GET /api/status HTTP/1.1\r\nhost: "):
                stream = await connected(at)
                if sent:
                    await stream.send_all(sent)
                await rest_of(stream)  # returns


@pytest.mark.parametrize("end", ["says no more", "is gone"])
async def test_half_a_form_ends_its_connection_and_fills_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.05)
    async with endpoint(tmp_path) as (at, _):
        host = at.url.removeprefix("http://")
        head = f"POST /rest/ping HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\nf=js"
        with within():
            stream = await connected(at)
            await stream.send_all(head.encode())
            if end == "is gone":
                await stream.send_eof()
            assert await rest_of(stream) == b""
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_more_connections_than_there_may_be_are_closed_and_room_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 3)
    async with endpoint(tmp_path) as (at, _):
        with within():
            held = [await connected(at) for _ in range(3)]
            for stream in held:  # each is answered, so each counts
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                assert await stream.receive_some() != b""
            assert await rest_of(await connected(at)) == b""
            await held[0].aclose()

            async def room() -> bool:
                stream = await connected(at)
                try:
                    await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                    return await stream.receive_some() != b""
                except trio.BrokenResourceError:
                    return False
                finally:
                    await stream.aclose()

            while not await room():  # noqa: ASYNC110 - only trying tells
                await trio.sleep(0.01)
            for stream in held[1:]:
                await stream.aclose()


async def test_a_client_that_does_not_read_holds_up_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endless(command: str, arguments: Mapping[str, Any]) -> Any:
        return "x" * 30_000_000  # more than any buffer on the way

    with within():
        async with serving.serving(HttpConfig(HERE), tmp_path, endless) as at:
            token = at.token_file.read_text().strip()
            stream = await connected(at)
            host = at.url.removeprefix("http://")
            await stream.send_all(
                f"GET /api/status HTTP/1.1\r\nhost: {host}\r\n"
                f"authorization: Bearer {token}\r\n\r\n".encode()
            )
            assert b" 200 " in await stream.receive_some(1000)
        await stream.aclose()


# --- where it listens -----------------------------------------------------------------------------


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NetworkError) as caught:
            async with endpoint(tmp_path, listen):
                pass
    assert str(caught.value) == (
        f"http.listen {listen}: the port is in use; stop what uses it, or choose another"
    )


def certificate(folder: Path) -> tuple[str, str]:
    """(certificate, key) for 127.0.0.1, which vouch for themselves."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert_file), str(key_file)


async def test_with_a_certificate_it_is_https(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    trusted = ssl.create_default_context(cafile=cert)
    async with (
        endpoint(tmp_path, cert_file=cert, key_file=key) as (at, token),
        client(at, token, verify=trusted) as ask,
    ):
        assert at.url.startswith("https://127.0.0.1:")
        assert (await ask.get("/api/status")).json() == ["snapshot", {}]
        assert (await ask.get("/api/status", headers={"host": "music.example"})).is_success
        assert (await ask.get("/api/status", headers={"origin": at.url})).status_code == 403


@pytest.mark.parametrize("broken", ["missing", "not pem", "swapped"])
async def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path, broken: str) -> None:
    cert, key = certificate(tmp_path)
    if broken == "missing":
        cert = str(tmp_path / "none.pem")
    elif broken == "not pem":
        await trio.Path(cert).write_text("hello")
    else:
        cert, key = key, cert
    with pytest.raises(ConfigError, match="cannot be used: ") as caught:
        async with endpoint(tmp_path, cert_file=cert, key_file=key):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"])
def test_other_machines_are_answered_with_a_certificate_only(listen: str) -> None:
    with pytest.raises(ConfigError, match="can be reached from other machines"):
        load_config(None, {}, {"http.listen": listen})
    with_one = {"http.cert_file": "/c", "http.key_file": "/k"}
    assert load_config(None, {}, {"http.listen": listen, **with_one}).http.listen == listen


@pytest.mark.parametrize("listen", ["8010", "music:8010", "127.0.0.1", "127.0.0.1:99999", "::1:80"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"must be an IP address and a port"):
        load_config(None, {}, {"http.listen": listen})


# --- real nodes -----------------------------------------------------------------------------------


def configured(home: Path, **more: Any) -> Config:
    return load_config(
        None,
        {},
        {
            "data.ratings_file": str(home / "ratings.csv"),
            "network.listen": ("/ip4/127.0.0.1/tcp/0",),
            "http.listen": HERE,
            "training.rounds": 2,
            "training.interval_seconds": 0.05,
            "training.when_done": "serve",
            **more,
        },
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    deal(sample_folder(), [folder, tmp_path], seed=5)
    return folder


async def test_a_real_node_answers_as_its_own_methods_do_and_is_gone_with_it(home: Path) -> None:
    events: list[NodeEvent] = []
    async with open_node(configured(home), home, events.append) as node:
        await node.wait_done()
        (told,) = [event for event in events if event.kind == "http-listening"]
        at = Endpoint(told.data["url"], Path(told.data["token_file"]))
        token = at.token_file.read_text().strip()
        assert token not in told.message
        user = (home / "ratings.csv").read_text().splitlines()[1].split(",")[0]
        async with client(at, token) as ask:
            for path in (f"/api/recommend?user={user}&top=3", "/api/recommend?top=3"):
                answer = (await ask.get(path)).json()
                assert answer == json.loads(json.dumps(node.recommend(user, 3).to_plain()))
            song = answer["items"][0]
            similar = (await ask.get("/api/similar", params={"song": song["title"]})).json()
            assert similar == json.loads(json.dumps(node.similar(song["song_id"], 5).to_plain()))
            status = (await ask.get("/api/status")).json()
            assert (status["peer_id"], status["round"]) == (node.network.peer_id, 2)
            (group,) = (await ask.get("/api/groups")).json()
            assert group["mine"]
            top = await ask.get(
                "/rest/getTopSongs", params=salted(token) | {"artist": song["artist"]}
            )
            found = top.json()["subsonic-response"]["topSongs"]["song"]
            assert {one["artist"] for one in found} == {song["artist"]}
            other = await ask.get("/api/similar", params={"song": "no such song"})
            assert other.status_code == 400
    with pytest.raises(OSError, match="connect"):
        await connected(at)


async def test_a_port_in_use_keeps_a_node_from_starting(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NetworkError, match="the port is in use"):
            async with open_node(
                configured(home, **{"http.listen": listen}), home, lambda event: None
            ):
                await trio.sleep_forever()
    assert not (home / "control.sock").exists()


async def test_a_node_that_ends_waits_for_no_client(home: Path) -> None:
    events: list[NodeEvent] = []
    with within():
        async with open_node(configured(home), home, events.append):
            await until_seen(lambda: any(event.kind == "http-listening" for event in events))
            (told,) = [event for event in events if event.kind == "http-listening"]
            stream = await connected(Endpoint(told.data["url"], home))
            await stream.send_all(b"GET /api/status HTTP/1.1\r\n")
        assert await rest_of(stream) == b""


@pytest.mark.slow
def test_the_option_of_start_and_an_address_that_needs_a_certificate(tmp_path: Path) -> None:
    (folder,) = deal_homes(tmp_path, "a")
    serve = ("--rounds", "1", "--set", "training.when_done=serve")
    node = RunningNode(folder, "--http", HERE, "--web", *serve)
    with ending([node]):
        told = node.wait_for("http-listening")
        token = Path(told["data"]["token_file"]).read_text().strip()
        answer = httpx.get(
            f"{told['data']['url']}/rest/ping", params=salted(token), trust_env=False, timeout=None
        )
        assert answer.json()["subsonic-response"]["status"] == "ok"
        page = node.wait_for("web-listening")
        assert page["data"] == told["data"], "one address for both"
        assert token not in page["message"]
        shown = httpx.get(f"{page['data']['url']}/", trust_env=False, timeout=None)
        assert shown.headers["content-type"] == "text/html; charset=utf-8"
        for line in (folder / "node.log").read_text().splitlines():
            assert token not in line
    assert token not in json.dumps(node.events)
