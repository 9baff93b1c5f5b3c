"""The control socket: how commands talk to a running node on the same machine.

A Unix domain socket in the home folder, readable by its owner only. One JSON object a line each
way: `{"command": NAME, ...}` is answered by `{"ok": true, "result": ...}` or
`{"ok": false, "error": "one line", "exit_code": N}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import trio

from openfl.core.errors import (
    ConfigError,
    DataError,
    GroupError,
    LearningError,
    NetworkError,
    NotRunningError,
    OpenFLError,
    StateError,
    UsageError,
    UserError,
)
from openfl.core.files import owner_problem
from openfl.storage.home import Home
from openfl.storage.moved import where_to

SOCKET_NAME = "control.sock"
MAX_REQUEST_BYTES = 1 << 16
MAX_ANSWER_BYTES = 1 << 26
IDLE_SECONDS = 30.0
_SAFE_PATH_BYTES = 100  # sun_path holds 108 on Linux, 104 on macOS

_ERRORS: Mapping[int, type[UserError]] = {
    kind.exit_code: kind
    for kind in (
        UsageError,
        ConfigError,
        DataError,
        NetworkError,
        StateError,
        NotRunningError,
        GroupError,
        LearningError,
    )
}

CommandHandler = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""(command, arguments) -> a JSON value; an OpenFLError becomes the answer's error."""


@contextlib.contextmanager
def _short_path(path: Path) -> Any:
    """A name for `path` that fits a socket address: through an open folder when it is too long."""
    if len(os.fsencode(path)) <= _SAFE_PATH_BYTES or not Path("/proc/self/fd").exists():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def call(home: Path, command: str, timeout_seconds: float = 10.0, **arguments: Any) -> Any:
    """The running node's answer to `command`; NotRunningError when none answers in `home`.
    StateError: what stands there is not the socket of a node of ours, whose word would count."""
    path = home / SOCKET_NAME
    _is_there(path)
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    if len(request) > MAX_REQUEST_BYTES:
        raise UsageError(f"{command}: its arguments are too long")
    answer = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_seconds)
        try:
            with _short_path(path) as name:
                link.connect(name)
            link.sendall(request)
            while not answer.endswith(b"\n"):
                chunk = link.recv(1 << 16)
                if not chunk:
                    break
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise NotRunningError(f"the node in {home} gave an endless answer")
        except TimeoutError:
            raise NotRunningError(
                f"the node in {home} did not answer within {timeout_seconds:g} s"
            ) from None
        except OSError:
            raise NotRunningError(_why_none(home)) from None
    try:
        message = json.loads(answer)
        if message["ok"]:
            return message["result"]
        kind = _ERRORS.get(message["exit_code"], UserError)
        text = str(message["error"])
    except (ValueError, KeyError, TypeError):
        raise NotRunningError(f"the node in {home} stopped before it answered") from None
    raise kind(text)


def _why_none(home: Path) -> str:
    """No node runs in `home`, and what that means for whoever wanted one."""
    moved = where_to(Home(home))
    if moved is not None:
        return f"no node is running in {home}, which rests: its node {moved}"
    start = f"openfl-node start --home {shlex.quote(str(home))}"
    return f"no node is running in {home} (start one with: {start})"


def _is_there(path: Path) -> bool:
    """Whether there is a control socket; StateError when it is none, or somebody else's."""
    try:
        status = path.lstat()
    except OSError:
        return False
    foreign = owner_problem(status.st_uid)
    if foreign is not None:
        raise StateError(f"{path} {foreign}")
    if not stat.S_ISSOCK(status.st_mode):
        raise StateError(f"{path} is in the way and is not a socket: move it elsewhere")
    return True


@contextlib.contextmanager
def _as_state_error(path: Path) -> Iterator[None]:
    """A full or read-only disk is something its owner can mend."""
    try:
        yield
    except OSError as error:
        raise StateError(f"{path}: cannot be made: {error.strerror or error}") from error


@contextlib.asynccontextmanager
async def serve_control(home: Path, handler: CommandHandler) -> AsyncIterator[None]:
    """Answer commands on the home's control socket for as long as the block is open."""
    path = home / SOCKET_NAME
    with _short_path(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
        if _is_there(path):
            # The home's lock is ours, so this is what a killed node left behind.
            with _as_state_error(path):
                path.unlink()
        # Never open to others, not for a moment: the mode is set before the name appears.
        before = os.umask(0o177)
        try:
            with _as_state_error(path):
                raw.bind(name)
        finally:
            os.umask(before)
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077:
            raise StateError(
                f"{path} can be used by others (mode {mode:04o}): this file system keeps no"
                " permissions; give the node a home folder on another"
            )
        raw.listen(16)
        raw.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(raw.dup()))
        try:
            async with trio.open_nursery() as nursery:

                async def answer(stream: trio.SocketStream) -> None:
                    await _answer(stream, handler)

                nursery.start_soon(trio.serve_listeners, answer, [listener])
                yield
                nursery.cancel_scope.cancel()
        finally:
            # Not `aclose`: in a cancelled scope its checkpoint would put a Cancelled, which
            # vanishes, in the place of the block's own exception.
            listener.socket.close()
            # On a file system that is read-only by now it stays: the next start removes it.
            with contextlib.suppress(OSError):
                path.unlink()


async def _answer(stream: trio.SocketStream, handler: CommandHandler) -> None:
    async with stream:
        try:
            with trio.fail_after(IDLE_SECONDS):
                line = await _read_line(stream)
            if line is None:
                return
            answer = await _run(line, handler)
            await stream.send_all(json.dumps(answer, allow_nan=False).encode() + b"\n")
        except (trio.BrokenResourceError, trio.TooSlowError):
            return  # the caller went away


async def _read_line(stream: trio.SocketStream) -> bytes | None:
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = await stream.receive_some(1 << 14)
        if not chunk or len(line) + len(chunk) > MAX_REQUEST_BYTES:
            return None
        line += chunk
    return bytes(line)


async def _run(line: bytes, handler: CommandHandler) -> dict[str, Any]:
    try:
        request = json.loads(line)
        command = request.pop("command")
        if not isinstance(command, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {"ok": False, "error": "not a command", "exit_code": UsageError.exit_code}
    try:
        return {"ok": True, "result": await handler(command, request)}
    except OpenFLError as error:
        return {"ok": False, "error": str(error), "exit_code": error.exit_code}
