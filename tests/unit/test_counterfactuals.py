"""Models that differ by one member, against replicas that really lack it; and views by rule."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from openfl.aggregation.counterfactuals import JointCounterfactuals, MemberCounterfactuals
from openfl.aggregation.delta import Delta
from openfl.aggregation.quantize import quantize
from openfl.aggregation.replica import Replica
from openfl.aggregation.rules import RULES
from openfl.core.contribution import Charter, ModelView, PeerId, RowBlock, TableSchema
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.rating.charter import ITEMS, MEAN, rating_charter
from openfl.learning.rating.task import MatrixFactorization
from openfl.learning.splitting import split_ratings

ITEMS_TABLE = TableSchema("items", 3, (2.0, 2.0, 1.0), (0.1, 0.1, 0.0), (0.3, 0.3, 0.0), "float32")
MEAN_TABLE = TableSchema("mean", 1, (0.0,), (0.0,), (0.0,), "float32")
CHARTER = Charter("w", "rating", (ITEMS_TABLE, MEAN_TABLE), {}, seed=3)
PEERS = [PeerId(f"peer{n}") for n in range(5)]


def block(table: TableSchema, rng: np.random.Generator, rows: int) -> RowBlock:
    keys = np.sort(rng.choice(30 if rows > 1 else 1, rows, replace=False)).astype(np.uint64)
    return RowBlock(
        table.name,
        keys,
        rng.normal(size=(rows, table.width)).astype(np.float32),
        rng.integers(1, 9, rows).astype(np.float32),
        rng.uniform(0.1, 2.0, table.width).astype(np.float32),
    )


def merge(replica: Replica, author: PeerId, blocks: tuple[RowBlock, ...], seqno: int = 1) -> None:
    rng = np.random.default_rng(0)
    schemas = {t.name: t for t in replica.charter.tables}
    delta = Delta(
        replica.charter.group_id,
        1,
        seqno,
        1,
        10,
        None,
        tuple(quantize(b, schemas[b.table], rng) for b in blocks),
        hashlib.sha256(f"{author}{seqno}".encode()).digest(),
    )
    assert replica.merge(author, delta, b"envelope", 0.0).rows_changed


def replica_of(charter: Charter = CHARTER, seed: int = 0) -> Replica:
    replica = Replica(charter)
    for n, author in enumerate(PEERS):
        rng = np.random.default_rng([seed, n])
        merge(replica, author, (block(ITEMS_TABLE, rng, 12), block(MEAN_TABLE, rng, 1)))
    return replica


def counterfactuals(
    replica: Replica, sums, members: list[PeerId], sign: int
) -> MemberCounterfactuals:
    stacks = {t.name: replica.member_stack(members, t.name) for t in replica.charter.tables}
    return MemberCounterfactuals(replica.charter, sums, stacks, sign)


def learned(model: ModelView, table: str, keys) -> np.ndarray:
    """Rows as predictions use them: 0 without evidence."""
    return np.where(model.evidence(table, keys)[:, None] > 0, model.rows(table, keys), 0.0)


def compare(
    replica: Replica,
    found: MemberCounterfactuals | JointCounterfactuals,
    base: ModelView,
    others: list[ModelView],
):
    """Each counterfactual against a model that was made without them."""
    for table in replica.charter.tables:
        keys = np.arange(30, dtype=np.uint64)
        changed = found.changed(table.name, keys)
        assert (np.diff(changed.counterfactual) >= 0).all()
        before = learned(base, table.name, keys)
        for number, other in enumerate(others):
            here = changed.counterfactual == number
            row = changed.row[here]
            after = before.copy()
            after[row] += changed.change[here]
            assert np.allclose(after, learned(other, table.name, keys), atol=3e-6)
            evidence = other.evidence(table.name, keys)
            assert np.array_equal(changed.evidence[here], evidence[row])
    assert len(found.changed("items", keys).row) > 5, "nothing was compared"


@pytest.mark.parametrize("seed", range(4))
def test_the_counterfactual_without_a_member_is_the_replica_that_never_heard_of_it(
    seed: int,
) -> None:
    replica = replica_of(seed=seed)
    me, others = PEERS[0], PEERS[2:]
    sums = replica.sums_without([me])
    compare(
        replica,
        counterfactuals(replica, sums, others, -1),
        replica.model_of(sums),
        [replica.view_without([me, other]) for other in others],
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_counterfactual_with_an_outsider_is_the_replica_that_has_it(seed: int) -> None:
    replica = replica_of(seed=seed)
    me, others = PEERS[0], PEERS[2:]
    out = [me, *others]
    sums = replica.sums_without(out)
    compare(
        replica,
        counterfactuals(replica, sums, others, +1),
        replica.model_of(sums),
        [replica.view_without([p for p in out if p != other]) for other in others],
    )


WHO = [[True, False, True], [False, False, True], [True, True, True]]


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("seed", range(4))
def test_several_that_go_or_come_leave_the_replica_without_or_with_all_of_them(
    seed: int, sign: int
) -> None:
    replica = replica_of(seed=seed)
    me, others = PEERS[0], PEERS[2:]
    out = [me] if sign < 0 else [me, *others]
    moved = [[p for p, moves in zip(others, who, strict=True) if moves] for who in WHO]
    sums = replica.sums_without(out)
    stacks = {t.name: replica.member_stack(others, t.name) for t in replica.charter.tables}
    compare(
        replica,
        JointCounterfactuals(replica.charter, sums, stacks, np.array(WHO), sign),
        replica.model_of(sums),
        [
            replica.view_without([me, *some] if sign < 0 else [p for p in out if p not in some])
            for some in moved
        ],
    )


def test_where_nobody_has_rows_nobody_changes_any() -> None:
    replica = replica_of()
    stacks = {t.name: replica.member_stack(PEERS[:2], t.name) for t in replica.charter.tables}
    found = JointCounterfactuals(
        replica.charter, replica.sums_without([]), stacks, np.ones((1, 2), dtype=np.bool_), -1
    ).changed("items", np.array([777], dtype=np.uint64))
    assert not len(found.row)
    assert found.change.shape == (0, 3)


def test_a_row_that_only_the_member_has_is_nothing_without_it() -> None:
    replica = Replica(CHARTER)
    rng = np.random.default_rng(0)
    merge(replica, PEERS[0], (block(ITEMS_TABLE, rng, 5), block(MEAN_TABLE, rng, 1)))
    found = counterfactuals(replica, replica.sums_without([]), PEERS[:1], -1)
    keys = replica.view().keys(ITEMS)
    changed = found.changed(ITEMS, keys)
    assert not changed.evidence.any()
    assert np.allclose(changed.change, -replica.view().rows(ITEMS, keys[changed.row]), atol=1e-6)


def test_a_huge_claim_leaves_no_rounding_behind_when_it_goes() -> None:
    replica = replica_of()
    rng = np.random.default_rng(5)
    heavy = block(ITEMS_TABLE, rng, 12)
    liar = PeerId("liar")
    merge(replica, liar, (replace(heavy, evidence=np.full(12, 1e6, dtype=np.float32)),))
    found = counterfactuals(replica, replica.sums_without([]), [liar], -1)
    keys = np.arange(30, dtype=np.uint64)
    changed = found.changed(ITEMS, keys)
    after = learned(replica.view(), ITEMS, keys)[changed.row] + changed.change
    honest = learned(replica.view_without([liar]), ITEMS, keys)[changed.row]
    assert np.allclose(after, honest, atol=0.05)
    assert np.abs(changed.change).max() > 0.2


def test_a_part_of_a_stack_is_the_stack_of_those_members() -> None:
    replica = replica_of()
    whole = replica.member_stack(PEERS, ITEMS)
    for chosen, found in ((PEERS[1:3], whole.part(1, 3)), (PEERS[::2], whole.only([0, 2, 4]))):
        expected = replica.member_stack(chosen, ITEMS)
        assert all(
            np.array_equal(getattr(found, name), getattr(expected, name))
            for name in ("keys", "values", "precision", "evidence", "counts")
        )
    rows = replica.member_rows(PEERS[1], ITEMS)
    one = whole.part(1, 2)
    assert np.array_equal(one.values, rows.values)
    assert np.allclose(one.precision, rows.precision)
    assert replica.member_stack([PeerId("nobody")], ITEMS).counts.tolist() == [0]


# --- what one counterfactual's difference does to a node's ratings --------------------------------


def some_ratings(seed: int, users: int = 9, songs: int = 20) -> Ratings:
    draw = np.random.default_rng(seed)
    user, song = np.nonzero(draw.random((users, songs)) < 0.7)
    taste = draw.normal(size=(users, 2)) @ np.random.default_rng(99).normal(size=(2, songs))
    values = np.clip(np.round((3 + taste[user, song]) * 2), 1, 10) / 2
    return Ratings(
        tuple(f"u{seed}-{n}" for n in range(users)),
        tuple(f"s{n}" for n in range(songs)),
        user.astype(np.int32),
        song.astype(np.int32),
        values.astype(np.float32),
        (0.5, 5.0),
    )


def group_of_tasks() -> tuple[Replica, list[MatrixFactorization]]:
    charter = rating_charter("w", factors=2, user_prior=0.0)
    replica = Replica(charter)
    tasks = []
    for n, peer in enumerate(PEERS):
        ratings = some_ratings(n)
        task = MatrixFactorization.from_charter(charter, ratings, split_ratings(ratings))
        tasks.append(task)
        for seqno in (1, 2):
            step = task.local_step(replica.view(), np.random.default_rng(0))
            merge(replica, peer, step.blocks, seqno)
    return replica, tasks


def test_loss_changes_are_those_of_predicting_by_the_other_model() -> None:
    replica, tasks = group_of_tasks()
    judge, me, other = tasks[0], PEERS[0], PEERS[2]
    sums = replica.sums_without([me])
    model = replica.model_of(sums)
    (both,) = judge.loss_changes(model, [counterfactuals(replica, sums, [PEERS[1], other], -1)])
    found = both[:, 1]

    listeners = judge._fits.fit(judge._fitted_to(model))
    changed = replica.view_without([me, other])

    def squared_errors(view) -> np.ndarray:
        rows = view.rows(ITEMS, judge._keys).astype(float)
        errors = []
        train = judge._split.train
        for user, row, value in zip(
            judge.ratings.user_index[train], judge._rows[train], judge._values[train], strict=True
        ):
            p, bias = listeners[user, :-1], listeners[user, -1]
            predicted = judge._mean(view) + bias + p @ rows[row, :-1] + rows[row, -1]
            errors.append((value - predicted) ** 2)
        return np.array(errors)

    expected = squared_errors(changed) - squared_errors(model)
    assert np.allclose(np.sort(found), np.sort(expected), atol=1e-5)
    assert np.abs(expected).max() > 1e-3, "nothing was compared"


def test_a_counterfactual_without_differences_changes_no_loss() -> None:
    replica, tasks = group_of_tasks()
    nobody = [PeerId("nobody"), PeerId("nobody else")]
    (nothing,) = tasks[0].loss_changes(
        replica.view(), [counterfactuals(replica, replica.sums_without([]), nobody, -1)]
    )
    assert not nothing.any()
    assert nothing.shape == (tasks[0].train_examples, 2)


# --- views by rule --------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_makes_a_model_of_the_members_that_are_not_left_out(rule) -> None:
    replica = replica_of()
    whole = RULES[rule].view(replica, 0.2, ())
    assert whole.rows(ITEMS, whole.keys(ITEMS)).shape[1] == 3
    without = RULES[rule].view(replica, 0.2, [PEERS[1]])
    reduced = Replica(CHARTER)
    for n, author in enumerate(PEERS):
        if n != 1:
            rng = np.random.default_rng([0, n])
            merge(reduced, author, (block(ITEMS_TABLE, rng, 12), block(MEAN_TABLE, rng, 1)))
    expected = RULES[rule].view(reduced, 0.2, ())
    assert np.array_equal(without.keys(ITEMS), expected.keys(ITEMS))
    for table in (ITEMS, MEAN):
        keys = expected.keys(table)
        assert np.allclose(without.rows(table, keys), expected.rows(table, keys), atol=1e-6)


def test_a_rule_over_members_that_agree_is_the_mean() -> None:
    replica = Replica(CHARTER)
    rng = np.random.default_rng(1)
    same = (block(ITEMS_TABLE, rng, 12), block(MEAN_TABLE, rng, 1))
    for author in PEERS:
        merge(replica, author, same)
    keys = replica.view().keys(ITEMS)
    for rule in ("median", "trimmed-mean", "centred-clip"):
        found = RULES[rule].view(replica, 0.2, ()).rows(ITEMS, keys)
        assert np.allclose(found, replica.view().rows(ITEMS, keys), atol=1e-5), rule


def test_the_average_knows_neither_curvature_nor_prior() -> None:
    replica = Replica(CHARTER)
    values = {PEERS[0]: (1.0, 1.0, 5.0), PEERS[1]: (3.0, 2.0, 0.1)}
    for author, (evidence, value, curvature) in values.items():
        row = RowBlock(
            ITEMS,
            np.array([7], dtype=np.uint64),
            np.full((1, 3), value, dtype=np.float32),
            np.array([evidence], dtype=np.float32),
            np.full(3, curvature, dtype=np.float32),
        )
        merge(replica, author, (row,))
    found = RULES["average"].view(replica, 0.2, ()).rows(ITEMS, np.array([7], dtype=np.uint64))
    assert np.allclose(found, (1 * 1 + 3 * 2) / 4)
