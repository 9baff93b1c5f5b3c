"""A node that does not exist: snapshots, and stand-ins for the runtime and the control socket."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from openfl.core.errors import NotRunningError
from openfl.core.telemetry import (
    GroupView,
    MemberView,
    NodeEvent,
    NodeSnapshot,
    PeerView,
    ResourcesView,
)

PEER_IDS = tuple(f"12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QR{n:03d}" for n in range(40))
T0 = 1_700_000_000.0


def make_event(number: int, level: Any = "info", message: str = "") -> NodeEvent:
    text = message or f"round {number}: RMSE 0.8{number:03d}"
    return NodeEvent(T0 + number, level, "round", text, {"round": number})


def make_snapshot(members: int = 4, events: int = 5, **changes: Any) -> NodeSnapshot:
    """A node in the middle of its life, with `members` members of which all others are peers."""
    shot = NodeSnapshot(
        time=T0 + 100,
        started_at=T0,
        phase="learning",
        peer_id=PEER_IDS[0],
        multiaddrs=(f"/ip4/192.0.2.7/tcp/41001/p2p/{PEER_IDS[0]}",),
        home="/home/ann/.local/share/openfl-node",
        group_id="0123456789abcdef0123456789abcdef",
        group_name="music",
        task="rating",
        metric="rmse",
        peers=tuple(
            PeerView(p, (f"/ip4/192.0.2.{n}/tcp/4001/p2p/{p}",), ("music",), n % 2 == 0)
            for n, p in enumerate(PEER_IDS[1:members], start=1)
        ),
        members=tuple(
            MemberView(p, 7 - n % 2, 0.81 + n / 100, 300 + n, n * 3.0, me=n == 0)
            for n, p in enumerate(PEER_IDS[:members])
        ),
        round=7,
        rounds=12,
        train_examples=1203,
        model_rows=301,
        validation=0.8123,
        alone=0.9011,
        test=0.8200,
        alone_test=0.9100,
        history=(1.1, 1.0, 0.95, 0.9, 0.87, 0.85, 0.83, 0.8123),
        bytes_sent=1_234_567,
        bytes_received=3_456_789,
        published_bytes=12_345,
        deltas_merged=34,
        faults={},
        events=tuple(make_event(n) for n in range(events)),
        resources=ResourcesView(121_000_000, 20, 3, 61, 3, 12),
    )
    return dataclasses.replace(shot, **changes)


GROUP = GroupView(
    id="0123456789abcdef0123456789abcdef",
    name="music",
    task="rating",
    members=4,
    fit_metric="rmse",
    fit_best=0.80,
    fit_median=0.82,
    age_seconds=2.0,
    mine=True,
    compatible=True,
)

OTHER_GROUP = dataclasses.replace(
    GROUP, id="ab" * 16, name="jazz", members=9, fit_median=0.9, fit_best=0.85, mine=False
)


class FakeRecommendations:
    def __init__(self, user: str, top: int, kind: str = "known", notes: tuple[str, ...] = ()):
        self._plain = {
            "user": user,
            "kind": kind,
            "head": "rating",
            "items": [
                {
                    "song_id": f"s{rank}",
                    "title": f"Song {rank}",
                    "artist": "Ann Artist",
                    "score": 5.0 - rank / 10,
                }
                for rank in range(1, top + 1)
            ],
            "notes": list(notes),
        }

    def to_plain(self) -> dict[str, Any]:
        return self._plain


class FakeNode:
    """Does `rounds` rounds at once; then it is done, unless it was stopped."""

    def __init__(self, config: Any, on_event: Callable[[NodeEvent], None]) -> None:
        self.config = config
        self.on_event = on_event
        self.stop_asked = trio.Event()
        self.leave = False
        self.on_wait: Callable[[FakeNode], None] = lambda node: None
        self.phase = "learning"

    def snapshot(self) -> NodeSnapshot:
        return make_snapshot(phase=self.phase, events=50)

    def known_groups(self) -> tuple[GroupView, ...]:
        return (GROUP, OTHER_GROUP)

    async def groups(self) -> tuple[GroupView, ...]:
        return self.known_groups()

    async def try_group(self, reference: str) -> GroupView:
        assert reference == OTHER_GROUP.id
        return dataclasses.replace(OTHER_GROUP, gain=0.042, gain_error=0.01, tried_rounds_ago=0)

    async def switch(self, reference: str, pin: bool = False) -> GroupView:
        assert reference == OTHER_GROUP.id
        return OTHER_GROUP

    async def wait_done(self) -> None:
        self.on_wait(self)
        if self.config.training.rounds:
            for number in range(1, self.config.training.rounds + 1):
                self.on_event(make_event(number))
                await trio.lowlevel.checkpoint()
            self.phase = "done"
        else:
            await self.stop_asked.wait()

    def recommend(self, user: str, top: int) -> FakeRecommendations:
        return FakeRecommendations(user or "first", top)

    def request_stop(self, leave: bool = False) -> None:
        self.leave = leave
        self.stop_asked.set()


class FakeRuntime(types.ModuleType):
    """Stands in for openfl.app.runtime. `nodes` holds every node that was opened."""

    def __init__(self) -> None:
        super().__init__("openfl.app.runtime")
        self.nodes: list[FakeNode] = []
        self.homes: list[Path] = []
        self.pins: list[bool | None] = []
        self.on_wait: Callable[[FakeNode], None] = lambda node: None
        self.on_open: Callable[[], None] = lambda: None
        self.open_blocks = False
        self.closed = 0
        self.saved: NodeSnapshot | None = None
        self.found_groups: tuple[GroupView, ...] = ()
        self.asked: list[Any] = []

    @asynccontextmanager
    async def open_node(
        self, config: Any, home: Path, on_event: Any, *, pin: bool | None = None
    ) -> AsyncIterator[FakeNode]:
        self.homes.append(home)
        self.pins.append(pin)
        self.on_open()
        if self.open_blocks:
            await trio.sleep_forever()
        node = FakeNode(config, on_event)
        node.on_wait = self.on_wait
        self.nodes.append(node)
        addresses = list(node.snapshot().multiaddrs)
        on_event(NodeEvent(T0, "info", "listening", "listening", {"multiaddrs": addresses}))
        try:
            yield node
        finally:
            self.closed += 1

    def offline_snapshot(self, home: Path) -> NodeSnapshot | None:
        return self.saved

    def offline_recommend(self, config: Any, home: Path, user: str, top: int) -> Any:
        return FakeRecommendations(user, top, kind="popular", notes=("nobody knows them",))

    def load_key_of(self, config: Any) -> None:
        return None

    async def discover_groups(
        self, bootstrap: Any, seconds: float, network_key: bytes | None = None
    ) -> tuple[GroupView, ...]:
        self.asked.append((tuple(bootstrap), seconds))
        return self.found_groups


class FakeControl:
    """Stands in for app.control_socket.call. `answers`: command -> a value, or an exception."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[Path, str, dict[str, Any]]] = []

    def call(self, home: Path, command: str, timeout_seconds: float = 10, **kw: Any) -> Any:
        self.calls.append((home, command, kw))
        answer = self.answers.get(command, NotRunningError(f"no node is running in {home}"))
        if callable(answer):
            answer = answer(**kw)
        if isinstance(answer, Exception):
            raise answer
        return answer
