"""`LabelDriver`: asks members what items are called, tells it, and keeps it; `LabelExchange` on
trio."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import trio

from openfl.aggregation.replica import Replica
from openfl.core.contribution import Keys, PeerId
from openfl.core.errors import RemoteError, RequestFailed, StateError
from openfl.group.labels import FalseLabel, Heard, LabelExchange, Place
from openfl.items import OPAQUE, Label
from openfl.learning.task import NamesItems
from openfl.learning.workload import NamingItems, Workload
from openfl.network.base import Network
from openfl.node.current_group import CurrentGroup
from openfl.node.event_log import EventLog
from openfl.node.membership import Membership
from openfl.node.state_saver import StateSaver
from openfl.storage.base import KeptLabels
from openfl.wire import messages as wire

ASK_SECONDS = 10.0
NEXT_SECONDS = 1.25
"""From a question that brought something to the next: a peer answers one a second."""
IDLE_SECONDS = 5.0
"""From one that brought nothing, or when there is nothing to ask; twice as long each time, until
there are new rows."""
LONGEST_IDLE_SECONDS = 60.0
SAVE_SECONDS = 20.0
COUNTED_SECONDS = 2.0
"""How old the number of names may be that is shown: a view asks several times a second."""
LAST_SAVE_SECONDS = 1.0
ALL_MEMBERS = PeerId("")
"""Whose rows are nobody's."""


class _Published:
    """Labels of own data, of the rows that this node has published; looked up when one is asked."""

    def __init__(
        self, replica: Replica, me: PeerId, table: str, labels: Mapping[int, Label]
    ) -> None:
        self._replica = replica
        self._me = me
        self._table = table
        self._labels = labels
        self._keys: frozenset[int] | None = None

    def label(self, key: int) -> Label | None:
        """None when it is not to be told."""
        if key not in self._labels:
            return None
        if self._keys is None:
            self._keys = frozenset(self._replica.member_rows(self._me, self._table).keys.tolist())
        return self._labels[key] if key in self._keys else None


