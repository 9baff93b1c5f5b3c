"""What is asked by HTTP, and which of the node's commands answers it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.http import subsonic
from openfl.app.http.asked import Answer, ClientGone, Request, json_answer
from openfl.app.http.guard import FORM_METHOD, FORM_PATHS, App, Guard, Receive, Scope, Send
from openfl.app.http.metrics import MEDIA_TYPE, metrics_text
from openfl.app.http.streams import Feed, TooManyReaders
from openfl.app.http.subsonic import Failure
from openfl.app.http.token import is_token
from openfl.core.errors import GroupError, OpenFLError, UsageError

log = logging.getLogger("openfl.http")

_FLAGS = {"": True, "1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_STATUS: tuple[tuple[type[OpenFLError], int], ...] = ((UsageError, 400), (GroupError, 409))
_OWN = ("user", "top", "new_artists", "not_popular", "why", "song", "artist")

COMMANDS = {
    "/api/recommend": "recommend",
    "/api/similar": "similar",
    "/api/status": "snapshot",
    "/api/groups": "groups",
    "/api/course": "course",
    "/api/page": "page",
}
"""Path -> the node's command that answers it in JSON."""
STREAM, METRICS = "/api/stream", "/metrics"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
}

Answering = Callable[[Request], Awaitable[Answer]]


def node_app(commands: CommandHandler, token: str, hosts: frozenset[str] | None, feed: Feed) -> App:
    """The whole ASGI application; it never raises but for a bug while a stream is sent, or a reader
    that is dropped. Other bugs are logged and answered with 500. hosts: see `Guard`. The token is
    in no log and in no answer."""
    return Guard(_Routes(commands, token, feed), hosts)


class _Routes:
    def __init__(self, commands: CommandHandler, token: str, feed: Feed) -> None:
        self._commands = commands
        self._token = token
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope, receive)
        path = request.path
        answer: Answer | None
        if path.startswith(FORM_PATHS):
            answer = await _with_bugs_logged(self._rest, request, _subsonic_bug)
        elif path in COMMANDS or path in (STREAM, METRICS):
            answer = self._refusal(request)
            if answer is None and path == STREAM:
                await self._stream(request, send)
                return
            if answer is None:
                asked = self._metrics if path == METRICS else self._asked
                answer = await _with_bugs_logged(asked, request, _json_bug)
        else:
            answer = await _page(path)
        await answer.send(send)

    def _refusal(self, request: Request) -> Answer | None:
        """None when the request shows that it knows the token."""
        scheme, _, given = request.authorization.partition(" ")
        if scheme.lower() == "bearer" and is_token(given.strip(), self._token):
            return None
        return json_answer(
            401,
            {"error": "send the token in players.token as: Authorization: Bearer"},
            {"www-authenticate": "Bearer"},
        )

    # --- JSON, metrics and the stream -------------------------------------------------------------

    async def _asked(self, request: Request) -> Answer:
        try:
            found = await self._commands(COMMANDS[request.path], _arguments(request))
        except OpenFLError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            return json_answer(status, {"error": str(error), "exit_code": error.exit_code})
        return json_answer(200, found)

    async def _metrics(self, request: Request) -> Answer:
        text = metrics_text(await self._commands("snapshot", {}))
        return Answer(200, text.encode(), MEDIA_TYPE)

    async def _stream(self, request: Request, send: Send) -> None:
        if request.method == "HEAD":
            await Answer(200, b"", "text/event-stream").send(send)
            return
        request.scope.get("openfl.lasting", lambda: None)()
        try:
            await self._feed.read(send)
        except TooManyReaders:
            why = {"error": "as many pages look at this node as may; close one"}
            await json_answer(503, why, {"retry-after": "10"}).send(send)

    # --- OpenSubsonic -----------------------------------------------------------------------------

    async def _rest(self, request: Request) -> Answer:
        parameters = dict(request.parameters)
        if request.method == FORM_METHOD:  # of which `Guard` has seen the length
            form = (await request.body()).decode("utf-8", errors="replace")
            parameters |= dict(parse_qsl(form, keep_blank_values=True))
        method = request.path.removeprefix(FORM_PATHS).removesuffix(".view")
        known = method in METHODS
        try:
            if method != "getOpenSubsonicExtensions":  # which clients ask before they log in
                subsonic.authenticate(parameters, self._token)
            if not known:
                raise Failure(subsonic.GENERIC, "this is not offered here: there is no audio")
            asked = METHODS[method](self._commands, parameters)
            content: Mapping[str, Any] | Failure = await asked
        except Failure as failure:
            content = failure
        except OpenFLError as error:
            missing = isinstance(error, UsageError | GroupError)
            content = Failure(subsonic.NOT_FOUND if missing else subsonic.GENERIC, str(error))
        media_type, body = subsonic.response(parameters.get("f", "xml"), content)
        return Answer(200 if known else 404, body, media_type)


