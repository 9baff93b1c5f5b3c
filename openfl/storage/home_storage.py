"""`HomeStorage`: keeps a node's state in its home folder.

`state/node.state` names the one group the node is in (with its charter), how it stands there
(moves, rounds, pin, leaves it still owes), which group its owner asked for, and the port it listens
on; `state/<group id>.state` holds a membership; `state/last.state` the last picture of the node,
for `status` when it does not run. The name is written before an old membership is forgotten, so
that a crash at any moment leaves exactly one. Everything is written in worker threads.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio

from openfl.core.atomic_files import remove
from openfl.core.contribution import Charter, GroupId, ModelView
from openfl.core.errors import RemoteError
from openfl.core.telemetry import NodeSnapshot
from openfl.learning.workload import Workload
from openfl.network.base import PeerAddress
from openfl.storage.base import OwedLeave, Standing
from openfl.storage.home import Home
from openfl.storage.last_run import (
    NODE_KIND,
    NODE_VERSION,
    SNAPSHOT_KIND,
    SNAPSHOT_VERSION,
    is_wanted,
)
from openfl.storage.membership import STATE_KIND, STATE_VERSION, SavedMembership
from openfl.storage.remembered_peers import RememberedPeers
from openfl.storage.state_files import read_state, write_state
from openfl.wire import messages as wire

_Count = Annotated[int, msgspec.Meta(ge=0)]
_GROUP_STATE = re.compile(r"[0-9a-f]{32}\.state")


class _Standing(msgspec.Struct, forbid_unknown_fields=True):
    """What stands in the file of a `Standing`."""

    moves: _Count
    rounds: _Count
    rounds_here: _Count
    pinned: bool
    owed: tuple[tuple[str, bytes], ...]
    apart: bool = False


class HomeStorage:
    """A `NodeStorage`; see the module's text. `port`: the one listened on, 0 when unknown.
    `asked`: the group its owner names at this start, if any. `standing`: as loaded, then as kept.
    """

    def __init__(self, home: Home, model_file: Path, asked: str | None = None) -> None:
        self.port = 0
        self.standing = Standing()
        self._asked = asked
        self._home = home
        self._model_file = model_file
        self._workload: Workload | None = None
        self._snapshot: Callable[[], NodeSnapshot] | None = None
        self._charter: Charter | None = None
        self._data_files: dict[str, str] = {}
        self._peers = RememberedPeers()

    def attach(
        self,
        workload: Workload,
        snapshot: Callable[[], NodeSnapshot],
        data_files: dict[str, str],
    ) -> None:
        """From now on models are written by `workload`, and `snapshot` is saved along.
        `data_files`: where the data is, for commands that run when the node does not."""
        self._data_files = data_files
        self._workload = workload
        self._snapshot = snapshot

    # --- at start ---------------------------------------------------------------------------------

    def load(self, wanted: str | None) -> tuple[SavedMembership | None, list[str]]:
        """(the membership to resume, problems for the owner). `wanted`: resume only a group of
        this name, or the one that a node started with this very name has gone to since."""
        saved = read_state(self._node_file, NODE_KIND, NODE_VERSION, time.time())
        problems = [] if saved.problem is None else [saved.problem]
        content = saved.content if isinstance(saved.content, dict) else {}
        port = content.get("port")
        self.port = port if isinstance(port, int) and 0 < port < 65536 else 0
        try:
            self.standing = _standing_of(content.get("standing"))
        except ValueError as error:
            problems.append(f"{self._node_file}: {error}; moves are counted from 0")
        if content.get("charter") is None:
            return None, problems
        try:
            charter = wire.charter_from_plain(content["charter"])
        except RemoteError as error:
            return None, [*problems, f"{self._node_file}: the group's charter is damaged: {error}"]
        if not is_wanted(wanted, charter.name, content.get("asked")):
            return None, problems
        path = self._home.state_file(charter.group_id)
        state = read_state(path, STATE_KIND, STATE_VERSION, time.time())
        if state.problem is not None:
            problems.append(f"{state.problem}; catching up from the group")
        if state.content is not None:
            try:
                return SavedMembership.from_plain(state.content), problems
            except ValueError as error:
                problems.append(f"{path}: {error}; catching up from the group")
        return SavedMembership(charter, 0, 0, (), (), ()), problems

    # --- while running ----------------------------------------------------------------------------

    async def save(self, saved: SavedMembership, model: ModelView) -> None:
        """Keep a membership, the node's picture, and the model for other programs. StateError."""
        last = None if self._snapshot is None else self._snapshot().to_plain()
        await trio.to_thread.run_sync(self._save, saved, model, last)

    async def set_current(self, charter: Charter, standing: Standing | None = None) -> None:
        """Keep, in one write, that the node is in this group, and how it stands. StateError."""
        standing = standing if standing is not None else self.standing
        await trio.to_thread.run_sync(self._write_node, charter, standing)
        self._charter, self.standing = charter, standing

    async def forget(self, group_id: GroupId) -> None:
        """Remove the membership in this group; when it is the current one, the node is in none from
        then on. StateError."""
        if self._charter is not None and self._charter.group_id == group_id:
            self.standing = Standing()
            await trio.to_thread.run_sync(self._write_node, None, self.standing)
            self._charter = None
        path = self._home.state_file(group_id)
        await trio.to_thread.run_sync(remove, path)

    async def tidy(self) -> None:
        """Remove memberships of other groups than the current: a move that a crash cut short."""
        await trio.to_thread.run_sync(self._tidy)

    async def remember(self, peers: tuple[PeerAddress, ...]) -> None:
        """Keep peers, most recently seen first, beside those known before. StateError."""
        for peer in reversed(peers):
            self._peers = self._peers.with_seen(peer.peer_id, peer.multiaddrs, time.time())
        await trio.to_thread.run_sync(self._peers.save, self._home.peers_file)

    def remembered(self, peers: RememberedPeers) -> None:
        """What was known at the start."""
        self._peers = peers

    def _save(self, saved: SavedMembership, model: ModelView, last: dict[str, Any] | None) -> None:
        path = self._home.state_file(saved.charter.group_id)
        write_state(path, STATE_KIND, STATE_VERSION, saved.to_plain())
        if last is not None:
            write_state(self._last_file, SNAPSHOT_KIND, SNAPSHOT_VERSION, last)
        if self._workload is not None:
            self._workload.save_model(self._model_file, model, saved.charter)

    def _tidy(self) -> None:
        if self._charter is None:
            return
        current = self._home.state_file(self._charter.group_id)
        for file in current.parent.iterdir():
            if _GROUP_STATE.fullmatch(file.name) and file != current:
                remove(file)

    def _write_node(self, charter: Charter | None, standing: Standing) -> None:
        content: dict[str, Any] = {
            "charter": None if charter is None else charter.to_plain(),
            "asked": self._asked,
            "port": self.port,
            "data_files": self._data_files,
            "standing": {
                "moves": standing.moves,
                "rounds": standing.rounds,
                "rounds_here": standing.rounds_here,
                "pinned": standing.pinned,
                "owed": [[owed.group_id, owed.envelope] for owed in standing.owed],
            },
        }
        if standing.apart:
            # Else left out: versions that do not know the word read what they always did.
            content["standing"]["apart"] = True
        write_state(self._node_file, NODE_KIND, NODE_VERSION, content)

    @property
    def _node_file(self) -> Path:
        return self._home.state_file("node")

    @property
    def _last_file(self) -> Path:
        return self._home.state_file("last")


def _standing_of(plain: Any) -> Standing:
    """ValueError when it is not one; the default when it was saved before there were any."""
    if plain is None:
        return Standing()
    try:
        saved = msgspec.convert(plain, type=_Standing, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise ValueError(f"not a standing: {error}") from error
    owed = tuple(OwedLeave(GroupId(group_id), envelope) for group_id, envelope in saved.owed)
    return Standing(saved.moves, saved.rounds, saved.rounds_here, saved.pinned, owed, saved.apart)
