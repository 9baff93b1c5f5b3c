"""Groups that want to attract honest nodes: by tempting cards, and by showing strangers a better
model than members get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.core.contribution import Evaluation, GroupCard, PeerId
from openfl.simulation.attacks import ATTACKS
from openfl.simulation.dealing import deal
from openfl.simulation.groups_world import GroupsWorld
from openfl.simulation.member import Hostility, SimulatedMember
from openfl.simulation.run import charter_of, load_crowd, make_members, task_maker
from openfl.simulation.scenario import (
    DataSection,
    GroupsSection,
    NetworkSection,
    RunSection,
    Scenario,
    TaskSection,
)
from openfl.simulation.sealing import StandInSealer
from openfl.storage.membership import SavedMembership
from openfl.switching.policy import SelectionSettings
from openfl.wire import messages as wire

LURE = "lure"
HONEST_UNTIL, TURNS_AT = 4, 7


class TemptingCards(GroupsWorld):
    """Hostile members tell of 500 members and a perfect fit."""

    def _own_card(self, member: SimulatedMember, now: float) -> GroupCard | None:
        card = super()._own_card(member, now)
        if card is None or member.honest:
            return card
        return replace(card, members=500, fit_metric="rmse", fit_best=0.0, fit_median=0.0)


class ShopWindow(TemptingCards):
    """Hostile members were honest once. Whoever asks for a snapshot gets the model of then; those
    who have joined hear noise. Nobody looks around before."""

    window: Replica | None = None

    def _selection(self) -> SelectionSettings:
        return replace(super()._selection(), warm_up_rounds=TURNS_AT + 2, found_after_rounds=10_000)

    def _record(self, number: int) -> None:
        super()._record(number)
        if number == HONEST_UNTIL:
            liar = next(m for m in self.members if not m.honest)
            assert liar.session is not None
            saved = SavedMembership.of(liar.session.replica, 1, 1, (), {}, self.now)
            self.window, _ = saved.rebuild(liar.sealer, ReplicaLimits(), self.now)

    def _respond(
        self, asked: SimulatedMember, asker: PeerId, protocol: str, payload: bytes
    ) -> bytes | None:
        window = self.window
        if asked.honest or protocol != wire.SNAPSHOT_PROTOCOL or window is None:
            return super()._respond(asked, asker, protocol, payload)
        request = wire.decode_snapshot_request(payload)
        page = window.page(request.known, self.now, request.max_bytes, request.cursor)
        return wire.encode_answer(wire.ItemsAnswer.of_page(page, window.digest()))


def world_of(
    kind: type[GroupsWorld], attack: str, from_round: int, rounds: int, seed: int = 1
) -> GroupsWorld:
    """Twelve nodes of two tastes. Six of the first taste are hostile, in a group of their own; all
    others are in one group."""
    scenario = Scenario(
        name="hostile-group",
        run=RunSection(nodes=12, rounds=rounds, seed=seed),
        data=DataSection(
            source="communities",
            split="community",
            communities=2,
            users=96,
            items=30,
            ratings_per_user=25,
        ),
        task=TaskSection(factors=2),
        network=NetworkSection(wire="once", loss=0.1),
        groups=GroupsSection(count=2, switching=True, founding=False),
    )
    crowd = load_crowd(scenario, Path)
    home, lure = (charter_of(scenario, crowd.ratings, name) for name in ("home", LURE))
    hands = deal(crowd.ratings, crowd.catalogue, scenario.data, 12, seed, crowd.tastes)
    order = [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]  # three of each taste, then the others
    hands = [hands[n] for n in order]
    tastes = [n // 6 for n in order]
    bad = {6, 7, 8}
    charters = [lure if n in bad else home for n in range(12)]
    members = make_members(scenario, home, hands, StandInSealer, charters)
    for member in members:
        if member.index in bad:
            rng = np.random.default_rng([seed, member.index])
            member.hostility = Hostility(ATTACKS[attack], 10.0, from_round, {}, rng)
    central = {n: Evaluation("rmse", 1.0, 0.0, 1) for n in range(12)}  # not looked at
    world = kind(
        scenario,
        home,
        members,
        central,
        lambda record: None,
        task_of=task_maker(scenario, members),
        tastes=tastes,
    )
    world.run()
    return world


def moves_to(world: GroupsWorld, name: str) -> list[tuple[int, int]]:
    """(round interval, node)"""
    return [(number, index) for number, index, _, to in world.moves if to == name]


def test_tempting_cards_attract_nobody_when_the_model_is_bad() -> None:
    world = world_of(TemptingCards, "noise", 0, rounds=9)
    assert moves_to(world, LURE) == []
    lure = world.members[6].charter.group_id
    looked = [chooser for chooser in world.choosers if lure in chooser.selector.findings]
    assert len(looked) >= 8, "honest nodes did look at it"


def test_the_same_group_attracts_its_own_kind_when_it_is_honest() -> None:
    world = world_of(TemptingCards, "noise", 10_000, rounds=9)
    drawn = {index for _, index in moves_to(world, LURE)}
    assert drawn
    assert {world.tastes[index] for index in drawn} == {0}


def test_a_group_that_shows_strangers_another_model_than_members_is_left_and_not_believed() -> None:
    world = world_of(ShopWindow, "noise", TURNS_AT, rounds=17)
    victims = {index for _, index in moves_to(world, LURE)}
    assert victims, "somebody was deceived, else this test shows nothing"
    for victim in victims:
        own = [(number, to) for number, index, _, to in world.moves if index == victim]
        (came, _), *rest = own
        assert rest, "left again"
        assert rest[0][0] - came <= 3
        assert [to for _, to in own].count(LURE) == 1, "not believed again"
        assert world.choosers[victim].selector.is_distrusted(world.members[6].charter.group_id)