async def _page(path: str) -> Answer:
    """A part of the page, which holds nothing of the node: what it shows it asks for with the
    token."""
    from openfl.app.http.page import asset

    try:
        media_type, body = await trio.to_thread.run_sync(asset, path)
    except KeyError:
        return json_answer(404, {"error": "there is nothing here"})
    return Answer(200, body, media_type, PAGE_HEADERS)


def _arguments(request: Request) -> dict[str, Any]:
    """The parameters of a question, as the node's commands take them; UsageError says what is wrong
    with one. Each once: of two, readers before and behind us may take another."""
    given = request.parameters
    names = [name for name, _ in given]
    for name in names:
        if name not in _OWN:
            raise UsageError(f"there is no parameter {name[:40]!r}; known: {', '.join(_OWN)}")
        if names.count(name) > 1:
            raise UsageError(f"{name} is given more than once")
    arguments: dict[str, Any] = dict(given)
    if "top" in arguments:
        arguments["top"] = _number(arguments["top"], int, "top")
    if "not_popular" in arguments:
        arguments["not_popular"] = _number(arguments["not_popular"], float, "not_popular")
    for name in ("new_artists", "why"):
        if name in arguments:
            if arguments[name].lower() not in _FLAGS:
                raise UsageError(f"{name} must be 1 or 0, not {arguments[name][:20]!r}")
            arguments[name] = _FLAGS[arguments[name].lower()]
    return arguments


def _number(text: str, kind: type[int] | type[float], name: str) -> int | float:
    try:
        if len(text) > 20 or "_" in text:
            raise ValueError
        return kind(text)
    except ValueError:
        raise UsageError(f"{name} must be a number, not {text[:20]!r}") from None


async def _nothing(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {}


async def _license(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"license": {"valid": True}}


async def _token_info(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"tokenInfo": {"username": "openfl"}}


async def _extensions(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"openSubsonicExtensions": list(subsonic.EXTENSIONS)}


async def _similar(commands: CommandHandler, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    wanted, top = subsonic.required(parameters, "id"), subsonic.count_of(parameters)
    if wanted.startswith(subsonic.ARTIST):
        artist = wanted.removeprefix(subsonic.ARTIST)
        found = await commands("like-artist", {"artist": artist, "top": top})
    else:
        found = await commands("similar", {"song": wanted, "top": top})
    return [subsonic.child(song) for song in found["items"]]


async def _similar_1(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"similarSongs": {"song": await _similar(commands, parameters)}}


async def _similar_2(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    return {"similarSongs2": {"song": await _similar(commands, parameters)}}


async def _top_songs(commands: CommandHandler, parameters: Mapping[str, str]) -> dict[str, Any]:
    artist = subsonic.required(parameters, "artist")
    found = await commands("top-songs", {"artist": artist, "top": subsonic.count_of(parameters)})
    return {"topSongs": {"song": [subsonic.child(song) for song in found["items"]]}}


METHODS: Mapping[str, Callable[[CommandHandler, Mapping[str, str]], Awaitable[dict[str, Any]]]] = {
    "ping": _nothing,
    "getLicense": _license,
    "tokenInfo": _token_info,
    "getOpenSubsonicExtensions": _extensions,
    "getSimilarSongs": _similar_1,
    "getSimilarSongs2": _similar_2,
    "getTopSongs": _top_songs,
}


# --- bugs -----------------------------------------------------------------------------------------

_BUG = "a bug: node.log has the traceback; please report it"


def _json_bug() -> Answer:
    return json_answer(500, {"error": _BUG})


def _subsonic_bug() -> Answer:
    media_type, body = subsonic.response("json", Failure(subsonic.GENERIC, _BUG))
    return Answer(500, body, media_type)


async def _with_bugs_logged(
    answering: Answering, request: Request, instead: Callable[[], Answer]
) -> Answer:
    try:
        return await answering(request)
    except ClientGone:
        raise  # nobody's bug, and nobody fills the log with it
    except Exception:
        # By its path alone: parameters may hold the token.
        log.exception("a question to %s", request.path)
        return instead()
