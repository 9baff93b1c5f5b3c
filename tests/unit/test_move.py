"""`Move`: which step follows which, and what is left when one fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from openfl.aggregation.replica import ReplicaLimits
from openfl.core.errors import ConfigError, StateError
from openfl.group import events as session_events
from openfl.group.session import GroupSession
from openfl.switching import events as ev
from openfl.switching.move import Move
from openfl.switching.probe import Probes
from openfl.switching.seed import MembershipStart, MoveOrder, Seed
from tests.group_rig import CHARTER, Rig, RigSealer, contribution, peer, quick

OLD, NEW = "the old membership", "the new membership"
OLD_ID = replace(CHARTER, name="old").group_id
ORDER = MoveOrder(CHARTER, "move", "moved", by_itself=True)
DISK = StateError("the disk is full")

Effects = list[ev.MoveEffect[str]]


def fetched() -> ev.Fetched:
    return ev.Fetched(CHARTER.group_id, Probes(RigSealer(peer(9))).take(CHARTER), peer(1))


def opened(order: MoveOrder = ORDER) -> Move[str]:
    """A move whose new membership is made, and nothing of it written."""
    move = Move(order, OLD_ID, OLD)
    move.start()
    if order.action != "found":
        move.handle(fetched())
    return move


def carried_out(order: MoveOrder = ORDER) -> Effects:
    """All effects of a move in which nothing fails."""
    move = Move(order, OLD_ID, OLD)
    done: Effects = []
    effects = move.start()
    while effects:
        done += effects
        match effects[-1]:
            case ev.FetchSeed():
                effects = move.handle(fetched())
            case ev.Open():
                effects = move.handle(ev.Opened(NEW))
            case ev.SaveMembership() | ev.Commit():
                effects = move.handle(ev.Written())
            case _:
                effects = []
    return done


@pytest.mark.parametrize("action", ["move", "switch", "found"])
def test_every_step_comes_in_its_place(action: str) -> None:
    order = replace(ORDER, action=action)  # type: ignore[arg-type]
    effects = carried_out(order)
    assert tuple(e.point for e in effects if isinstance(e, ev.Reached)) == ev.MOVE_POINTS
    steps = [e for e in effects if not isinstance(e, ev.Reached | ev.FetchSeed | ev.Open)]
    assert steps == [
        ev.OweLeave(OLD),
        ev.SaveMembership(NEW),
        ev.Commit(order),
        ev.SettleLeave(CHARTER.group_id),
        ev.Enter(NEW, order),
        ev.TakePart(NEW),
        ev.Leave(OLD),
        ev.End(OLD),
        ev.Forget(OLD_ID),
        ev.SettleLeave(OLD_ID),
        ev.SaveStanding(),
        ev.Moved(order, OLD_ID, NEW),
    ]


def place(effects: Effects, kind: type[object]) -> int:
    return next(n for n, effect in enumerate(effects) if isinstance(effect, kind))


@pytest.mark.parametrize(
    ("before", "point", "after"),
    [
        (ev.FetchSeed, "move-fetched", ev.Open),
        (ev.SaveMembership, "move-saved", ev.Commit),
        (ev.Commit, "move-committed", ev.Enter),
        (ev.TakePart, "move-subscribed", ev.Leave),
        (ev.Leave, "move-left", ev.End),
        (ev.End, "move-unsubscribed", ev.Forget),
        (ev.Forget, "move-forgotten", ev.SaveStanding),
        (ev.SaveStanding, "move-finished", ev.Moved),
    ],
)
def test_a_node_may_be_killed_between_any_two_steps(
    before: type[object], point: ev.MovePoint, after: type[object]
) -> None:
    effects = carried_out()
    reached = effects.index(ev.Reached(point))
    assert place(effects, before) < reached < place(effects, after)


def test_what_answers_is_the_last_of_its_effects() -> None:
    move = Move(ORDER, OLD_ID, OLD)
    answered = (ev.FetchSeed, ev.Open, ev.SaveMembership, ev.Commit)
    batches = [
        move.start(),
        move.handle(fetched()),
        move.handle(ev.Opened(NEW)),
        move.handle(ev.Written()),
        move.handle(ev.Written()),
    ]
    for batch, last in zip(batches, (*answered, ev.Moved), strict=True):
        assert isinstance(batch[-1], last)
        assert not any(isinstance(effect, answered) for effect in batch[:-1])


def test_whoever_gets_no_snapshot_stays_and_nothing_was_written() -> None:
    move = Move(ORDER, OLD_ID, OLD)
    move.start()
    (end,) = move.handle(ev.NotFetched(CHARTER.group_id, "no member can be reached"))
    assert isinstance(end, ev.NotMoved)
    assert str(end.error) == (
        "no member of group rig answers (no member can be reached): staying in the old group"
    )


def test_a_membership_that_cannot_be_made_leaves_all_as_it_was() -> None:
    error = ConfigError("this task cannot be learned under privacy")
    assert opened().handle(ev.NotOpened(error)) == [ev.NotMoved(error)]


@pytest.mark.parametrize("saved", [False, True])
def test_a_disk_that_fails_before_the_commit_leaves_the_node_in_the_old_group(saved: bool) -> None:
    move = opened()
    move.handle(ev.Opened(NEW))
    if saved:
        move.handle(ev.Written())
    # The leave is owed no more, and what was written of the new group is removed.
    assert move.handle(ev.NotWritten(DISK)) == [
        ev.SettleLeave(OLD_ID),
        ev.Forget(CHARTER.group_id),
        ev.NotMoved(DISK),
    ]


def test_a_move_that_is_over_takes_no_more_events() -> None:
    move = Move(ORDER, OLD_ID, OLD)
    with pytest.raises(ValueError, match="Written is not what _Fetching is for"):
        move.handle(ev.Written())
    move.start()
    move.handle(ev.NotFetched(CHARTER.group_id, "nobody"))
    with pytest.raises(ValueError, match="Fetched is not what _Over is for"):
        move.handle(fetched())


def test_a_founder_begins_with_an_empty_replica_of_the_usual_limits() -> None:
    limits = ReplicaLimits(max_members=7)
    effects = Move(replace(ORDER, action="found"), OLD_ID, OLD, limits).start()
    opening = effects[-1]
    assert isinstance(opening, ev.Open)
    assert opening.seed.replica.member_count == 0
    assert opening.seed.replica.limits.max_members == 7
    assert opening.seed.given.peer is None


def test_a_move_begins_with_what_the_probe_has() -> None:
    end = fetched()
    move = Move(ORDER, OLD_ID, OLD)
    move.start()
    opening = move.handle(end)[-1]
    assert isinstance(opening, ev.Open)
    assert opening.seed.replica is end.probe.replica
    assert opening.seed.given.peer == end.peer


def trained_once(rounds: int = 0) -> GroupSession:
    """A session in its seventh epoch, whose first round is over; `rounds`: after which it is done,
    0 for never."""
    rig = Rig(quick(rounds))
    member = rig.add(epoch=7)
    rig.join(member)
    rig.pass_time(2.5)
    rig.train(member, contribution((1,), 1.0), fit=0.9)
    return member.session


def test_the_new_session_goes_on_where_the_old_one_was() -> None:
    old, seed = trained_once(rounds=9), Seed.fetched(fetched().probe, peer(2))
    start = MembershipStart.after(old, seed, epoch=5)
    assert (start.replica, start.snapshot) == (seed.replica, seed.given)
    session = start.session
    assert (session.epoch, session.round, session.last_round) == (5, 1, 9)
    assert session.history == (0.9,)


def test_one_that_is_done_learns_again_in_the_new_group() -> None:
    old, seed = trained_once(rounds=1), Seed.fetched(fetched().probe, peer(2))
    assert old.phase == "done"
    assert MembershipStart.after(old, seed, epoch=5).session.last_round is None


def test_its_epoch_is_above_that_of_an_earlier_membership_of_the_group() -> None:
    old = trained_once()
    seed = Seed(old.replica, session_events.SnapshotGiven(peer(2)))
    assert MembershipStart.after(old, seed, epoch=1).session.epoch == 8
