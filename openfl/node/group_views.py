"""`GroupViews`: groups, and the members of them that are connected, as this node sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import trio

from openfl.core.contribution import PeerId
from openfl.core.telemetry import DirectoryView, GroupView, PeerView, SwitchingView
from openfl.group.session import GroupSession
from openfl.network.base import ConnectedPeer
from openfl.node.current_group import CurrentGroup
from openfl.node.eligibility import Eligibility
from openfl.node.group_finder import GroupFinder
from openfl.node.group_view import group_view
from openfl.node.switcher import Switcher
from openfl.switching.directory import KnownCard
from openfl.wire import messages as wire


@dataclass(frozen=True, slots=True)
class GroupViews:
    """Looks at the parts of a node that know of groups."""

    current_group: CurrentGroup
    finder: GroupFinder
    switcher: Switcher
    eligibility: Eligibility

    async def ask(self) -> tuple[GroupView, ...]:
        """The groups the network knows of, asked of connected peers now."""
        await self.finder.ask()
        return self.known()

    def known(self) -> tuple[GroupView, ...]:
        """The groups that this node knows of by now."""
        return tuple(self.group(known) for known in self.finder.known())

    def group(self, known: KnownCard) -> GroupView:
        """A group as this node sees it: whether it fits, what came of the last look at it."""
        charter = known.card.charter
        mine = self.current_group.is_in(charter.group_id)
        return group_view(
            known,
            trio.current_time(),
            mine=mine,
            problem=None if mine else self.eligibility.problem(charter),
            finding=self.switcher.finding(charter.group_id),
            round_now=self.switcher.rounds,
        )

    def peers(self, connected: Iterable[ConnectedPeer]) -> tuple[PeerView, ...]:
        """Connected peers by id, with the names of their groups where they are known."""
        membership = self.current_group.membership
        listed = self.finder.directory.listed(trio.current_time())
        return peer_views(connected, listed, None if membership is None else membership.session)

    @property
    def faults(self) -> Mapping[str, int]:
        """Cards and requests of others that were refused, by name."""
        return self.finder.faults

    @property
    def directory(self) -> DirectoryView:
        """What came of asking which groups there are."""
        return self.finder.asked

    def clocks(self, unix_now: float) -> Mapping[PeerId, float]:
        """Peer -> seconds by which its clock is ahead of this node's, as the cards that it has
        signed tell; what they took on their way makes it seem behind by as much."""
        now = trio.current_time()
        return {
            known.card.issuer: known.card.issued_at - (unix_now - known.age(now))
            for known in self.finder.directory.all_cards()
        }

    @property
    def switching(self) -> SwitchingView:
        """How the node chooses its group."""
        return self.switcher.view()


def peer_views(
    peers: Iterable[ConnectedPeer], known: Iterable[KnownCard], session: GroupSession | None
) -> tuple[PeerView, ...]:
    """Connected peers by id, with the names of their groups where they are known."""
    names = {wire.deltas_topic(k.card.charter.group_id): k.card.charter.name for k in known}
    mine = None
    if session is not None:
        mine = wire.deltas_topic(session.charter.group_id)
        names[mine] = session.charter.name
    views = []
    for peer in peers:
        groups = sorted(
            names.get(topic, topic.split("/")[3][:8])
            for topic in peer.topics
            if topic.startswith("/openfl/1/") and topic.endswith("/deltas")
        )
        in_mesh = mine in peer.mesh_topics
        views.append(PeerView(peer.peer_id, peer.multiaddrs, tuple(groups), in_mesh, peer.relayed))
    return tuple(sorted(views, key=lambda view: view.peer_id))
