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
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import trio

from openfl.core.atomic_files import remove
from openfl.core.contribution import Charter, GroupId, ModelView
from openfl.core.errors import RemoteError, StateError
from openfl.core.names import normal
from openfl.core.telemetry import NodeSnapshot
from openfl.learning.workload import Workload
from openfl.network.base import PeerAddress
from openfl.storage.base import OwedLeave, Standing
from openfl.storage.home import Home
from openfl.storage.membership import STATE_KIND, STATE_VERSION, SavedMembership
from openfl.storage.remembered_peers import RememberedPeers
from openfl.storage.state_files import peek_state, read_state, write_state
from openfl.wire import messages as wire

NODE_KIND = "node"
NODE_VERSION = 1
LAST_KIND = "snapshot"
LAST_VERSION = 1


_Count = Annotated[int, msgspec.Meta(ge=0)]
_GROUP_STATE = re.compile(r"[0-9a-f]{32}\.state")


def current_charter(place: Home) -> Charter | None:
    """Of the group that the node of this home is in; None when it is in none."""
    content = peek_state(place.state_file("node"), NODE_KIND, NODE_VERSION)
    plain = content.get("charter") if isinstance(content, dict) else None
    try:
        return None if plain is None else wire.charter_from_plain(plain)
    except RemoteError:
        return None


def _is_one_of(wanted: str | None, *names: Any) -> bool:
    """Whether no group is wanted by name, or one of these; however their letters are composed."""
    return wanted is None or normal(wanted) in [normal(n) for n in names if isinstance(n, str)]


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

    def __init__(self, place: Home, model_file: Path, asked: str | None = None) -> None:
        self.port = 0
        self.standing = Standing()
        self._asked = asked
        self._place = place
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
        if not _is_one_of(wanted, charter.name, content.get("asked")):
            return None, problems
        path = self._place.state_file(charter.group_id)
        state = read_state(path, STATE_KIND, STATE_VERSION, time.time())
        if state.problem is not None:
            problems.append(f"{state.problem}; catching up from the group")
        if state.content is not None:
            try:
                return SavedMembership.from_plain(state.content), problems
            except ValueError as error:
                problems.append(f"{path}: {error}; catching up from the group")
        return SavedMembership(charter, 0, 0, (), (), ()), problems

    def load_task(self, wanted: str | None) -> str | None:
        """The task of the group that `load(wanted)` would resume; None when there is none."""
        content = peek_state(self._node_file, NODE_KIND, NODE_VERSION)
        charter = content.get("charter") if isinstance(content, dict) else None
        if not isinstance(charter, dict):
            return None
        if not _is_one_of(wanted, charter.get("name"), content.get("asked")):
            return None
        task = charter.get("task")
        return task if isinstance(task, str) else None

    def load_data_files(self) -> dict[str, str]:
        """What `attach` was given when the node last ran; empty when it never did."""
        content = peek_state(self._node_file, NODE_KIND, NODE_VERSION)
        files = content.get("data_files") if isinstance(content, dict) else None
        if not isinstance(files, dict):
            return {}
        return {str(key): str(path) for key, path in files.items()}

    def load_snapshot(self) -> NodeSnapshot | None:
        """The last saved picture of the node, its phase `stopped`; None when there is none."""
        state = read_state(self._last_file, LAST_KIND, LAST_VERSION, time.time())
        if state.content is None:
            return None
        try:
            last = NodeSnapshot.from_plain(state.content)
            return replace(last, phase="stopped", resources=None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"{self._last_file}: is of another version ({error})") from None

    # --- while running ----------------------------------------------------------------------------

    async def save(self, saved: SavedMembership, model: ModelView) -> None:
        """The membership, the model and the last snapshot, in a thread. StateError leaves each file
        as it was, or new and whole."""
        last = None if self._snapshot is None else self._snapshot().to_plain()
        await trio.to_thread.run_sync(self._save, saved, model, last)

    async def set_current(self, charter: Charter, standing: Standing | None = None) -> None:
        """Name the group that the node is in. standing: None keeps the present one. StateError."""
        standing = standing if standing is not None else self.standing
        await trio.to_thread.run_sync(self._write_node, charter, standing)
        self._charter, self.standing = charter, standing

    async def forget(self, group_id: GroupId) -> None:
        """Remove what is kept of a group. If the node was in it, it is in none then. StateError."""
        if self._charter is not None and self._charter.group_id == group_id:
            self.standing = Standing()
            await trio.to_thread.run_sync(self._write_node, None, self.standing)
            self._charter = None
        path = self._place.state_file(group_id)
        await trio.to_thread.run_sync(remove, path)

    async def tidy(self) -> None:
        """Remove memberships of other groups than the current: a move that a crash cut short."""
        await trio.to_thread.run_sync(self._tidy)

    async def remember(self, peers: tuple[PeerAddress, ...]) -> None:
        """Add peers to those to dial at the next start, the first as the one seen last.
        StateError."""
        for peer in reversed(peers):
            self._peers = self._peers.with_seen(peer.peer_id, peer.multiaddrs, time.time())
        await trio.to_thread.run_sync(self._peers.save, self._place.peers_file)

    def remembered(self, peers: RememberedPeers) -> None:
        """What was known at the start."""
        self._peers = peers

    def _save(self, saved: SavedMembership, model: ModelView, last: dict[str, Any] | None) -> None:
        path = self._place.state_file(saved.charter.group_id)
        write_state(path, STATE_KIND, STATE_VERSION, saved.to_plain())
        if last is not None:
            write_state(self._last_file, LAST_KIND, LAST_VERSION, last)
        if self._workload is not None:
            self._workload.save_model(self._model_file, model, saved.charter)

    def _tidy(self) -> None:
        if self._charter is None:
            return
        current = self._place.state_file(self._charter.group_id)
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
        return self._place.state_file("node")

    @property
    def _last_file(self) -> Path:
        return self._place.state_file("last")


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
