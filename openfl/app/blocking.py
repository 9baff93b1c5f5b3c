"""`run`: a node for programs that wait: scripts, notebooks, asyncio.

The node runs in a thread of its own, on an event loop of its own. What is asked of it from another
thread waits there for the answer; whatever loop that thread runs does not matter.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import trio

from openfl.app.blocking_events import EventIterator
from openfl.app.configuration import load_config
from openfl.app.event_logging import log_event
from openfl.app.lazy_imports import set_up
from openfl.app.program_end import close_at_end
from openfl.config.sections import Config
from openfl.core.errors import NotRunningError, UsageError
from openfl.core.event_backlog import KEPT_EVENTS
from openfl.core.files import expanded
from openfl.core.telemetry import GroupView, NodeEvent, NodeSnapshot

if TYPE_CHECKING:
    from openfl.learning.factorization.recommend import Recommendations
    from openfl.learning.factorization.similar import SimilarSongs
    from openfl.learning.factorization.wishes import Wishes
    from openfl.learning.workload import Workload
    from openfl.node import Node

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often `RunningNode.wait` looks when no event says that something has changed."""

T = TypeVar("T")
_importing = threading.Lock()


def run(
    config: Config | Mapping[str, Any],
    home: str | os.PathLike[str] | None = None,
    *,
    on_event: Callable[[NodeEvent], None] | None = None,
    workload: Workload | None = None,
    pin: bool | None = None,
) -> RunningNode:
    """Start a node in a thread of its own; return once it listens. Joining goes on meanwhile.

        with openfl.run({"data.ratings_file": "ratings.csv"}, home="my-node") as node:
            node.wait_done(timeout=60)
            print(node.recommend("ann").items)

    config: from `load_config`, or settings as `load_config` takes them. home: the node's folder,
    made when it is not there; without one it is a temporary folder that is removed when the node is
    closed, so that each run is a new peer (event `temporary-home`). on_event: called with every
    event in the node's thread, so it must neither block nor ask the node; without it events go to
    Python's logging (`openfl.events`), which shows warnings. workload and pin: as for `open_node`.

    What keeps the node from starting is raised here, as it is by `open_node`: ConfigError,
    DataError, NetworkError, StateError, GroupError. UsageError: called on a trio event loop, which
    it would hold up; use `open_node` there.
    """
    in_trio: bool = trio.lowlevel.in_trio_run()  # type: ignore[attr-defined]  # the stubs are older
    if in_trio:
        raise UsageError("openfl.run would hold up this trio program: use openfl.open_node in it")
    if not isinstance(config, Config):
        config = load_config(config)
    node = RunningNode(config, home, on_event, workload, pin)
    node._start()
    return node


