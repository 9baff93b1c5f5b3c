"""Real nodes on real libp2p in one process: restarts, the control socket, faults of disk and port.

All on 127.0.0.1 with free ports. What needs separate processes has its own tests.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from openfl.aggregation.replica import Replica
from openfl.app.control_socket import call
from openfl.app.offline import offline_snapshot
from openfl.app.open_node import open_node
from openfl.config import Config, load_config
from openfl.core.errors import (
    GroupError,
    LearningError,
    NetworkError,
    NotRunningError,
    UsageError,
    UserError,
)
from openfl.core.telemetry import NodeEvent
from openfl.group.delta_receiver import DeltaReceiver
from openfl.learning.model_file import load_model
from openfl.learning.rating.charter import ITEMS
from openfl.node import Node
from openfl_cli.demo.deal import deal
from openfl_cli.sample import sample_folder
from tests.patience import PATIENCE_SECONDS
from tests.situation import until_seen as until
from tests.situation import within

PARTS = 12


@pytest.fixture(autouse=True)
def no_deadline_for_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node closes within five seconds, whatever is left to do then (`FINISH_SECONDS` and
    `CLOSE_SECONDS` see to it). Here it is to end by itself, and a slow machine is to save all."""
    monkeypatch.setattr("openfl.app.running_node.FINISH_SECONDS", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr("openfl.network.libp2p.network.CLOSE_SECONDS", 10 * PATIENCE_SECONDS)


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    """Homes, each with its own part of the sample ratings."""
    folders = [tmp_path / f"home-{n}" for n in range(PARTS)]
    for folder in folders:
        folder.mkdir()
    deal(sample_folder(), folders, seed=5)
    return folders


@dataclass
class Live:
    """A node that runs. `closed_in`: seconds it took to close."""

    home: Path
    config: Config
    events: list[NodeEvent] = field(default_factory=list)
    closed_in: float = 0.0
    node: Node = field(init=False)

    @property
    def address(self) -> str:
        return self.node.network.multiaddrs[0]

    @property
    def replica(self) -> Replica:
        return self.node._current_group.current.session.replica

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def told(self, kind: str) -> list[NodeEvent]:
        return [event for event in self.events if event.kind == kind]

    def members(self) -> int:
        return len(self.node.snapshot().members)

    @property
    def round(self) -> int:
        return self.node.snapshot().round


def configured(home: Path, bootstrap: Sequence[str] = (), **settings: Any) -> Config:
    return load_config(
        None,
        {},
        {
            "network.host": "127.0.0.1",
            "network.bootstrap": tuple(bootstrap),
            "data.ratings_file": str(home / "ratings.csv"),
            "training.interval_seconds": 0.3,
            "training.alone_rounds": 0,
            "switching.auto": False,
            "gossip.heartbeat_seconds": 0.5,
            **{name.replace("__", "."): value for name, value in settings.items()},
        },
    )


@asynccontextmanager
async def running(
    home: Path, bootstrap: Sequence[str] = (), **settings: Any
) -> AsyncIterator[Live]:
    """A node that has joined its group."""
    live = Live(home, configured(home, bootstrap, **settings))
    opened = open_node(live.config, home, live.events.append)
    async with timed_close(opened, live) as live.node:
        await until(lambda: live.node.snapshot().phase not in ("starting", "joining"))
        yield live


@asynccontextmanager
async def timed_close(opened: AbstractAsyncContextManager[Node], live: Live) -> AsyncIterator[Node]:
    end = 0.0
    async with opened as node:
        try:
            yield node
        finally:
            end = trio.current_time()
    live.closed_in = trio.current_time() - end


async def ask(home: Path, command: str, **arguments: Any) -> Any:
    """A command from another thread, as from another process."""
    return await trio.to_thread.run_sync(
        partial(call, home, command, PATIENCE_SECONDS, **arguments)
    )


# --- restarts -------------------------------------------------------------------------------------


async def test_a_restart_keeps_identity_port_round_and_model(homes: list[Path]) -> None:
    async with running(homes[0], training__rounds=3) as first:
        await first.node.wait_done()
        before, digest = first.node.snapshot(), first.replica.digest()
    assert first.closed_in < PATIENCE_SECONDS
    async with running(homes[0], training__auto_start=False) as again:
        after = again.node.snapshot()
        assert (after.peer_id, after.multiaddrs) == (before.peer_id, before.multiaddrs)
        assert (after.group_id, after.round) == (before.group_id, 3)
        assert after.history[: len(before.history)] == before.history
        assert again.replica.digest() == digest
        assert "resumed" in again.kinds()
        assert "state-refused" not in again.kinds()
        view = again.replica.view()
        saved = load_model(homes[0] / "model.safetensors")
        keys = view.keys(ITEMS)
        assert np.array_equal(saved.rows(ITEMS, keys), view.rows(ITEMS, keys))


async def test_another_home_is_another_peer_on_another_port(homes: list[Path]) -> None:
    async with running(homes[0]) as first, running(homes[1]) as second:
        assert first.node.network.peer_id != second.node.network.peer_id
        assert first.address != second.address


async def test_a_stopped_node_can_still_be_asked_how_it_was(homes: list[Path]) -> None:
    async with running(homes[0], training__rounds=2) as node:
        await node.node.wait_done()
    last = offline_snapshot(homes[0])
    assert last is not None
    assert (last.phase, last.round) == ("stopped", 2)


async def test_remembered_peers_make_a_restart_work_when_the_bootstrap_node_is_gone(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openfl.node.peers.REMEMBER_SECONDS", 0.5)
    async with running(homes[1]) as second:
        async with running(homes[0]) as first:
            gone = first.address
            async with running(homes[2], [gone], training__rounds=2) as third:
                # Connected through the first, whom alone the two know.
                await second.node.network.connect(_peer_of(gone))
                await until(lambda: third.members() == 3 and second.members() == 3)
                await until(lambda: second.node.network.peer_id in _connected(third))
        async with running(homes[2], [gone]) as again:
            assert "unreachable" in again.kinds()
            await until(lambda: second.node.network.peer_id in _connected(again))
            await until(lambda: again.replica.digest() == second.replica.digest())
            assert again.node.network.peer_id == third.node.network.peer_id


async def test_bootstrap_nodes_that_do_not_answer_in_the_time_given_end_it_and_are_named(
    homes: list[Path],
) -> None:
    nobody = "12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
    address = f"/ip4/127.0.0.1/tcp/{unused_port()}"
    # A name that cannot be resolved is somebody's absence, too.
    unknown = "/dns4/nobody.invalid/tcp/4001"
    other = "12D3KooWLJtG8fd2hkQzTn96MrLvThmnNQjTUFZwGEsLRz5EmSzc"
    bootstrap = [f"{address}/p2p/{nobody}", f"{unknown}/p2p/{other}"]
    config = configured(homes[0], bootstrap, network__bootstrap_timeout_seconds=3.0)
    with pytest.raises(NetworkError) as caught:
        await run_until_it_fails(config, homes[0])
    for part in (nobody, address, "connection refused", unknown, "within 3 s"):
        assert part in str(caught.value)
    assert not (homes[0] / "control.sock").exists()
    # What was learned alone is kept, and the next start still waits for them.
    async with running(homes[0], bootstrap) as again:
        assert "resumed" in again.kinds()
        (notice,) = again.node.snapshot().notices
        assert notice.text.startswith("waiting for 2 bootstrap addresses: ")
        assert "connection refused" in notice.text


async def test_a_malformed_bootstrap_address_is_an_error_before_anything_starts(
    homes: list[Path],
) -> None:
    with pytest.raises(UserError, match="/ip4/127"):
        await run_until_it_fails(configured(homes[0], ["/ip4/127.0.0.1"]), homes[0])


# --- control --------------------------------------------------------------------------------------


async def test_commands_over_the_socket_answer_what_the_node_would(homes: list[Path]) -> None:
    async with running(homes[0], training__rounds=2) as node:
        await node.node.wait_done()
        snapshot = await ask(homes[0], "snapshot")
        assert (snapshot["peer_id"], snapshot["round"]) == (node.node.network.peer_id, 2)
        (group,) = await ask(homes[0], "groups")
        assert (group["name"], group["members"], group["mine"]) == ("music", 1, True)
        user = (homes[0] / "ratings.csv").read_text().splitlines()[1].split(",")[0]
        answer = await ask(homes[0], "recommend", user=user, top=3)
        assert answer == json.loads(json.dumps(node.node.recommend(user, 3).to_plain()))
        assert len(answer["items"]) == 3


@pytest.mark.parametrize(
    ("command", "arguments", "kind"),
    [
        ("switch", {"group": "nowhere"}, GroupError),
        ("recommend", {"user": "1", "top": 0}, UsageError),
        ("recommend", {"user": "1", "top": "many"}, UsageError),
        ("dance", {}, UsageError),
    ],
)
async def test_a_command_that_fails_says_why_and_the_node_goes_on(
    homes: list[Path], command: str, arguments: dict[str, Any], kind: type[UserError]
) -> None:
    async with running(homes[0]) as node:
        with pytest.raises(kind):
            await ask(homes[0], command, **arguments)
        done = node.round
        await until(lambda: node.round > done)


async def test_stop_ends_the_wait_and_the_socket_is_gone_afterwards(homes: list[Path]) -> None:
    async with running(homes[0]) as node:
        assert await ask(homes[0], "stop") is None
        with within():
            await node.node.wait_done()
    with pytest.raises(NotRunningError):
        await ask(homes[0], "snapshot")


async def test_a_second_node_in_the_same_home_is_refused(homes: list[Path]) -> None:
    async with running(homes[0]) as node:
        with pytest.raises(UserError, match=r"another node.* is running"):
            await run_until_it_fails(configured(homes[0]), homes[0])
        assert (await ask(homes[0], "snapshot"))["peer_id"] == node.node.network.peer_id


# --- the group ------------------------------------------------------------------------------------


async def test_large_deltas_are_announced_and_pulled(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[int] = []
    original = DeltaReceiver.announce

    def spy(self: DeltaReceiver, message: Any, *rest: Any) -> Any:
        announced.append(message.size)
        return original(self, message, *rest)

    monkeypatch.setattr(DeltaReceiver, "announce", spy)
    few = {"gossip__inline_limit_bytes": 1024, "training__rounds": 6}
    async with running(homes[0], **few) as first, running(homes[1], [first.address], **few) as two:
        await until(lambda: first.members() == two.members() == 2)
        await first.node.wait_done()
        await two.node.wait_done()
        await until(lambda: first.replica.digest() == two.replica.digest())
        assert first.replica.member_count == 2
        assert len(announced) >= 6
        assert min(announced) > 1024
        assert first.node.snapshot().faults == two.node.snapshot().faults == {}


async def test_small_deltas_are_not_announced(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[Any] = []
    monkeypatch.setattr(DeltaReceiver, "announce", lambda self, *message: announced.append(message))
    few = {"training__rounds": 3}
    async with running(homes[0], **few) as first, running(homes[1], [first.address], **few) as two:
        await first.node.wait_done()
        await two.node.wait_done()
        await until(lambda: first.replica.digest() == two.replica.digest())
    assert announced == []


async def test_a_leaver_is_forgotten_by_the_others_and_closes_by_itself(homes: list[Path]) -> None:
    async with running(homes[0]) as first:
        async with running(homes[1], [first.address]) as second:
            leaver = second.node.network.peer_id
            await until(lambda: first.replica.member_count == 2)
            await ask(homes[1], "stop", leave=True)
            await second.node.wait_done()
        assert second.closed_in < PATIENCE_SECONDS
        await until(lambda: leaver not in first.replica.version_vector())
        assert "member-left" in first.kinds()
        async with running(homes[1], training__auto_start=False) as again:
            assert "resumed" not in again.kinds()
            assert set(again.replica.version_vector()) == {first.node.network.peer_id}


async def test_a_node_closes_by_itself_while_it_learns_with_others(homes: list[Path]) -> None:
    async with running(homes[0]) as first:
        async with running(homes[1], [first.address]) as second:
            await until(lambda: first.members() == second.members() == 2 and second.round > 1)
        assert second.closed_in < PATIENCE_SECONDS
        assert second.node.network.peer_id in first.replica.version_vector()
    assert first.closed_in < PATIENCE_SECONDS


# --- ports ----------------------------------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def taken_port() -> Any:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_a_port_in_use_is_an_error_that_names_it(homes: list[Path], taken_port: int) -> None:
    with pytest.raises(NetworkError, match=str(taken_port)):
        await run_until_it_fails(configured(homes[0], network__port=taken_port), homes[0])


async def test_a_kept_port_that_is_in_use_is_replaced_and_said(
    homes: list[Path],
) -> None:
    async with running(homes[0]) as first:
        port = int(first.address.split("/")[4])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        async with running(homes[0]) as again:
            (said,) = again.told("port-changed")
            assert str(port) in said.message
            assert f"/tcp/{port}/" not in again.address


# --- disk -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damaged", ["membership", "node", "peers"])
async def test_a_damaged_file_is_moved_aside_and_said_and_the_node_starts(
    homes: list[Path], damaged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes[0]
    async with running(home, training__rounds=2) as first:
        await first.node.wait_done()
        before = first.node.snapshot()
    path = {
        "membership": home / "state" / f"{before.group_id}.state",
        "node": home / "state" / "node.state",
        "peers": home / "peers.json",
    }[damaged]
    path.write_bytes(b"\0" * 500)
    async with running(home) as again:
        (said,) = again.told("state-damaged")
        assert str(path) in said.message
        assert path.name + ".corrupt-" in said.message
        after = again.node.snapshot()
        assert (after.peer_id, after.group_id) == (before.peer_id, before.group_id)
        await until(lambda: again.round > 0)
    assert any(".corrupt-" in name for name in os.listdir(path.parent))


async def test_undamaged_files_are_not_said_to_be(homes: list[Path]) -> None:
    async with running(homes[0], training__rounds=2) as first:
        await first.node.wait_done()
    async with running(homes[0]) as again:
        assert again.told("state-damaged") == []


async def test_a_full_disk_is_said_once_and_the_node_goes_on_and_saves_again_later(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openfl.node.peers.REMEMBER_SECONDS", 0.2)
    monkeypatch.setattr("openfl.node.membership.SAVE_PAUSE_SECONDS", 0.2)
    full = False
    write = os.write

    def limited(handle: int, data: Any) -> int:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", limited)
    async with (
        running(homes[0]) as first,
        running(homes[1], [first.address]) as second,
    ):
        await until(lambda: first.members() == second.members() == 2 and second.round > 1)
        full = True
        at = second.round
        await until(lambda: second.round > at + 4)
        (said,) = second.told("not-saved")
        assert [notice.kind for notice in second.node.snapshot().notices] == ["not-saved"]
        assert said.level == "error"
        assert "disk is full" in said.message
        assert offline_snapshot(homes[1]).round <= at + 1  # type: ignore[union-attr]
        full = False
        await until(lambda: bool(second.told("saved-again")))
        at = second.round
        await until(lambda: offline_snapshot(homes[1]).round > at)  # type: ignore[union-attr]
        assert len(second.told("not-saved")) == 1


async def test_a_disk_that_is_full_at_the_end_does_not_keep_the_node_from_closing(
    homes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(homes[0]) as node:
        await until(lambda: node.round > 1)
        monkeypatch.setattr(os, "write", full)
    assert node.told("not-saved")
    assert node.closed_in < PATIENCE_SECONDS


# --- errors of whoever opened the node ------------------------------------------------------------


async def test_a_bug_in_the_block_comes_out_and_the_node_is_saved(homes: list[Path]) -> None:
    async def use() -> None:
        async with running(homes[0]) as node:
            await until(lambda: node.round > 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()
    assert offline_snapshot(homes[0]) is not None


async def test_a_user_error_in_the_block_comes_out_alone(homes: list[Path]) -> None:
    async def use() -> None:
        async with running(homes[0]):
            raise LearningError("it is not better together")

    with pytest.raises(LearningError, match="not better"):
        await use()


# --- small things ---------------------------------------------------------------------------------


async def run_until_it_fails(config: Config, home: Path) -> None:
    with within():
        async with open_node(config, home, lambda event: None):
            await trio.sleep_forever()


def _peer_of(address: str) -> Any:
    from openfl.network.libp2p.network import parse_peer_multiaddr

    return parse_peer_multiaddr(address)


def _connected(live: Live) -> set[str]:
    return {peer.peer_id for peer in live.node.network.peers()}
