"""What a running node answers to commands: on its control socket, and to players
(`openfl.app.http`)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from openfl.app.control_socket import CommandHandler
from openfl.app.first_user import NOBODY
from openfl.app.page_document import page_document
from openfl.core.errors import OpenFLError, UsageError
from openfl.learning.factorization.wishes import Wishes
from openfl.node import Node

MAX_TOP = 1000
MAX_NAME_CHARS = 1000
"""Of a user or a song that is asked for."""
PAGE_TOP = 10
"""Recommendations on the page."""
AT_ONCE = 2
"""Questions that are worked on at the same time."""


def node_commands(
    node: Node,
    usual_user: Callable[[], str] = str,
    web: Callable[[], Awaitable[Mapping[str, Any]]] | None = None,
) -> CommandHandler:
    """The handler of the node's control socket; docs/cli.md describes what commands get. It raises
    UsageError for a command or argument that the node does not know, and what the node raises.
    usual_user: whom to recommend to when nobody is named, "" for nobody; runs in a thread. web:
    where the page is, which it opens first if need be."""

    limiter = trio.CapacityLimiter(AT_ONCE)

    async def in_thread(work: Callable[..., Any], *of: Any) -> Any:
        # A large catalogue takes a while, in which the node has others to answer.
        return await trio.to_thread.run_sync(
            work,
            *of,
            abandon_on_cancel=True,  # type: ignore[call-arg]  # the stubs are of an older trio
            limiter=limiter,
        )

    async def page() -> Any:
        try:
            recommendations = await handle("recommend", {"top": PAGE_TOP, "why": True})
        except OpenFLError:
            recommendations = None  # nobody to recommend to, or nothing yet
        return page_document(
            node.snapshot().to_plain(),
            node.course.to_plain(),
            [view.to_plain() for view in node.known_groups()],
            recommendations,
            time.time(),
        )

    async def handle(command: str, arguments: Mapping[str, Any]) -> Any:
        match command:
            case "snapshot":
                return node.snapshot().to_plain()
            case "groups":
                ask = bool(arguments.get("ask", True))
                groups = await node.groups() if ask else node.known_groups()
                return [view.to_plain() for view in groups]
            case "course":
                newest = bool(arguments.get("newest", False))
                return node.course.newest_to_plain() if newest else node.course.to_plain()
            case "page":
                return await page()
            case "web" if web is not None:
                return await web()
            case "try":
                return (await node.try_group(str(arguments.get("group", "")))).to_plain()
            case "switch":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.switch(group, pin)).to_plain()
            case "found":
                group, pin = str(arguments.get("group", "")), bool(arguments.get("pin", False))
                return (await node.found_group(group, pin)).to_plain()
            case "recommend":
                top, wishes = _top(arguments), wishes_in(arguments)
                user = _name(arguments, "user") or await in_thread(usual_user)
                if not user:
                    raise UsageError(NOBODY)
                return (await in_thread(node.songs().recommend, user, top, wishes)).to_plain()
            case "similar":
                song, top = _name(arguments, "song"), _top(arguments)
                return (await in_thread(node.songs().similar, song, top)).to_plain()
            case "like-artist":
                artist, top = _name(arguments, "artist"), _top(arguments)
                return (await in_thread(node.songs().like_artist, artist, top)).to_plain()
            case "top-songs":
                artist, top = _name(arguments, "artist"), _top(arguments)
                return (await in_thread(node.songs().top_songs, artist, top)).to_plain()
            case "stop":
                node.request_stop(leave=bool(arguments.get("leave", False)))
                return None
            case _:
                raise UsageError(f"the node knows no command {command!r}: is it another version?")

    return handle


def _top(arguments: Mapping[str, Any]) -> int:
    top = arguments.get("top", 5)
    if not isinstance(top, int) or not 1 <= top <= MAX_TOP:
        raise UsageError(f"top must be a number within 1..{MAX_TOP}, got {top!r}")
    return top


def _name(arguments: Mapping[str, Any], key: str) -> str:
    name = str(arguments.get(key, ""))
    if len(name) > MAX_NAME_CHARS:
        raise UsageError(f"{key} must not be longer than {MAX_NAME_CHARS} characters")
    return name


def wishes_in(arguments: Mapping[str, Any]) -> Wishes:
    """What `arguments` say of `Wishes`; UsageError when that makes no sense."""
    share = arguments.get("not_popular", 0.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise UsageError(f"not_popular must be a number within 0..1, got {share!r}")
    return Wishes(
        new_artists=bool(arguments.get("new_artists", False)),
        not_popular=float(share),
        why=bool(arguments.get("why", False)),
    )