class RunningNode:
    """A node that runs in a thread of its own: what `openfl.run` returns.

    Its methods may be called from any thread, also at once, but not from `on_event`. At the end of
    a `with` block the node is saved and closed, whatever ended the block; `stop` does the same.

    When the node has failed, every call raises what it failed with, and so does the end of the
    block if no call has; when the block fails too, an ExceptionGroup of both comes out. When it is
    closed, calls raise NotRunningError; only `snapshot` goes on answering, with the last one.
    """

    def __init__(
        self,
        config: Config,
        home: str | os.PathLike[str] | None,
        on_event: Callable[[NodeEvent], None] | None,
        workload: Workload | None,
        pin: bool | None,
    ) -> None:
        """Made by `openfl.run`."""
        self.temporary_home = home is None
        """Whether the home folder is removed when the node is closed."""
        made = tempfile.mkdtemp(prefix="openfl-") if home is None else home
        self.home = expanded(made).absolute()
        """The node's home folder."""
        self._config = config
        self._on_event = log_event if on_event is None else on_event
        self._workload = workload
        self._pin = pin
        self._node: Node
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()
        self._calls: trio.Nursery
        self._answering = False
        self._unwanted = False
        self._leaving = False
        """Whether it was asked to leave its group while it could. Changes in the node's thread."""
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._over = False
        """Nothing is asked of the node any more. Changes under the lock."""
        self._last: NodeSnapshot | None = None
        self._failure: BaseException | None = None
        self._failure_told = False
        self._listening: Future[None] = Future()
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._in_thread, name="openfl node", daemon=True)

    # --- life -------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            with _importing:  # half-imported modules are not for two threads
                set_up()
                import openfl.app.running_node  # noqa: F401
        except BaseException:  # Ctrl-C: it takes a while
            self._remove_temporary_home()
            raise
        close_at_end(self)
        try:
            self._thread.start()
            self._listening.result()
        except BaseException as error:
            self._failure_told = True
            if isinstance(error, KeyboardInterrupt):  # at any moment, while the thread goes on
                self._give_up()
                self._finished.wait()
                self._thread.join()
            raise

    def _in_thread(self) -> None:
        failure: BaseException | None = None
        try:
            trio.run(self._main)
        except BaseException as error:
            failure = error
        finally:
            self._remove_temporary_home()
            self._end_calls(failure)
            if not self._listening.done():
                self._listening.set_exception(failure or NotRunningError("the node was stopped"))
            self._finished.set()

    def _remove_temporary_home(self) -> None:
        if self.temporary_home:
            try:
                shutil.rmtree(self.home)
            except OSError as error:
                log.warning("the temporary home %s is not removed: %s", self.home, error)

    async def _main(self) -> None:
        from openfl.app.open_node import open_node

        self._token = trio.lowlevel.current_trio_token()
        if self._unwanted:
            return
        with self._scope:
            if self.temporary_home:
                text = f"no home was given: {self.home} is removed when this node is closed"
                self._on_event(
                    NodeEvent(time.time(), "info", "temporary-home", text, {"home": str(self.home)})
                )
            async with open_node(
                self._config, self.home, self._on_event, self._workload, pin=self._pin
            ) as self._node:
                await self._answer()

    async def _answer(self) -> None:
        """Until the node is asked to stop, by whomever."""
        try:
            async with trio.open_nursery() as self._calls:
                self._answering = True
                self._listening.set_result(None)
                await self._node.stop_asked.wait()
                self._last = replace(self._node.snapshot(), phase="stopped")
                self._end_calls(None)
                self._calls.cancel_scope.cancel()
        finally:
            self._answering = False

    def _end_calls(self, failure: BaseException | None) -> None:
        with self._lock:
            self._over = True
            self._failure = self._failure or failure
            pending, self._pending = self._pending, set()
        for answer in pending:
            answer.set_exception(self._ended())

    def _give_up(self) -> None:
        """Close a node that may not listen yet, or not even have an event loop."""
        self._unwanted = True
        with contextlib.suppress(AttributeError, trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)

    def stop(self) -> None:
        """Save and close the node; return when it is closed, which takes a few seconds at most.
        Does nothing when it is closed already. Raises what the node failed with, once."""
        self._close(leave=False)

    def leave(self) -> None:
        """As `stop`, but before the node withdraws from its group what it has taught it, for
        good. NotRunningError: it was closed before, and what it taught stays."""
        self._close(leave=True)

    def _close(self, leave: bool) -> None:
        self._wait_closed(leave)
        if self._failure is not None and not self._failure_told:
            self._failure_told = True
            raise self._failure
        if leave and not self._leaving:
            raise NotRunningError("this node was closed before it could leave: start it again")

    def _ask_to_stop(self, leave: bool) -> None:
        def ask() -> None:
            if not self._over:  # else it may be too late to leave
                self._leaving = self._leaving or leave
                self._node.request_stop(leave)

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(ask)

    def _wait_closed(self, leave: bool) -> None:
        if threading.current_thread() is self._thread:
            raise UsageError(OWN_THREAD)
        self._ask_to_stop(leave)
        self._finished.wait()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.stop()
            return
        self._wait_closed(leave=False)
        failure = self._failure
        if failure is not None and not self._failure_told:
            self._failure_told = True
            raise BaseExceptionGroup(
                "the block failed, and so did the node", [error, failure]
            ) from None

    # --- asking -----------------------------------------------------------------------------------

    def _ended(self) -> BaseException:
        if self._failure is not None:
            self._failure_told = True
            return self._failure
        return NotRunningError("this node is closed: start it again with openfl.run")

    def _ask(self, work: Callable[[Node], Awaitable[T]], timeout: float | None = None) -> T:
        """What `work` returns or raises on the node's event loop. TimeoutError after `timeout`
        seconds; it is cancelled then, as it is when the waiting is interrupted."""
        if threading.current_thread() is self._thread:
            raise UsageError(OWN_THREAD)
        answer: Future[T] = Future()
        scope = trio.CancelScope()
        with self._lock:
            if self._over:
                raise self._ended()
            self._pending.add(answer)

        async def working() -> None:
            with scope:
                try:
                    found = await work(self._node)
                except Exception as error:
                    if self._still_asked(answer):
                        answer.set_exception(error)
                else:
                    if self._still_asked(answer):
                        answer.set_result(found)

        def begin() -> None:
            if self._answering:  # else the end of the thread answers
                self._calls.start_soon(working)

        try:
            with contextlib.suppress(trio.RunFinishedError):  # the end of the thread answers
                self._token.run_sync_soon(begin)
            return answer.result(timeout)
        except BaseException:
            if self._still_asked(answer):
                with contextlib.suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(scope.cancel)
            raise

    def _still_asked(self, answer: Future[Any]) -> bool:
        """Whether nobody else has answered; from now on this is so."""
        with self._lock:
            asked = answer in self._pending
            self._pending.discard(answer)
        return asked

    def _look(self, look: Callable[[Node], T]) -> T:
        async def looking(node: Node) -> T:
            return look(node)

        return self._ask(looking)

    def snapshot(self) -> NodeSnapshot:
        """Everything about the node, now; when it is closed, as it was then, in phase
        `stopped`."""
        try:
            return self._look(lambda node: node.snapshot())
        except NotRunningError:
            if self._failure is not None or self._last is None:
                raise
            return self._last

    def recommend(
        self, user: str | None = None, top: int = 10, wishes: Wishes | None = None
    ) -> Recommendations:
        """The `top` best items for `user` by the group's model as it is now. user: None is
        `recommend.user` of the configuration, else the first of the ratings file; of somebody
        unknown it is told what the group likes best (`kind` is then "popular").

        UsageError: nobody is named in either. GroupError: the node is in no group yet, or its group
        has no songs. DataError: nothing can be recommended. ValueError: `top` < 1.
        """
        from openfl.app.first_user import NOBODY, user_to_recommend_to
        from openfl.app.resuming import with_remembered_data
        from openfl.learning.factorization.wishes import NO_WISHES
        from openfl.storage.home import Home

        songs = self._look(lambda node: node.songs())
        if user is None:
            user = user_to_recommend_to(with_remembered_data(self._config, Home(self.home)))
            if not user:
                raise UsageError(NOBODY)
        return songs.recommend(user, top, NO_WISHES if wishes is None else wishes)

    def similar(self, song: str, top: int = 10) -> SimilarSongs:
        """The `top` songs most like `song` (an id, a title, or artist and title) by the group's
        model as it is now. UsageError: no song, or several, are called so. GroupError: the group
        has learned nothing of it, or has no songs. ValueError: `top` < 1."""
        return self._look(lambda node: node.songs()).similar(song, top)

    def groups(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        return self._ask(lambda node: node.groups())

    def switch(self, group: str, pin: bool = False) -> GroupView:
        """Leave the present group for another, named by name or the beginning of its id; `pin`: and
        stay there. GroupError when it is unknown, ambiguous, unfit for this node's data, or gives
        no snapshot; the node then stays where it was."""
        return self._ask(lambda node: node.switch(group, pin))

    def found_group(self, name: str, pin: bool = False) -> GroupView:
        """Found a group of this name, with this node as its first member, and leave the present
        one. GroupError when there is such a group already."""
        return self._ask(lambda node: node.found_group(name, pin))

    # --- waiting ----------------------------------------------------------------------------------

    def wait_done(self, timeout: float | None = None) -> NodeSnapshot:
        """Wait until all rounds are done (`training.rounds`; 0 is never), or the node was stopped;
        the snapshot by then. TimeoutError after `timeout` seconds: the node goes on."""
        try:
            self._ask(lambda node: node.wait_done(), timeout)
        except TimeoutError:
            raise self._too_late(timeout, self.snapshot()) from None
        except NotRunningError:
            pass  # stopped meanwhile
        return self.snapshot()

    def wait(
        self, until: Callable[[NodeSnapshot], object], timeout: float | None = None
    ) -> NodeSnapshot:
        """Wait until `until(snapshot)` is true, and return that snapshot: `node.wait(lambda seen:
        len(seen.members) >= 3)`. It is asked in this thread, after each event and every half
        second. TimeoutError after `timeout` seconds: the node goes on. NotRunningError: the node
        was closed before. What `until` raises comes out."""
        deadline = None if timeout is None else time.monotonic() + timeout
        changes = self.events()
        while True:
            over, seen = self._over, self.snapshot()
            if until(seen):
                return seen
            if over:
                raise self._ended()
            left = LOOK_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise self._too_late(timeout, seen)
            changes.rest(min(left, LOOK_SECONDS))

    @staticmethod
    def _too_late(timeout: float | None, seen: NodeSnapshot) -> TimeoutError:
        members = f"{len(seen.members)} member{'' if len(seen.members) == 1 else 's'}"
        where = f'group "{seen.group_name}", {seen.phase}, round {seen.round}, {members}'
        notices = "".join(f"; {notice.text}" for notice in seen.notices)
        return TimeoutError(f"not so after {timeout:g} s: {where}{notices}")

    def events(self, timeout: float | None = None, kept: int = KEPT_EVENTS) -> EventIterator:
        """What the node tells from now on: `for event in node.events()`. Ends when the node is
        closed. timeout: seconds to wait for the next event; TimeoutError when none comes, and the
        iterator may be asked again. Any number of iterators, in any threads; of what one has not
        taken, the newest `kept` stay, and one event `events-missed` says how many do not.
        ValueError: `kept` < 1."""
        events = EventIterator(timeout, kept)
        try:
            self._look(lambda node: node.listen(events))
        except NotRunningError:
            if self._failure is not None:
                raise
            events.end()
        return events

    def __repr__(self) -> str:
        kept = " (temporary)" if self.temporary_home else ""
        if self._failure is not None:
            return f"<openfl.RunningNode: failed; home {self.home}{kept}>"
        state = "closed" if self._over else "running"
        return f"<openfl.RunningNode: {state}; home {self.home}{kept}>"


OWN_THREAD = "on_event must not ask the node: it would wait for itself; ask from another thread"
