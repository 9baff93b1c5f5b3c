"""What is asked by HTTP, and which of the node's commands answers it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openfl.app.control_socket import CommandHandler
from openfl.app.http import subsonic
from openfl.app.http.guard import FORM_METHOD, App, Guard
from openfl.app.http.subsonic import Failure
from openfl.app.http.token import is_token
from openfl.core.errors import GroupError, OpenFLError, UsageError

log = logging.getLogger("openfl.http")

_FLAGS = {"": True, "1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_STATUS: tuple[tuple[type[OpenFLError], int], ...] = ((UsageError, 400), (GroupError, 409))
_OWN = ("user", "top", "new_artists", "not_popular", "why", "song", "artist")


def players_app(commands: CommandHandler, token: str, hosts: frozenset[str] | None) -> App:
    """The whole ASGI application; it never raises but for a bug, which is logged and answered with
    500. hosts: see `Guard`. The token is in no log and in no answer."""
    plain = {"recommend": "recommend", "similar": "similar", "status": "snapshot"}
    routes = [
        *(Route(f"/api/{name}", _api(commands, command, token)) for name, command in plain.items()),
        Route("/api/groups", _api(commands, "groups", token)),
        Route("/rest/{method}", _rest(commands, token), methods=["GET", FORM_METHOD]),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return Guard(app, hosts)


# --- JSON -----------------------------------------------------------------------------------------


def _api(
    commands: CommandHandler, command: str, token: str
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not is_token(given.strip(), token):
            refused = _json(
                401, {"error": "send the token in players.token as: Authorization: Bearer"}
            )
            refused.headers["www-authenticate"] = "Bearer"
            return refused
        try:
            found = await commands(command, _arguments(request))
        except OpenFLError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            return _json(status, {"error": str(error), "exit_code": error.exit_code})
        return _json(200, found)

    return _with_bugs_logged(answer, lambda: _json(500, {"error": _BUG}))


def _arguments(request: Request) -> dict[str, Any]:
    """The parameters of a question, as the node's commands take them; UsageError says what is wrong
    with one. Each once: of two, readers before and behind us may take another."""
    given = request.query_params.multi_items()
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


def _json(status: int, value: Any) -> Response:
    # ASCII, so that half a surrogate pair in a name is written like any other character.
    body = json.dumps(value, allow_nan=False).encode()
    return Response(body, status, media_type="application/json")


# --- OpenSubsonic ---------------------------------------------------------------------------------


def _rest(commands: CommandHandler, token: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        parameters = dict(request.query_params)
        if request.method == FORM_METHOD:  # of which `Guard` has seen the length
            body = (await request.body()).decode("utf-8", errors="replace")
            parameters |= dict(parse_qsl(body, keep_blank_values=True))
        method = request.path_params["method"].removesuffix(".view")
        known = method in METHODS
        try:
            if method != "getOpenSubsonicExtensions":  # which clients ask before they log in
                subsonic.authenticate(parameters, token)
            if not known:
                raise Failure(subsonic.GENERIC, "this is not offered here: there is no audio")
            content: Mapping[str, Any] | Failure = await METHODS[method](commands, parameters)
        except Failure as failure:
            content = failure
        except OpenFLError as error:
            missing = isinstance(error, UsageError | GroupError)
            content = Failure(subsonic.NOT_FOUND if missing else subsonic.GENERIC, str(error))
        media_type, body = subsonic.response(parameters.get("f", "xml"), content)
        return Response(body, 200 if known else 404, media_type=media_type)

    def bug() -> Response:
        media_type, body = subsonic.response("json", Failure(subsonic.GENERIC, _BUG))
        return Response(body, 500, media_type=media_type)

    return _with_bugs_logged(answer, bug)


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


# --- both -----------------------------------------------------------------------------------------

_BUG = "a bug: node.log has the traceback; please report it"


def _with_bugs_logged(
    answer: Callable[[Request], Awaitable[Response]], instead: Callable[[], Response]
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            return await answer(request)
        except Exception:
            # By its path alone: parameters may hold the token.
            log.exception("a question to %s", request.url.path)
            return instead()

    return handle
