"""`Membership`: drives one `GroupSession`: its messages, its timer, its training, its saving.

One trio task tree; the session itself is only ever called synchronously, from one thread. Queues
are bounded: what does not fit into the outgoing queue is dropped and counted, and repair makes up
for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from openfl.core.contribution import ModelView, PeerId
from openfl.core.errors import RemoteError
from openfl.group import events as ev
from openfl.group.session import GroupSession
from openfl.network.base import GossipMessage, Network, Verdict
from openfl.node.loop_watch import LoopWatch
from openfl.node.trainer import Trainer
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire

log = logging.getLogger(__name__)

OUTGOING_QUEUE = 256
WATCH_SECONDS = 0.5
JOINING_WATCH_SECONDS = 0.05
SAVE_PAUSE_SECONDS = 2.0
"""Between two saves: a node that dies loses its own factors of so long at most, and the group has
what it published. Three files that are synced cost more than a short round's training."""
LEAVE_SECONDS = 2.0
FAREWELL_SECONDS = 0.5
"""From publishing a `Leave` to whatever closes the connections: publishing only queues it."""

TellOwner = Callable[[ev.Tell], None]
Saver = Callable[[SavedMembership, ModelView], Awaitable[None]]


class Membership:
    """One node in one group. `reachable()` names connected peers that subscribe to its topic.
    `watch`: measures the load. `snapshot`: the session's replica holds one already, so that joining
    takes no time."""

    def __init__(
        self,
        session: GroupSession,
        trainer: Trainer,
        network: Network,
        *,
        reachable: Callable[[], frozenset[PeerId]],
        tell: TellOwner,
        save: Saver,
        watch: LoopWatch,
        snapshot: ev.SnapshotGiven | None = None,
    ) -> None:
        self.session = session
        self.trainer = trainer
        self.joined = trio.Event()
        """Set once the first snapshot is merged, or it is clear that there is none."""
        self.rounds_done = trio.Event()
        """Set once all rounds are done and the model after the last one was evaluated."""
        self.topic = wire.deltas_topic(session.charter.group_id)
        self._network = network
        self._reachable = reachable
        self._tell = tell
        self._save = save
        self._watch = watch
        self._snapshot = snapshot
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._outgoing, self._to_publish = trio.open_memory_channel[bytes](OUTGOING_QUEUE)
        self._all_published = trio.Event()
        self._poke = trio.Event()
        self._asleep_until = float("inf")
        self._save_wanted = trio.Event()

    # --- life -------------------------------------------------------------------------------------

    async def run(
        self,
        discover: Callable[..., Awaitable[None]],
        *,
        task_status: Any = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be a member until cancelled or `end`ed. Started once subscribed; `discover` finds
        members (see `Discovery.run`)."""
        try:
            with self._scope, self._watch.watching():
                await self._take_part(discover, task_status)
        finally:
            self._ended.set()

    async def end(self) -> None:
        """Return once nothing of the group is handled or saved any more; it must be running."""
        self._scope.cancel()
        await self._ended.wait()

    async def _take_part(self, discover: Callable[..., Awaitable[None]], task_status: Any) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._network.subscribe(self.topic, self._on_gossip)
            try:
                self.session.start(trio.current_time())
                nursery.start_soon(self._publish_outgoing)
                nursery.start_soon(self._look_around)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._keep_saved)
                if self._snapshot is not None:
                    self.handle(self._snapshot)
                task_status.started()
                await nursery.start(discover, self.session.charter.group_id)
                self.handle(ev.MembersReachable(self._reachable()))
                self.handle(ev.DiscoveryEnded(alone=not self._network.connected()))
                await trio.sleep_forever()
            finally:
                self._nursery = None
                with trio.CancelScope(deadline=trio.current_time() + LEAVE_SECONDS, shield=True):
                    await self._network.unsubscribe(self.topic)

    async def leave(self) -> None:
        """Withdraw this member's influence from the group, and wait until the word is out."""
        self.handle(ev.LeaveRequested())
        with trio.move_on_after(LEAVE_SECONDS):
            await self._all_published.wait()
            await trio.sleep(FAREWELL_SECONDS)

    def saved(self) -> SavedMembership:
        """This membership as it is now, to be kept on disk."""
        session = self.session
        return SavedMembership.of(
            session.replica,
            session.epoch,
            session.round,
            tuple(session.history),
            self.trainer.private,
            trio.current_time(),
            session.admission.all(),
        )

    # --- events in --------------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        """Let the session handle `event` and carry out what follows."""
        now = trio.current_time()
        stalled = self._watch.stalled(now)
        if stalled:
            self._perform(self.session.handle(ev.Stalled(stalled), now))
        return self._perform(self.session.handle(event, now))

    def _on_gossip(self, message: GossipMessage) -> Verdict:
        event = ev.GossipReceived(message.author, message.relayed_by, message.payload)
        for effect in self.handle(event):
            if isinstance(effect, ev.Judge):
                return effect.verdict
        return Verdict.IGNORE

    async def answer(self, peer: PeerId, protocol: str, payload: bytes) -> bytes:
        """The answer to a snapshot or pull request; RemoteError when it is malformed."""
        for effect in self.handle(ev.RequestReceived(peer, protocol, payload)):
            if isinstance(effect, ev.Respond):
                return effect.payload
        raise RemoteError("a request that has no answer")

    async def _look_around(self) -> None:
        known: frozenset[PeerId] = frozenset()
        while True:
            now = self._reachable()
            if now != known:
                known = now
                self.handle(ev.MembersReachable(now))
            load = self._watch.measured(self._network.statistics)
            if load is not None:
                self.handle(load)
            # Whoever joins waits for somebody to ask; whoever has joined has time.
            joining = not self.joined.is_set()
            await self._watch.pause(JOINING_WATCH_SECONDS if joining else WATCH_SECONDS)

    async def _keep_time(self) -> None:
        while True:
            self._asleep_until = self.session.next_wake
            self._poke = trio.Event()
            with trio.move_on_at(self._asleep_until):
                await self._poke.wait()
            if trio.current_time() >= self.session.next_wake:
                self.handle(ev.TimerFired())

    # --- effects out ------------------------------------------------------------------------------

    def _perform(self, effects: list[ev.Effect]) -> list[ev.Effect]:
        nursery = self._nursery
        if nursery is None:
            return effects
        for effect in effects:
            match effect:
                case ev.Publish():
                    try:
                        self._outgoing.send_nowait(effect.payload)
                    except trio.WouldBlock:
                        self.session.count("outgoing-queue-full")
                case ev.Request():
                    nursery.start_soon(self._request, effect)
                case ev.Train():
                    nursery.start_soon(self._train, effect)
                case ev.Evaluate():
                    nursery.start_soon(self._evaluate, effect)
                case ev.Save():
                    self._save_wanted.set()
                case ev.Penalize():
                    self._network.penalize(effect.peer, effect.reason)
                case ev.Tell():
                    if effect.kind == "joined":
                        self.joined.set()
                    self._tell(effect)
                case ev.Judge() | ev.Respond():
                    pass  # for whoever handed the event in
        if self.session.next_wake < self._asleep_until:
            self._poke.set()
        return effects

    async def _publish_outgoing(self) -> None:
        async for payload in self._to_publish:
            await self._network.publish(self.topic, payload)
            if not self._to_publish.statistics().current_buffer_used:
                self._all_published.set()
                self._all_published = trio.Event()

    async def _request(self, effect: ev.Request) -> None:
        reason = f"no answer within {effect.timeout_seconds:g} s"
        with self._watch.limit(effect.timeout_seconds):
            try:
                payload = await self._network.request(
                    effect.peer, effect.protocol, effect.payload, effect.max_response_bytes
                )
            except RemoteError as error:
                reason = str(error)
            else:
                self.handle(ev.AnswerReceived(effect.token, effect.peer, payload))
                return
        log.debug("request to %s failed: %s", effect.peer, reason)
        self.handle(ev.RequestFailed(effect.token, effect.peer, reason))

    async def _train(self, effect: ev.Train) -> None:
        self.handle(await self.trainer.train(effect))

    async def _evaluate(self, effect: ev.Evaluate) -> None:
        self.handle(await self.trainer.evaluate(effect))
        if self.session.phase == "done":
            self.rounds_done.set()
            self._save_wanted.set()

    async def _keep_saved(self) -> None:
        while True:
            await self._save_wanted.wait()
            self._save_wanted = trio.Event()
            await self._save(self.saved(), self.session.model())
            await trio.sleep(SAVE_PAUSE_SECONDS)
