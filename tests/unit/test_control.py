"""The control socket, over real Unix sockets: commands, errors, callers that misbehave."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from openfl.app import control_socket as control
from openfl.app.control_socket import (
    IDLE_SECONDS,
    MAX_REQUEST_BYTES,
    SOCKET_NAME,
    call,
    serve_control,
)
from openfl.core.errors import (
    ConfigError,
    DataError,
    GroupError,
    LearningError,
    NetworkError,
    NotRunningError,
    RequestFailed,
    StateError,
    UsageError,
    UserError,
)
from tests.patience import PATIENCE_SECONDS


async def echo(command: str, arguments: Mapping[str, Any]) -> Any:
    return {"command": command, "arguments": dict(arguments)}


async def ask(home: Path, command: str, **arguments: Any) -> Any:
    """`call` from a thread, as another process would."""
    arguments.setdefault("timeout_seconds", PATIENCE_SECONDS)
    return await trio.to_thread.run_sync(partial(call, home, command, **arguments))


async def say(home: Path, line: bytes, seconds: float = PATIENCE_SECONDS) -> bytes:
    """Send bytes as they are; everything that comes back until the node hangs up."""
    with trio.fail_after(seconds):
        async with await trio.open_unix_socket(str(home / SOCKET_NAME)) as stream:
            await stream.send_all(line)
            return b"".join([chunk async for chunk in stream])


# --- answers and errors ---------------------------------------------------------------------------


async def test_a_command_and_its_arguments_reach_the_node_and_the_answer_comes_back(
    tmp_path: Path,
) -> None:
    async with serve_control(tmp_path, echo):
        answer = await ask(tmp_path, "recommend", user="anne ünï\n", top=3)
    assert answer == {"command": "recommend", "arguments": {"user": "anne ünï\n", "top": 3}}


async def test_one_node_answers_many_callers_at_once(tmp_path: Path) -> None:
    waiting, go_on = [], trio.Event()

    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        waiting.append(command)
        if len(waiting) == 5:
            go_on.set()
        await go_on.wait()
        return command

    answers: list[str] = []

    async def one(name: str) -> None:
        answers.append(await ask(tmp_path, name))

    async with serve_control(tmp_path, handler), trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, f"c{number}")
    assert sorted(answers) == ["c0", "c1", "c2", "c3", "c4"]


async def test_a_large_answer_arrives_whole(tmp_path: Path) -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        return "x" * 3_000_000

    async with serve_control(tmp_path, handler):
        assert len(await ask(tmp_path, "snapshot")) == 3_000_000


async def test_an_endless_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 100_000)

    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        return "x" * 300_000

    async with serve_control(tmp_path, handler):
        with pytest.raises(NotRunningError, match="endless"):
            await ask(tmp_path, "snapshot")


@pytest.mark.parametrize(
    "kind",
    [
        UserError,
        UsageError,
        ConfigError,
        DataError,
        NetworkError,
        StateError,
        NotRunningError,
        GroupError,
        LearningError,
    ],
)
async def test_an_error_of_the_node_keeps_its_kind_exit_code_and_words(
    tmp_path: Path, kind: type[UserError]
) -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        raise kind("it is so")

    async with serve_control(tmp_path, handler):
        with pytest.raises(kind) as caught:
            await ask(tmp_path, "switch")
        assert type(caught.value) is kind
        assert str(caught.value) == "it is so"
        assert json.loads(await say(tmp_path, b'{"command": "switch"}\n')) == {
            "ok": False,
            "error": "it is so",
            "exit_code": kind.exit_code,
        }


async def test_another_peers_fault_is_an_error_of_the_command_and_does_not_end_the_node(
    tmp_path: Path,
) -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        raise RequestFailed("no answer")

    async with serve_control(tmp_path, handler):
        for _ in range(2):
            with pytest.raises(UserError, match="no answer"):
                await ask(tmp_path, "groups")


async def test_a_bug_in_a_command_is_not_hidden(tmp_path: Path) -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        raise ZeroDivisionError

    async def node() -> None:
        async with serve_control(tmp_path, handler):
            await say(tmp_path, b'{"command": "x"}\n')
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await node()
    assert caught.value.subgroup(ZeroDivisionError) is not None
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_an_error_of_the_block_is_not_lost_when_everything_around_is_cancelled(
    tmp_path: Path,
) -> None:
    async def node() -> None:
        async with trio.open_nursery() as nursery, serve_control(tmp_path, echo):
            nursery.cancel_scope.cancel()
            raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as caught:
        await node()
    assert caught.value.subgroup(ZeroDivisionError) is not None


# --- callers that misbehave -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"junk\n",
        b"\n",
        b"[]\n",
        b"3\n",
        b"{}\n",
        b'{"command": 3}\n',
        b'{"command": null}\n',
        b'{"command": "x"\n',
        b"\xff\xfe\n",
        b"[" * 60_000 + b"\n",
    ],
    ids=["word", "blank", "list", "number", "empty", "int", "null", "cut", "binary", "deep"],
)
async def test_what_is_no_command_is_said_so_and_the_node_goes_on(
    tmp_path: Path, line: bytes
) -> None:
    async with serve_control(tmp_path, echo):
        answer = json.loads(await say(tmp_path, line))
        assert answer == {"ok": False, "error": "not a command", "exit_code": 2}
        assert (await ask(tmp_path, "snapshot"))["command"] == "snapshot"


async def test_a_request_of_the_greatest_length_is_answered(tmp_path: Path) -> None:
    frame = len(json.dumps({"command": "x", "user": ""})) + 1
    async with serve_control(tmp_path, echo):
        answer = await ask(tmp_path, "x", user="u" * (MAX_REQUEST_BYTES - frame))
    assert len(answer["arguments"]["user"]) == MAX_REQUEST_BYTES - frame


async def test_a_command_that_is_one_byte_longer_is_refused_before_it_is_sent(
    tmp_path: Path,
) -> None:
    frame = len(json.dumps({"command": "x", "user": ""})) + 1
    async with serve_control(tmp_path, echo):
        with pytest.raises(UsageError, match="too long"):
            await ask(tmp_path, "x", user="u" * (MAX_REQUEST_BYTES - frame + 1))


async def test_a_caller_that_sends_without_end_is_cut_off_and_the_node_goes_on(
    tmp_path: Path,
) -> None:
    async with serve_control(tmp_path, echo):
        with pytest.raises(trio.BrokenResourceError):
            await say(tmp_path, b"x" * 10_000_000)
        assert await ask(tmp_path, "snapshot")


async def test_a_caller_that_hangs_up_before_or_after_asking_does_no_harm(
    tmp_path: Path,
) -> None:
    async with serve_control(tmp_path, echo):
        for line in (b"", b'{"command"', b'{"command": "x"}\n'):
            async with await trio.open_unix_socket(str(tmp_path / SOCKET_NAME)) as stream:
                if line:
                    await stream.send_all(line)
        assert await ask(tmp_path, "snapshot")


async def test_a_caller_that_says_nothing_holds_up_nobody(tmp_path: Path) -> None:
    async with serve_control(tmp_path, echo):
        silent = await trio.open_unix_socket(str(tmp_path / SOCKET_NAME))
        async with silent:
            assert await ask(tmp_path, "snapshot")


async def test_a_caller_that_says_nothing_is_hung_up_on_in_the_end(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.autojump_threshold = 0.1
    async with serve_control(tmp_path, echo):
        before = trio.current_time()
        assert await say(tmp_path, b'{"command"', 2 * IDLE_SECONDS) == b""
    assert IDLE_SECONDS <= trio.current_time() - before < IDLE_SECONDS + 1


# --- no node, or one that does not answer ---------------------------------------------------------


async def test_without_a_node_it_is_said_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match=f"openfl-node start --home {tmp_path}"):
        await ask(tmp_path, "snapshot")


async def test_a_socket_that_a_killed_node_left_behind_is_no_node(tmp_path: Path) -> None:
    leave_a_socket_behind(tmp_path)
    with pytest.raises(NotRunningError, match="no node is running"):
        await ask(tmp_path, "snapshot")


async def test_a_node_that_does_not_answer_in_time_is_said_so(tmp_path: Path) -> None:
    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        await trio.sleep_forever()

    async with serve_control(tmp_path, handler):
        with pytest.raises(NotRunningError, match=r"did not answer within 0\.2 s"):
            await ask(tmp_path, "snapshot", timeout_seconds=0.2)


async def test_a_node_that_stops_before_it_answers_is_said_so(tmp_path: Path) -> None:
    asked = trio.Event()

    async def handler(command: str, arguments: Mapping[str, Any]) -> Any:
        asked.set()
        await trio.sleep_forever()

    async def caller() -> None:
        with pytest.raises(NotRunningError, match="stopped before it answered"):
            await ask(tmp_path, "snapshot")

    async with trio.open_nursery() as nursery, serve_control(tmp_path, handler):
        nursery.start_soon(caller)
        await asked.wait()


# --- the socket file ------------------------------------------------------------------------------


def leave_a_socket_behind(home: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(home / SOCKET_NAME))


async def test_only_the_owner_may_use_the_socket(tmp_path: Path) -> None:
    generous = os.umask(0)
    try:
        async with serve_control(tmp_path, echo):
            mode = (tmp_path / SOCKET_NAME).lstat().st_mode
    finally:
        os.umask(generous)
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_the_socket_is_gone_when_the_node_is(tmp_path: Path) -> None:
    async with serve_control(tmp_path, echo):
        assert os.listdir(tmp_path) == [SOCKET_NAME]
    assert os.listdir(tmp_path) == []


async def test_a_socket_that_a_killed_node_left_behind_is_replaced(tmp_path: Path) -> None:
    leave_a_socket_behind(tmp_path)
    async with serve_control(tmp_path, echo):
        assert await ask(tmp_path, "snapshot")


@pytest.mark.parametrize("what", ["bind", "unlink"])
async def test_a_disk_that_is_full_or_read_only_is_a_line_for_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def refuse(*anything: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if what == "bind":
        monkeypatch.setattr(socket.socket, "bind", refuse)
    else:
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(tmp_path / SOCKET_NAME))
        monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StateError, match="No space left on device"):
        async with serve_control(tmp_path, nothing):
            raise AssertionError("it was served")


async def test_a_home_that_became_read_only_does_not_keep_a_node_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*anything: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async with serve_control(tmp_path, nothing):
        monkeypatch.setattr(Path, "unlink", refuse)


async def nothing(command: str, arguments: Mapping[str, Any]) -> None:
    return None


async def test_a_file_of_the_owner_in_its_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / SOCKET_NAME).write_text("precious")
    with pytest.raises(StateError, match="in the way"):
        async with serve_control(tmp_path, echo):
            pass
    assert (tmp_path / SOCKET_NAME).read_text() == "precious"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
async def test_a_home_whose_path_is_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    home = tmp_path / ("h" * 120) / ("o" * 120)
    home.mkdir(parents=True)
    assert len(os.fsencode(home / SOCKET_NAME)) > 200
    before = set(os.listdir("/proc/self/fd"))
    async with serve_control(home, echo):
        assert (await ask(home, "snapshot"))["command"] == "snapshot"
        assert stat.S_IMODE((home / SOCKET_NAME).lstat().st_mode) == 0o600
    assert not (home / SOCKET_NAME).exists()
    with pytest.raises(NotRunningError, match="no node is running"):
        await ask(home, "snapshot")
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # the listing's own
