"""A group of real nodes in a breakable network, and how to tell that it is whole again.

*Back* means: every node has heard of every member since the fault ended, and has on its disk
everything that any of them had signed when it ended. *Lost* is whatever is not there at the end.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from openfl.app.control_socket import call
from openfl.core.errors import OpenFLError
from openfl.storage.home import Home
from openfl.storage.membership import STATE_KIND, STATE_VERSION, SavedMembership
from openfl.storage.state_files import peek_state
from tests.netns.fault_net import PORT, FaultNet, fault_net
from tests.patience import PATIENCE_SECONDS
from tests.process_rig import RunningNode, deal_homes
from tests.situation import situation

LISTEN = f"/ip4/0.0.0.0/tcp/{PORT}"
TORN = ("state-damaged", "state-refused", "data-changed", "equivocation")
POLL_SECONDS = 0.2
SEAMS = str(Path(__file__).with_name("with_seams.py"))

Version = tuple[int, int]


class FaultGroup:
    """`homes[n]` is where node n keeps its state; `seen[n]` is where that is for this process, when
    the node has a disk of its own."""

    def __init__(self, net: FaultNet, folder: Path, *options: str, **settings: str) -> None:
        self.net = net
        self.count = len(net.nodes)
        self.homes = deal_homes(folder, "abcdefghijklmnop"[: self.count])
        self.seen = dict(enumerate(self.homes))
        self.nodes: dict[int, RunningNode] = {}
        self.lives: list[RunningNode] = []
        self.ids: dict[int, str] = {}
        self.inside: dict[int, tuple[str, ...]] = {}
        """More before the command of a node, inside its namespace."""
        self.seams: dict[int, Path] = {}
        """Nodes whose clock and disk are interfered with."""
        self.trace = False
        """Whether to print how a recovery goes on."""
        self._options, self._settings = options, settings
        self._errors: IO[str] = (folder / "errors.log").open("a+", encoding="utf-8")
        self._errors_read = 0

    # --- life -------------------------------------------------------------------------------------

    def start(self, number: int, *options: str) -> RunningNode:
        """Node 0 is whom the others are told of at their first start."""
        if number and number not in self.ids:
            options += ("--bootstrap", f"/ip4/10.77.1.2/tcp/{PORT}/p2p/{self.ids[0]}")
        program = ("-m", "openfl_cli")
        if number in self.seams:
            program = (SEAMS, str(self.seams[number]))
        node = RunningNode(
            self.homes[number],
            *self._options,
            *options,
            interval="1",
            listen=LISTEN,
            inside=(*self.net.inside(number), *self.inside.get(number, ())),
            program=program,
            errors=self._errors,
            settings={"OPENBLAS_NUM_THREADS": "1", **self._settings},
        )
        self.nodes[number] = node
        self.lives.append(node)
        if not number:
            self._learn_id(number)
        return node

    def _learn_id(self, number: int) -> None:
        listening = self.nodes[number].wait_for("listening", PATIENCE_SECONDS)
        self.ids[number] = str(listening["data"]["peer_id"])

    def start_all(self) -> None:
        """Return once everybody has rows of everybody."""
        for number in range(self.count):
            self.start(number)
        for number in range(self.count):
            self._learn_id(number)
        self.wait(self.all_taught, PATIENCE_SECONDS, "the group's beginning")

    def kill(self, number: int) -> None:
        node = self.nodes.pop(number)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()

    def stop(self, number: int, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code after SIGTERM."""
        node = self.nodes.pop(number)
        node.process.send_signal(signal.SIGTERM)
        return int(node.process.wait(timeout=seconds))

    def end(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._errors.close)
            for node in self.lives:
                stack.callback(node.end)

    # --- what is known of it ----------------------------------------------------------------------

    def snapshot(self, number: int) -> Mapping[str, Any] | None:
        """None while it does not answer."""
        try:
            answer: Mapping[str, Any] = call(self.seen[number], "snapshot", timeout_seconds=5.0)
        except (OpenFLError, OSError):
            return None
        return answer

    def members(self, number: int) -> dict[str, Mapping[str, Any]]:
        state = self.snapshot(number)
        return {} if state is None else {m["peer_id"]: m for m in state["members"]}

    def all_taught(self) -> bool:
        everybody = [self.ids[number] for number in self.nodes]
        for number in self.nodes:
            members = self.members(number)
            if not all(peer in members and members[peer]["rows"] for peer in everybody):
                return False
        return True

    def saved(self, number: int) -> SavedMembership | None:
        """What is on its disk of its membership; None when there is nothing."""
        home = Home(self.seen[number])
        for file in home.state_folder.glob("????????????????????????????????.state"):
            content = peek_state(file, STATE_KIND, STATE_VERSION)
            return None if content is None else SavedMembership.from_plain(content)
        return None

    def versions(self, number: int) -> dict[str, Version]:
        """What is on its disk: member -> (epoch, number of its latest delta)."""
        saved = self.saved(number)
        complete = () if saved is None else saved.complete
        return {author: (epoch, upto) for author, epoch, _, upto, _ in complete}

    def newest(self) -> dict[str, Version]:
        """Of each member the latest that anybody has on disk."""
        newest: dict[str, Version] = {}
        for number in range(self.count):
            for author, version in self.versions(number).items():
                newest[author] = max(version, newest.get(author, (0, 0)))
        return newest

    # --- recovery ---------------------------------------------------------------------------------

    def seconds_to_be_back(self, since: float, patience: float = PATIENCE_SECONDS) -> float:
        """From `since` (monotonic) on. `TimeoutError` says who is missing what."""
        goal = self.newest()
        progress: list[int] = []

        def missing() -> list[str]:
            found = self._unheard(since) + self._behind(goal)
            if self.trace and progress[-1:] != [len(found)]:
                progress.append(len(found))
                told = f"{len(found)} things missing: {'; '.join(found[:3])}"
                print(f"    {time.monotonic() - since:.1f} s: {told}", flush=True)
                for number in self.nodes:
                    state = self.snapshot(number) or {}
                    shown = [state.get(name) for name in ("phase", "round", "faults")]
                    print(f"      node {number}: {shown}, {len(state.get('peers', ()))} peers")
            return found

        self.wait(lambda: not missing(), patience, "everybody's return", missing)
        return time.monotonic() - since

    def _unheard(self, since: float) -> list[str]:
        problems = []
        for number in self.nodes:
            passed = time.monotonic() - since
            members = self.members(number)
            for other in self.nodes:
                member = members.get(self.ids[other])
                if member is None or member["age_seconds"] > passed:
                    problems.append(f"node {number} has not heard of node {other}")
        return problems

    def _behind(self, goal: Mapping[str, Version]) -> list[str]:
        return [text for number in self.nodes for text in self._behind_of(number, goal)]

    def _behind_of(self, number: int, goal: Mapping[str, Version]) -> list[str]:
        have = self.versions(number)
        return [
            f"node {number} has {have.get(author)} of {author[-6:]}, not {version}"
            for author, version in goal.items()
            if have.get(author, (0, 0)) < version
        ]

    def losses(self, patience: float = PATIENCE_SECONDS) -> list[str]:
        """What was lost, after all rounds are done; empty when nothing was."""
        self.wait(self._all_done, patience, "the last round")
        try:
            self.wait(lambda: len(self._contents()) == 1, patience, "equal replicas")
        except TimeoutError as error:
            return [str(error)]
        # At its end a node saves all that it knows; before, only what changes its model.
        codes = {number: self.stop(number) for number in list(self.nodes)}
        found = [f"node {number} ended with {code}" for number, code in codes.items() if code]
        goal = self.newest()
        for number in codes:
            found += self._behind_of(number, goal)
        for node in self.lives:
            for event in list(node.events):
                if event["event"] in TORN:
                    found.append(f"{event['event']}: {event['message']}")
            heard = node.find("listening")
            if heard and heard[0]["data"]["peer_id"] not in self.ids.values():
                found.append(f"a new identity: {heard[0]['data']['peer_id']}")
        return found + [f"on stderr: {line}" for line in self.take_errors()]

    def take_errors(self) -> list[str]:
        """What the nodes wrote on stderr since the last call."""
        self._errors.seek(self._errors_read)
        lines = [line.rstrip() for line in self._errors]
        self._errors_read = self._errors.tell()
        return lines

    def _all_done(self) -> bool:
        """And on disk: what a node tells may be ahead of that, and `_contents` looks at disks."""
        for number in self.nodes:
            told, saved = self.snapshot(number), self.saved(number)
            if told is None or told["phase"] != "done":
                return False
            if saved is None or saved.round < told["round"]:
                return False
        return True

    def _contents(self) -> set[frozenset[bytes]]:
        """The signed envelopes on each disk: these are the replica."""
        found = set()
        for number in self.nodes:
            saved = self.saved(number)
            items = () if saved is None else saved.items
            found.add(frozenset(envelope for _, envelope, _ in items))
        return found

    def wait(
        self,
        condition: Callable[[], bool],
        seconds: float,
        what: str,
        why: Callable[[], Sequence[str]] = lambda: (),
    ) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                told = f"{'; '.join(why())}\n{situation()}"
                raise TimeoutError(f"{what} took more than {seconds:g} s; {told}")
            time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def fault_group(count: int, folder: Path, *options: str, **settings: str) -> Iterator[FaultGroup]:
    """So many nodes, not started; whatever happens, none outlives the block."""
    with fault_net(count) as net:
        group = FaultGroup(net, folder, *options, **settings)
        try:
            yield group
        finally:
            group.end()
