"""What answers players, as far as it needs no server: token, guard, OpenSubsonic's form."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from openfl.app.http import subsonic
from openfl.app.http.guard import MAX_QUERY_BYTES, Guard
from openfl.app.http.subsonic import Failure, authenticate, child, count_of, response
from openfl.app.http.token import TOKEN_FILE, is_token, load_or_create_token
from openfl.core.errors import StateError
from tests.nasty_names import NASTY

TOKEN = "t0ken-" + "x" * 37


# --- the token ------------------------------------------------------------------------------------


def test_a_token_is_made_once_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / TOKEN_FILE
    token = load_or_create_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token) == 43
    assert load_or_create_token(path) == token
    assert load_or_create_token(tmp_path / "other") != token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / TOKEN_FILE
    load_or_create_token(path)
    path.chmod(mode)
    with pytest.raises(StateError, match=rf"can be read by others \(mode {mode:04o}\); delete it"):
        load_or_create_token(path)


@pytest.mark.parametrize("text", ["", "short", "x" * 600, "two words " * 8, "ü" * 40, "\x00" * 40])
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / TOKEN_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(StateError, match="holds no token"):
        load_or_create_token(path)


def test_a_token_is_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(TOKEN)
    os.symlink(tmp_path / "elsewhere", tmp_path / TOKEN_FILE)
    with pytest.raises(StateError, match="symbolic link"):
        load_or_create_token(tmp_path / TOKEN_FILE)


@pytest.mark.parametrize("given", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ü", "\ud800"])
def test_only_the_token_is_the_token(given: str) -> None:
    assert is_token(TOKEN, TOKEN)
    assert not is_token(given, TOKEN)


# --- who may ask by OpenSubsonic ------------------------------------------------------------------


def salted(salt: str, token: str = TOKEN) -> str:
    return hashlib.md5(f"{token}{salt}".encode()).hexdigest()


@pytest.mark.parametrize(
    "parameters",
    [
        {"apiKey": TOKEN},
        {"u": "ann", "t": salted("abcdef"), "s": "abcdef"},
        {"u": "", "t": salted("ü").upper(), "s": "ü"},
    ],
)
def test_who_knows_the_token_may_ask(parameters: dict[str, str]) -> None:
    authenticate(parameters, TOKEN)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, 10),
        ({"u": "ann"}, 10),
        ({"u": "ann", "t": salted("")}, 10),
        ({"u": "ann", "t": salted(""), "s": ""}, 10),
        ({"t": salted("a"), "s": "a"}, 10),
        ({"u": "ann", "t": salted("a", "other"), "s": "a"}, 40),
        ({"u": "ann", "t": salted("a"), "s": "b"}, 40),
        ({"u": "ann", "t": "", "s": "a"}, 40),
        ({"u": "ann", "p": TOKEN}, 42),
        ({"u": "ann", "p": TOKEN, "t": salted("a"), "s": "a"}, 42),
        ({"apiKey": TOKEN, "u": "ann"}, 43),
        ({"apiKey": TOKEN, "t": salted("a"), "s": "a"}, 43),
        ({"apiKey": TOKEN, "p": TOKEN}, 43),
        ({"apiKey": ""}, 44),
        ({"apiKey": f"{TOKEN}x"}, 44),
    ],
)
def test_who_does_not_is_told_why_as_the_protocol_has_it(
    parameters: dict[str, str], code: int
) -> None:
    with pytest.raises(Failure) as caught:
        authenticate(parameters, TOKEN)
    assert caught.value.code == code
    assert TOKEN not in str(caught.value)


def test_a_long_salt_is_cut_before_it_is_hashed() -> None:
    salt = "s" * 100_000
    with pytest.raises(Failure):
        authenticate({"u": "ann", "t": salted(salt), "s": salt}, TOKEN)


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), ("500", 500), ("501", 500), ("99999999999999999999", 500)]
)
def test_counts_are_bounded(text: str, count: int) -> None:
    assert count_of({"count": text}) == count
    assert count_of({}) == 50


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "\u0661", "0x10", "1_0"])
def test_a_count_that_is_none_is_a_failure(text: str) -> None:
    with pytest.raises(Failure, match="count"):
        count_of({"count": text})


# --- OpenSubsonic's answers -----------------------------------------------------------------------

# https://opensubsonic.netlify.app/docs/responses/child: what is required of it.
REQUIRED = {"id": str, "isDir": bool, "title": str}
TYPES = REQUIRED | {
    **{"isVideo": bool, "type": str, "mediaType": str, "musicBrainzId": str},
    **{"artist": str, "artistId": str},
}
MBID = "e8f9b188-f819-4e43-ab0f-4bd26ce9ff56"


@pytest.mark.parametrize("artist", [None, "Ann"])
@pytest.mark.parametrize("title", [None, "Title"])
def test_a_song_has_what_a_child_must_have_and_nothing_of_another_type(
    title: str | None, artist: str | None
) -> None:
    song = child({"song_id": MBID, "title": title, "artist": artist})
    assert set(REQUIRED) <= set(song) <= set(TYPES)
    assert all(type(value) is TYPES[key] for key, value in song.items())
    assert song["musicBrainzId"] == MBID
    assert ("artistId" in song) == (artist is not None)
    assert child({"song_id": "7", "title": title, "artist": artist})["musicBrainzId"] == ""


@pytest.mark.parametrize("name", NASTY)
def test_names_are_written_so_that_they_can_be_read(name: str) -> None:
    content = {"topSongs": {"song": [child({"song_id": "1", "title": name, "artist": name})]}}
    _, body = response("json", content)
    (song,) = json.loads(body)["subsonic-response"]["topSongs"]["song"]
    assert song["title"] == (name or "1")
    _, body = response("xml", content)
    (node,) = ElementTree.fromstring(body).iter(f"{{{subsonic.NAMESPACE}}}song")
    unseen = "\x1b\x07\x00\u202e\u200b\ud800\r\ufffe\uffff"
    shown = "".join("\ufffd" if c in unseen else c for c in name or "1")
    assert node.get("title", "").split() == shown.split()  # newlines in attributes are spaces
    assert node.get("isDir") == "false"


def test_lists_are_elements_and_plain_values_attributes() -> None:
    extensions = {"openSubsonicExtensions": list(subsonic.EXTENSIONS)}
    root = ElementTree.fromstring(response("xml", extensions)[1])
    assert [one.get("name") for one in root] == ["apiKeyAuthentication", "formPost"]
    assert [v.text for v in root[0]] == ["1"]
    assert root.get("status") == "ok"


def test_a_failure_says_its_code_and_is_answered_in_the_form_asked_for() -> None:
    kind, body = response("json", Failure(40, "no"))
    answer = json.loads(body)["subsonic-response"]
    assert kind == "application/json"
    assert (answer["status"], answer["error"]) == ("failed", {"code": 40, "message": "no"})
    kind, body = response("xml", Failure(40, "no"))
    assert kind.startswith("application/xml")
    error = ElementTree.fromstring(body)[0]
    assert (error.get("code"), error.get("message")) == ("40", "no")


@pytest.mark.parametrize("form", ["jsonp", "html", ""])
def test_a_form_that_pages_could_read_is_not_answered(form: str) -> None:
    kind, body = response(form, {"secret": "x"})
    assert kind == "application/json"
    assert json.loads(body)["subsonic-response"]["status"] == "failed"
    assert b"secret" not in body


# --- only where it is wanted ----------------------------------------------------------------------


def test_a_node_that_answers_nobody_by_http_loads_nothing_of_it() -> None:
    code = (
        "import sys; import openfl.app.running_node; names = set(sys.modules);"
        "assert not [name for name in names if name.startswith('openfl.app.http')], names"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# --- the guard ------------------------------------------------------------------------------------

HOSTS = frozenset({"127.0.0.1:8010", "localhost:8010"})


def scope(**changes: Any) -> MutableMapping[str, Any]:
    usual = {"headers": [(b"host", b"127.0.0.1:8010")], "path": "/api/status", "query_string": b""}
    return {"type": "http", "method": "GET", **usual, **changes}


async def answered(
    hosts: frozenset[str] | None = HOSTS, **changes: Any
) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"secret"})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("nobody reads a body")

    await Guard(app, hosts)(scope(**changes), receive, send)
    return sent


def with_host(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"headers": [(b"host", b"127.0.0.1:8010"), *headers]}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"method": "HEAD"},
        {"headers": [(b"HOST", b"LocalHost:8010")]},
        with_host((b"content-length", b"0")),
        with_host((b"sec-fetch-site", b"none")),
        {"method": "POST", "path": "/rest/ping", **with_host((b"content-length", b"4096"))},
        {"method": "POST", "path": "/rest/ping"},
    ],
)
async def test_what_a_program_on_this_machine_asks_is_let_through(changes: dict[str, Any]) -> None:
    start, body = await answered(**changes)
    assert (start["status"], body["body"]) == (200, b"secret")
    assert (b"a", b"b") in start["headers"]
    assert (b"x-content-type-options", b"nosniff") in start["headers"]
    assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"headers": []}, 400),
        ({"headers": [(b"host", b"127.0.0.1:8010"), (b"Host", b"127.0.0.1:8010")]}, 400),
        ({"headers": [(b"host", b"evil.example:8010")]}, 421),
        ({"headers": [(b"host", b"127.0.0.1")]}, 421),
        ({"headers": [(b"host", b"127.0.0.1:8010.evil.example")]}, 421),
        (with_host((b"origin", b"http://127.0.0.1:8010")), 403),
        (with_host((b"Origin", b"null")), 403),
        (with_host((b"sec-fetch-site", b"cross-site")), 403),
        (with_host((b"sec-fetch-site", b"same-site")), 403),
        (with_host((b"content-length", b"7")), 413),
        (with_host((b"transfer-encoding", b"chunked")), 413),
        ({"query_string": b"x" * (MAX_QUERY_BYTES + 1)}, 414),
        ({"path": "/" * 300}, 414),
        ({"method": "POST"}, 405),
        ({"method": "POST", "path": "/rest"}, 405),
        ({"method": "PUT", "path": "/rest/ping"}, 405),
        ({"method": "POST", "path": "/rest/p", **with_host((b"content-length", b"4097"))}, 413),
        ({"method": "POST", "path": "/rest/p", **with_host((b"content-length", b"+1"))}, 413),
        ({"method": "POST", "path": "/rest/p", **with_host((b"transfer-encoding", b"x"))}, 413),
        ({"method": "POST", "path": "/rest/p", **with_host((b"origin", b"http://a.b"))}, 403),
        ({"method": "OPTIONS"}, 405),
        ({"method": "TRACE"}, 405),
    ],
)
async def test_what_a_page_or_nobody_sane_asks_is_refused_unseen(
    changes: dict[str, Any], status: int
) -> None:
    start, body = await answered(**changes)
    assert start["status"] == status
    assert b"secret" not in body["body"]
    assert json.loads(body["body"])["error"]
    assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]


async def test_with_a_certificate_any_host_will_do_but_no_page() -> None:
    headers = [(b"host", b"music.example")]
    assert (await answered(None, headers=headers))[0]["status"] == 200
    from_page = [*headers, (b"origin", b"https://music.example")]
    assert (await answered(None, headers=from_page))[0]["status"] == 403


def at(path: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"path": path, **with_host(*headers)}


OWN = (b"origin", b"http://127.0.0.1:8010")
FOREIGN = (b"sec-fetch-site", b"cross-site")
NAVIGATE, DOCUMENT = (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")


@pytest.mark.parametrize(
    "changes",
    [
        at("/api/page", OWN),
        at("/api/stream", OWN, (b"sec-fetch-site", b"same-origin")),
        at("/page.js", (b"sec-fetch-site", b"same-origin")),
        at("/", FOREIGN, NAVIGATE, DOCUMENT),
    ],
)
async def test_the_nodes_own_page_is_answered_and_a_link_to_it_may_be_followed(
    changes: dict[str, Any],
) -> None:
    assert (await answered(**changes))[0]["status"] == 200


@pytest.mark.parametrize(
    "changes",
    [
        at("/api/page", (b"origin", b"https://127.0.0.1:8010")),
        at("/api/page", (b"origin", b"http://localhost:8010")),
        at("/api/page", (b"origin", b"http://127.0.0.1:8011")),
        at("/api/page", (b"origin", b"http://127.0.0.1:8010.evil.example")),
        at("/api/page", OWN, (b"origin", b"http://evil.example")),
        at("/api/page", OWN, FOREIGN),
        at("/metrics", OWN),
        at("/api/page", FOREIGN, NAVIGATE, DOCUMENT),
        at("/", FOREIGN, NAVIGATE, (b"sec-fetch-dest", b"iframe")),
        at("/", FOREIGN, (b"sec-fetch-mode", b"no-cors"), (b"sec-fetch-dest", b"script")),
        at("/", FOREIGN, NAVIGATE, DOCUMENT, (b"origin", b"http://evil.example")),
        at("/", FOREIGN),
    ],
)
async def test_other_pages_are_not_whatever_they_make_of_it(changes: dict[str, Any]) -> None:
    assert (await answered(**changes))[0]["status"] == 403


async def test_what_an_answer_says_for_itself_is_not_said_twice() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        own = [(b"content-security-policy", b"default-src 'self'")]
        await send({"type": "http.response.start", "status": 200, "headers": own})

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await Guard(app, HOSTS)(scope(path="/"), app, send)  # type: ignore[arg-type]
    names = [name for name, _ in sent[0]["headers"]]
    assert len(names) == len(set(names))
    assert (b"content-security-policy", b"default-src 'self'") in sent[0]["headers"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_nothing_but_http_is_answered(kind: str) -> None:
    assert await answered(type=kind) == []
