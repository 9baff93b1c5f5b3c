"""The implicit task against its objective written down densely."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from openfl.aggregation.quantize import quantize
from openfl.core.contribution import Contribution, RowBlock
from openfl.core.errors import DataError, GroupError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.learning.central import merge, train_alone
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.implicit.charter import ITEMS, LISTENERS, ONLY_ROW, PLAYS, implicit_charter
from openfl.learning.implicit.task import METRIC, ImplicitFactorization
from openfl.learning.rating.charter import rating_charter
from openfl.learning.splitting import Split, split_ratings
from tests.implicit_rig import Dense, all_for_training, some_plays, tasks_of

GROUP = implicit_charter("plays", factors=3, prior=1.0, plays_limit=4.0)


def step(task: ImplicitFactorization, model: DenseModel) -> Contribution:
    return task.local_step(model, np.random.default_rng(0))


def block(contribution: Contribution, table: str) -> RowBlock:
    return next(b for b in contribution.blocks if b.table == table)


def learned(task: ImplicitFactorization, rounds: int) -> DenseModel:
    model = DenseModel.empty(task.charter)
    for _ in range(rounds):
        model = merge(task.charter, [step(task, model)])
    return model


def alone(plays: Ratings, group=GROUP) -> ImplicitFactorization:
    return ImplicitFactorization.from_charter(group, plays, all_for_training(plays))


# --- the step -------------------------------------------------------------------------------------


def test_listeners_are_the_exact_minimum_given_the_songs() -> None:
    plays = some_plays()
    task, dense = alone(plays), Dense(GROUP, plays)
    model = learned(task, 3)
    step(task, model)
    users = task.private_state()["user_factors"]
    assert users == pytest.approx(dense.fit(dense.rows(model)), abs=1e-5)


def test_counts_beyond_the_limit_say_nothing_more() -> None:
    plays = some_plays()
    louder = dataclasses.replace(
        plays, values=np.where(plays.values >= 4, 1000, plays.values).astype(np.float32)
    )
    quieter = dataclasses.replace(plays, values=np.maximum(plays.values / 2, 1).astype(np.float32))
    rows = [
        block(step(alone(p), DenseModel.empty(GROUP)), ITEMS).values
        for p in (plays, louder, quieter)
    ]
    assert np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])


def test_one_member_alone_reaches_the_minimum_of_exact_alternation() -> None:
    plays = some_plays(users=40, songs=25)
    task, dense = alone(plays), Dense(GROUP, plays)
    model = DenseModel.empty(GROUP)
    songs = model.rows(ITEMS, dense.keys).astype(float)
    for _ in range(300):
        model = merge(GROUP, [step(task, model)])
        songs = dense.fit(dense.fit(songs), by_song=True)
    users = dense.fit(dense.rows(model))
    reached, best = dense.loss(users, dense.rows(model)), dense.loss(dense.fit(songs), songs)
    assert reached == pytest.approx(best, rel=1e-4)
    assert np.abs(dense.gradient(users, dense.rows(model))).max() < 1e-3


def test_ten_rounds_suffice_for_most_of_the_way() -> None:
    plays = some_plays(users=60, songs=40)
    dense = Dense(GROUP, plays)
    start, songs = learned(alone(plays), 1), learned(alone(plays), 200)

    def loss(model: DenseModel) -> float:
        return dense.loss(dense.fit(dense.rows(model)), dense.rows(model))

    after_ten = loss(learned(alone(plays), 10))
    assert after_ten - loss(songs) < 0.05 * (loss(start) - loss(songs))


def test_what_is_published_fits_the_charter_and_names_only_played_songs() -> None:
    plays = some_plays(users=4, songs=60)
    task = alone(plays)
    contribution = step(task, DenseModel.empty(GROUP))
    items = block(contribution, ITEMS)
    played = np.unique(item_keys(tuple(plays.songs[n] for n in set(plays.song_index)), 40))
    assert np.array_equal(items.keys, played)
    assert items.evidence.sum() == np.minimum(plays.values, 4).sum()
    for b in contribution.blocks:
        schema = GROUP.table(b.table)
        assert b.values.shape == (len(b), schema.width)
        assert np.isfinite(b.values).all()
        quantize(b, schema, np.random.default_rng(0))
    assert block(contribution, LISTENERS).evidence == [4]
    assert block(contribution, PLAYS).evidence == [np.minimum(plays.values, 4).sum()]


def test_the_gram_is_the_mean_over_listeners_and_its_table_sums_over_members() -> None:
    plays = some_plays(users=9)
    parts = tasks_of(GROUP, plays, [n % 4 for n in range(9)])
    model = merge(GROUP, [step(task, DenseModel.empty(GROUP)) for task in parts])
    users = np.concatenate([task.private_state()["user_factors"] for task in parts]).astype(float)
    upper = np.triu_indices(3)
    total = model.rows(LISTENERS, ONLY_ROW)[0] * model.evidence(LISTENERS, ONLY_ROW)[0]
    assert total == pytest.approx((users.T @ users)[upper], rel=1e-4, abs=1e-5)


def test_a_hostile_gram_does_not_break_the_step() -> None:
    task = alone(some_plays())
    model = learned(task, 2)
    upside_down = {
        table: DenseTable(
            ONLY_ROW.copy(),
            np.full((1, GROUP.table(table).width), -1000, np.float32),
            np.array([1e6]),
        )
        for table in (LISTENERS, PLAYS)
    }
    tables = {**model.tables, **upside_down}
    items = block(step(task, DenseModel(GROUP, tables)), ITEMS)
    assert np.isfinite(items.values).all()
    assert np.abs(items.values).max() <= GROUP.table(ITEMS).value_limit


def test_songs_with_few_listeners_and_members_with_few_are_kept_back_on_request() -> None:
    plays = some_plays(users=6, songs=40)
    listeners = np.bincount(plays.song_index)
    (task,) = tasks_of(GROUP, plays, [0] * 6, min_row_evidence=3)
    items = block(step(task, DenseModel.empty(GROUP)), ITEMS)
    assert len(items) == (listeners >= 3).sum() < (listeners >= 1).sum()
    (lonely,) = tasks_of(GROUP, plays.only_users(lambda user: user == "u1"), [0], 2)
    assert step(lonely, DenseModel.empty(GROUP)).blocks == ()


def test_a_song_nobody_here_played_is_not_published_but_is_learned_of() -> None:
    """The Gram of the others reaches it through those who played it."""
    plays = some_plays(users=12)
    both = tasks_of(GROUP, plays, [n % 2 for n in range(12)])
    model = DenseModel.empty(GROUP)
    for _ in range(3):
        model = merge(GROUP, [step(task, model) for task in both])
    strangers = some_plays(users=30, songs=20, seed=5)
    strangers = dataclasses.replace(strangers, songs=tuple(f"other{n}" for n in range(20)))
    before = block(step(both[0], model), ITEMS).values
    third = alone(strangers)
    with_third = merge(
        GROUP, [*(step(task, model) for task in both), step(third, DenseModel.empty(GROUP))]
    )
    moved = block(step(both[0], with_third), ITEMS)
    assert not set(moved.keys) & set(item_keys(strangers.songs, 40))
    # More people who did not play a song pull its row towards zero.
    assert np.linalg.norm(moved.values) < np.linalg.norm(before)


# --- evaluation -----------------------------------------------------------------------------------


def test_evaluation_is_one_minus_ndcg_by_hand() -> None:
    plays = some_plays(users=20, songs=30)
    split = split_ratings(plays, 0.2, 0.2)
    task = ImplicitFactorization.from_charter(GROUP, plays, split)
    model = learned(task, 5)
    known = model.keys(ITEMS)
    rows = model.rows(ITEMS, known).astype(float)
    step(task, model)
    users = task.private_state()["user_factors"].astype(float)
    keys = item_keys(plays.songs, 40)[plays.song_index]
    gains = []
    for user in range(20):
        of_user = plays.user_index == user
        test = {int(k) for k in keys[split.test][of_user[split.test]]}
        earlier = np.concatenate([split.train, split.validation])
        seen = {int(k) for k in keys[earlier][of_user[earlier]]}
        if not test:
            continue
        order = [int(known[n]) for n in np.argsort(-(rows @ users[user]))]
        offered = [key for key in order if key not in seen][:10]
        gain = sum(1 / math.log2(n + 2) for n, key in enumerate(offered) if key in test)
        gains.append(gain / sum(1 / math.log2(n + 2) for n in range(min(10, len(test)))))
    result = task.evaluate(model, "test")
    assert (result.metric, result.count) == (METRIC, len(gains))
    assert result.value == pytest.approx(1 - np.mean(gains), abs=1e-6)
    assert result.standard_error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(len(gains)))


def test_a_model_that_knows_nothing_finds_nothing() -> None:
    plays = some_plays()
    task = ImplicitFactorization.from_charter(GROUP, plays)
    assert task.evaluate(DenseModel.empty(GROUP)).value == 1.0


def test_without_held_out_plays_there_is_no_figure() -> None:
    plays = some_plays()
    task = ImplicitFactorization.from_charter(GROUP, plays, all_for_training(plays))
    result = task.evaluate(DenseModel.empty(GROUP))
    assert result.count == 0
    assert math.isnan(result.value)


def test_learning_ranks_far_better_than_nothing_learned() -> None:
    plays = some_plays(users=60, songs=40)
    task = ImplicitFactorization.from_charter(GROUP, plays)
    found = train_alone(task, np.random.default_rng(0), max_rounds=10)
    random = merge(
        GROUP,
        [
            step(
                ImplicitFactorization.from_charter(GROUP, some_plays(seed=9)),
                DenseModel.empty(GROUP),
            )
        ],
    )
    assert found.validation.value < task.evaluate(random).value - 0.1


def test_only_known_splits_can_be_measured() -> None:
    task = ImplicitFactorization.from_charter(GROUP, some_plays())
    with pytest.raises(ValueError, match="split"):
        task.evaluate(DenseModel.empty(GROUP), "train")


# --- state and refusals ---------------------------------------------------------------------------


def test_private_state_comes_back_and_only_to_its_listeners() -> None:
    plays = some_plays()
    task = alone(plays)
    step(task, DenseModel.empty(GROUP))
    state = task.private_state()
    again = alone(plays)
    again.restore(state)
    assert np.array_equal(again.private_state()["user_factors"], state["user_factors"])
    others = alone(dataclasses.replace(plays, users=tuple(f"x{u}" for u in plays.users)))
    with pytest.raises(ValueError, match="not of these users"):
        others.restore(state)
    with pytest.raises(ValueError, match="lacks"):
        again.restore({})
    with pytest.raises(ValueError, match="not finite"):
        again.restore({**state, "user_factors": state["user_factors"] * np.nan})


def test_no_listener_leaves_the_node_but_in_sums() -> None:
    """With two listeners the Gram is a sum; neither of their vectors is anywhere in the message."""
    (task,) = tasks_of(GROUP, some_plays(users=2), [0, 0])
    contribution = step(task, DenseModel.empty(GROUP))
    for vector in task.private_state()["user_factors"]:
        for b in contribution.blocks:
            assert not any(np.allclose(vector, row[:3], atol=1e-4) for row in b.values)


def test_a_charter_of_ratings_and_data_without_training_are_refused() -> None:
    plays = some_plays()
    with pytest.raises(GroupError, match="learns"):
        ImplicitFactorization.from_charter(rating_charter("x"), plays)
    nothing = np.empty(0, dtype=np.intp)
    with pytest.raises(DataError, match="no play is left"):
        ImplicitFactorization.from_charter(
            GROUP, plays, Split(nothing, np.arange(len(plays)), nothing)
        )
