"""What others are shown of a node: its group's card, its peers. Pure functions of its parts."""

from __future__ import annotations

from collections.abc import Iterable

from openfl.contribution import GroupCard, PeerId
from openfl.group.directory import KnownCard
from openfl.group.session import GroupSession
from openfl.network.base import ConnectedPeer
from openfl.telemetry import PeerView
from openfl.wire import messages as wire


def own_card(session: GroupSession, issuer: PeerId, now: float, unix_now: float) -> GroupCard:
    """The card of a member's group, as that member sees it."""
    best, median = session.fits(now)
    metric = session.validation.metric if session.validation is not None else None
    return GroupCard(
        charter=session.charter,
        members=len(session.members(now)),
        rows=session.replica.model_rows,
        fit_metric=None if best is None else metric,
        fit_best=best,
        fit_median=median,
        issuer=issuer,
        issued_at=unix_now,
    )


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
        views.append(PeerView(peer.peer_id, peer.multiaddrs, tuple(groups), in_mesh))
    return tuple(sorted(views, key=lambda view: view.peer_id))