class LabelDriver:
    """`tell`: whether others are told what items of own data are called. `kept`: None keeps
    nothing. Does nothing for workloads whose items have no names."""

    def __init__(
        self,
        network: Network,
        current_group: CurrentGroup,
        workload: Workload,
        rng: np.random.Generator,
        tell: bool,
        kept: KeptLabels | None,
        saver: StateSaver,
        log: EventLog,
    ) -> None:
        self._network = network
        self._current_group = current_group
        self._rng = rng
        self._kept = kept
        self._saver = saver
        self._log = log
        self._workload: NamingItems | None = None
        self._exchange: LabelExchange | None = None
        self._names: Mapping[int, Label] = {}
        self._own: Mapping[int, Label] = {}
        self._named: tuple[Membership, float, int] | None = None
        self._place: tuple[Membership, int, Place] | None = None
        self._saved = 0
        if isinstance(workload, NamingItems) and workload.item_kind != OPAQUE:
            self._workload = workload
            self._names = workload.own_labels()
            self._own = self._names if tell else {}
            self._exchange = LabelExchange(Heard(workload.item_kind), rng)
            network.set_handler(
                wire.LABELS_PROTOCOL, self._answer, wire.LIMITS.max_labels_request_bytes
            )

    @property
    def faults(self) -> Mapping[str, int]:
        """What was refused, by name."""
        return {} if self._exchange is None else self._exchange.faults

    @property
    def heard(self) -> int:
        """How many labels others told that are kept."""
        return 0 if self._exchange is None else len(self._exchange.heard)

    @property
    def named(self) -> int | None:
        """How many of the group's items this node can name; None where ids are the names."""
        membership, now = self._current_group.membership, trio.current_time()
        known = self._named
        if known is not None and known[0] is membership and now - known[1] < COUNTED_SECONDS:
            return known[2]
        place = None if self._exchange is None else self._now()
        if self._exchange is None or place is None or membership is None:
            return None
        heard = self._exchange.heard
        count = sum(key in heard or key in self._names for key in place.keys.tolist())
        self._named = (membership, now, count)
        return count

    async def run(self) -> None:
        """Ask, and keep what came, until cancelled."""
        if self._exchange is None or self._workload is None:
            return
        await self._load(self._exchange, self._workload)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_saved, self._exchange)
            idle, rows = IDLE_SECONDS, 0
            while True:
                news = await self._ask_somebody(self._exchange, self._workload)
                before, rows = rows, 0 if self._place is None else len(self._place[2].keys)
                if news is not False or rows != before or not rows:
                    idle = IDLE_SECONDS
                await trio.sleep(NEXT_SECONDS if news else idle)
                idle = min(2 * idle, LONGEST_IDLE_SECONDS)

    # --- others -----------------------------------------------------------------------------------

    async def _answer(self, peer: PeerId, payload: bytes) -> bytes:
        place = self._now()
        if self._exchange is None or place is None:
            refusal = wire.Refusal("busy", "this node is not in a group yet")
            return wire.encode_labels_answer(refusal)
        return self._exchange.answer(place, peer, payload, trio.current_time())

    async def _ask_somebody(self, exchange: LabelExchange, workload: NamingItems) -> bool | None:
        """Whether a member told something that was not known; None when it did not answer."""
        place = self._now()
        if place is None:
            return False
        peers = sorted(self._network.connected(wire.deltas_topic(place.group_id)))
        for peer in self._rng.permutation(np.array(peers, dtype=object)).tolist():
            if not place.admission.admits(peer):
                continue
            request = exchange.question(place, peer, trio.current_time())
            if request is not None:
                return await self._ask(peer, request, exchange, workload)
        return False

    async def _ask(
        self,
        peer: PeerId,
        request: wire.LabelsRequest,
        exchange: LabelExchange,
        workload: NamingItems,
    ) -> bool | None:
        payload: bytes | None = None
        with trio.move_on_after(ASK_SECONDS):
            try:
                payload = await self._network.request(
                    peer,
                    wire.LABELS_PROTOCOL,
                    wire.encode_labels_request(request),
                    wire.LIMITS.max_labels_answer_bytes,
                )
            except RequestFailed:
                payload = None  # it does not speak this, or is gone: others are asked
        now = trio.current_time()
        if payload is None:
            exchange.silent(peer, now)
            return None
        before = exchange.heard.changes
        try:
            exchange.answered(peer, request, payload, now)
        except RemoteError as error:
            exchange.in_vain(peer, request, now)
            lie = isinstance(error, FalseLabel)
            self._network.penalize(peer, "labels-false" if lie else "labels-malformed")
            return False
        if exchange.heard.changes == before:
            return False
        told = ((key, exchange.heard.get(key)) for key in request.keys.tolist())
        workload.hear_labels((key, label) for key, label in told if label is not None)
        return True

    # --- where the node is ------------------------------------------------------------------------

    def _now(self) -> Place | None:
        """Where labels are asked for and told now; None where items have no names, or none yet."""
        membership = self._current_group.membership
        if membership is None or not isinstance(membership.trainer.task, NamesItems):
            return None
        replica = membership.session.replica
        known = self._place
        if known is not None and known[0] is membership and known[1] == replica.generation:
            return known[2]
        table = membership.trainer.task.own_items.table
        keys: Keys = replica.keys_beside(ALL_MEMBERS, table)
        tells = _Published(replica, membership.session.me, table, self._own).label
        place = Place(replica.charter.group_id, keys, membership.session.admission, tells)
        self._place = (membership, replica.generation, place)
        return place

    # --- on disk ----------------------------------------------------------------------------------

    async def _load(self, exchange: LabelExchange, workload: NamingItems) -> None:
        if self._kept is None:
            return
        try:
            heard = await self._kept.load(workload.item_kind)
        except StateError as error:
            self._log.tell("warning", "state-damaged", str(error))
            return
        exchange.heard.take(heard)
        self._saved = exchange.heard.changes
        workload.hear_labels(exchange.heard)

    async def _keep_saved(self, exchange: LabelExchange) -> None:
        try:
            while True:
                await trio.sleep(SAVE_SECONDS)
                await self._save(exchange)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + LAST_SAVE_SECONDS, shield=True):
                await self._save(exchange)

    async def _save(self, exchange: LabelExchange) -> None:
        if self._kept is None or exchange.heard.changes == self._saved:
            return
        self._saved = exchange.heard.changes
        await self._saver.save_labels(self._kept, exchange.heard)
