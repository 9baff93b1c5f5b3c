"""Groups that want to attract honest nodes: by tempting cards, and by showing strangers a better
model than members get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from openfl.aggregation.replica import Replica, ReplicaLimits
from openfl.aggregation.summary import summary_page
from openfl.core.contribution import Evaluation, GroupCard
from openfl.simulation.attacks import ATTACKS
from openfl.simulation.engine import Engine
from openfl.simulation.member import Hostility, SimulatedMember
from openfl.simulation.population import Population
from openfl.simulation.records import RoundRecord
from openfl.simulation.run import load_population, make_members
from openfl.simulation.scenario import (
    DataSection,
    GroupsSection,
    NetworkSection,
    RunSection,
    Scenario,
    SwitchingSection,
)
from openfl.simulation.switch_driver import SimulatedSwitching
from openfl.storage.membership import SavedMembership
from openfl.wire import messages as wire

LURE = "lure"
HONEST_UNTIL, TURNS_AT = 4, 7


@dataclass(frozen=True)
class Run:
    engine: Engine
    driver: SimulatedSwitching
    population: Population


def tempting(card: GroupCard) -> GroupCard:
    """What hostile members tell of their group: 500 members and a perfect fit."""
    return replace(card, members=500, fit_metric="rmse", fit_best=0.0, fit_median=0.0)


@dataclass
class ShopWindow:
    """Hostile members were honest once. Whoever asks for a snapshot gets the model of then; those
    who have joined hear noise."""

    members: list[SimulatedMember]
    summaries_alone: bool = False
    """Of what is signed, the true one is shown."""
    model: Replica | None = None

    def dress(self, record: RoundRecord) -> None:
        if record.round == HONEST_UNTIL:
            liar = next(m for m in self.members if not m.honest)
            saved = SavedMembership.of(liar.running.replica, 1, 1, (), {}, 0.0)
            self.model, _ = saved.rebuild(liar.sealer, ReplicaLimits(), 0.0)

    def answer(self, protocol: str, payload: bytes, now: float) -> bytes | None:
        if self.model is None:
            return None
        if protocol == wire.SUMMARY_PROTOCOL:
            asked = wire.decode_summary_request(payload)
            rows = summary_page(self.model.view(), asked.max_bytes, asked.cursor)
            members = self.model.member_count
            return wire.encode_summary_answer(
                wire.SummaryAnswer(members, rows.blocks, rows.cursor, self.model.digest())
            )
        if protocol != wire.SNAPSHOT_PROTOCOL or self.summaries_alone:
            return None
        request = wire.decode_snapshot_request(payload)
        page = self.model.page(request.known, now, request.max_bytes, request.cursor)
        return wire.encode_answer(wire.ItemsAnswer.of_page(page, self.model.digest()))


def run(
    from_round: int, rounds: int, *, shop_window: bool = False, summaries_alone: bool = False
) -> Run:
    """Twelve nodes of two tastes. Six of the first taste are hostile, in a group of their own; all
    others are in one group. from_round: of their own, when hostile ones turn to noise. shop_window:
    they show strangers the model of before, and nobody looks around until they have turned;
    summaries_alone: but not in snapshots."""
    seed = 1
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
        of_kind={"task.factors": 2},
        network=NetworkSection(wire="once", loss=0.1),
        groups=GroupsSection(count=2, switching=True, founding=False),
        switching=SwitchingSection(warm_up_rounds=TURNS_AT + 2 if shop_window else 2),
    )
    order = [0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]  # three of each taste, then the others
    dealt = load_population(scenario, Path)
    population = replace(
        dealt,
        workloads=[dealt.workloads[n] for n in order],
        communities=[dealt.communities[n] for n in order],
    )
    home, lure = (population.found(name) for name in ("home", LURE))
    bad = {6, 7, 8}
    charters = [lure if n in bad else home for n in range(12)]
    members = make_members(scenario, population, charters)
    window = ShopWindow(members, summaries_alone)
    for member in members:
        if member.index in bad:
            rng = np.random.default_rng([seed, member.index])
            member.hostility = Hostility(
                ATTACKS["noise"], 10.0, from_round, {}, rng, window.answer, tempting
            )
    central = {n: Evaluation("rmse", 1.0, 0.0, 1) for n in range(12)}  # not looked at
    driver = SimulatedSwitching(population)
    show = window.dress if shop_window else lambda record: None
    engine = Engine(scenario, members, central, show, driver=driver)
    engine.run()
    return Run(engine, driver, population)


def moves_to(run: Run, name: str) -> list[tuple[int, int]]:
    """(round interval, node)"""
    return [(m.round, m.node) for m in run.engine.state.moves if m.entered == name]


def test_tempting_cards_attract_nobody_when_the_model_is_bad() -> None:
    done = run(0, rounds=9)
    assert moves_to(done, LURE) == []
    lure = done.engine.members[6].charter.group_id
    looked = [n for n in done.driver.nodes if lure in n.chooser.selector.findings]
    assert len(looked) >= 8, "honest nodes did look at it"


def test_the_same_group_attracts_its_own_kind_when_it_is_honest() -> None:
    done = run(10_000, rounds=9)
    drawn = {index for _, index in moves_to(done, LURE)}
    assert drawn
    assert {done.population.community_of(index) for index in drawn} == {0}


def test_a_group_that_shows_strangers_another_model_than_members_is_left_and_not_believed() -> None:
    done = run(TURNS_AT, rounds=17, shop_window=True)
    victims = {index for _, index in moves_to(done, LURE)}
    assert victims, "somebody was deceived, else this test shows nothing"
    for victim in victims:
        own = [(m.round, m.entered) for m in done.engine.state.moves if m.node == victim]
        (came, _), *rest = own
        assert rest, "left again"
        assert rest[0][0] - came <= 3
        assert [to for _, to in own].count(LURE) == 1, "not believed again"
        assert done.driver.nodes[victim].chooser.selector.is_distrusted(
            done.engine.members[6].charter.group_id
        )


def test_a_summary_that_promises_what_no_member_signed_moves_nobody() -> None:
    done = run(TURNS_AT, rounds=12, shop_window=True, summaries_alone=True)
    assert moves_to(done, LURE) == []
    lure = done.engine.members[6].charter.group_id
    seen = [n.chooser.selector.findings.get(lure) for n in done.driver.nodes]
    assert any(f is not None and f.signed for f in seen), "it was promising enough to be fetched"
