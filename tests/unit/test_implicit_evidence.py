"""How a node of plays ranks its own, each left out in turn, against leaving it out and fitting
anew."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.core.contribution import Contribution, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.alone import AloneByFolds, FoldsOwn
from openfl.learning.central import merge
from openfl.learning.comparison import PairedTask, compare, compare_held_out, gain_of
from openfl.learning.factorization.item_rows import item_keys
from openfl.learning.factorization.ratings import Ratings
from openfl.learning.group_comparison import TaughtTask
from openfl.learning.implicit import evidence
from openfl.learning.implicit.charter import ITEMS, implicit_charter
from openfl.learning.implicit.task import ImplicitFactorization
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.splitting import Split, split_ratings
from tests.implicit_rig import all_for_training, some_plays

GROUP = implicit_charter("plays", factors=4, prior=0.5, prior_per_evidence=0.3, plays_limit=3.0)


def task_of(plays: Ratings, split: Split | None = None) -> ImplicitFactorization:
    return ImplicitFactorization.from_charter(GROUP, plays, split)


def taught(plays: Ratings, rounds: int = 4) -> DenseModel:
    """What others learn, of whom the judge is none."""
    task = task_of(plays, all_for_training(plays))
    model = DenseModel.empty(GROUP)
    for _ in range(rounds):
        model = merge(GROUP, [task.local_step(model, np.random.default_rng(0))])
    return model


OTHERS = taught(some_plays(users=25, songs=16, seed=5))
"""It does not know the judges' songs s16 and beyond."""


def expected_loss(
    task: ImplicitFactorization,
    model: DenseModel,
    user: int,
    key: int,
    fitted_to: dict[int, float],
    others: set[int],
) -> float:
    """Of one play by one user, who is fitted to `fitted_to` (key -> strength) and played `others`
    as well, written down as plainly as possible."""
    parameters = task.parameters
    known = model.keys(ITEMS)
    rows = {int(k): r for k, r in zip(known, model.rows(ITEMS, known).astype(float), strict=True)}
    if key not in rows:
        return 1.0
    a = parameters.ridge(np.array([sum(fitted_to.values())]))[0] * np.eye(parameters.factors)
    a += sum(np.outer(q, q) for q in rows.values())
    b = np.zeros(parameters.factors)
    for at, strength in fitted_to.items():
        if at in rows:
            a += parameters.alpha * strength * np.outer(rows[at], rows[at])
            b += (1 + parameters.alpha * strength) * rows[at]
    p = np.linalg.solve(a, b)
    scores = {k: p @ q for k, q in rows.items() if k == key or k not in others}
    rank = 1 + sum((s, -k) > (scores[key], -key) for k, s in scores.items())
    return 1 - 1 / math.log2(1 + rank)


def strengths(plays: Ratings, positions: np.ndarray) -> list[dict[int, float]]:
    """For each user: key -> how often played, at most the limit a row."""
    found: list[dict[int, float]] = [{} for _ in plays.users]
    keys = item_keys(plays.songs, 40)
    for n in positions:
        of = found[plays.user_index[n]]
        key = int(keys[plays.song_index[n]])
        of[key] = of.get(key, 0.0) + min(float(plays.values[n]), 3.0)
    return found


def test_the_task_offers_what_is_asked_for() -> None:
    task = task_of(some_plays())
    assert isinstance(task, PairedTask)
    assert isinstance(task, JudgesByOwn)
    assert not isinstance(task, TaughtTask), "all own examples have spoken already"
    assert isinstance(task, FoldsOwn)
    assert task.metric_power == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_each_own_play_is_ranked_as_if_it_alone_had_been_left_out(seed: int) -> None:
    plays = some_plays(users=6, songs=20, seed=seed)
    split = split_ratings(plays, 0.2, 0.2)
    task = task_of(plays, split)
    own = task.own_losses(OTHERS)
    train, held = strengths(plays, split.train), strengths(plays, split.validation)
    expected, people = [], []
    for user, of in enumerate(train):
        for key in sorted(of):
            without = {k: s for k, s in of.items() if k != key}
            expected.append(
                expected_loss(task, OTHERS, user, key, without, {*without, *held[user]})
            )
            people.append(user)
    for user, of in enumerate(held):
        for key in sorted(of):
            others = {*train[user], *of} - {key}
            expected.append(expected_loss(task, OTHERS, user, key, train[user], others))
            people.append(user)
    assert len(split.validation) > 0
    assert own.people.tolist() == people
    assert np.allclose(own.losses, expected, atol=1e-9)
    assert 1.0 in expected, "an item that the model does not know is missed"
    assert min(expected) == 0.0
    assert len(set(expected)) > 5


@pytest.mark.parametrize("split_name", ["validation", "test"])
def test_held_out_plays_are_ranked_by_the_fit_to_the_training_plays(split_name: str) -> None:
    plays = some_plays(users=6, songs=20, seed=1)
    split = split_ratings(plays, 0.2, 0.2)
    task = task_of(plays, split)
    train, held = strengths(plays, split.train), strengths(plays, split.positions(split_name))
    earlier = strengths(plays, split.validation)
    expected = [
        expected_loss(
            task,
            OTHERS,
            user,
            key,
            train[user],
            {*train[user], *of, *(earlier[user] if split_name == "test" else ())} - {key},
        )
        for user, of in enumerate(held)
        for key in sorted(of)
    ]
    assert len(expected) > 5
    assert np.allclose(task.held_out_losses(OTHERS, split_name), expected, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 100.0), st.integers(1, 3))
def test_leaving_out_is_exact_whatever_the_rows(seed: int, scale: float, users: int) -> None:
    rng = np.random.default_rng(seed)
    plays = some_plays(users=users, songs=8, seed=seed)
    task = task_of(plays, all_for_training(plays))
    keys = np.unique(item_keys(plays.songs, 40))
    block = RowBlock(
        ITEMS,
        keys,
        rng.uniform(-scale, scale, (len(keys), 4)).astype(np.float32),
        np.ones(len(keys), dtype=np.float32),
        np.ones(4, dtype=np.float32),
    )
    model = merge(GROUP, [Contribution((block,))])
    own = task.own_losses(model)
    train = strengths(plays, np.arange(len(plays)))
    expected = [
        expected_loss(task, model, user, key, {k: s for k, s in of.items() if k != key}, {*of})
        for user, of in enumerate(train)
        for key in sorted(of)
    ]
    assert np.allclose(own.losses, expected, atol=1e-9)


def test_losses_do_not_depend_on_how_many_are_worked_out_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of(some_plays(users=9, seed=2))
    whole = task.own_losses(OTHERS)
    for cells in (1, 50, 1000):
        monkeypatch.setattr(evidence, "BLOCK_CELLS", cells)
        assert np.allclose(task.own_losses(OTHERS).losses, whole.losses, rtol=1e-12)
    monkeypatch.setattr(evidence, "MAX_OWN", 10)
    some = task.own_losses(OTHERS)
    step = -(-len(whole.losses) // 10)
    assert len(some.losses) <= 10
    assert np.array_equal(some.losses, whole.losses[::step])
    assert np.array_equal(some.people, whole.people[::step])


def test_own_plays_are_the_same_and_in_the_same_order_under_every_model() -> None:
    task = task_of(some_plays(users=9, seed=2))
    nothing, something = task.own_losses(DenseModel.empty(GROUP)), task.own_losses(OTHERS)
    assert nothing.people.tolist() == something.people.tolist()
    assert set(nothing.losses) == {1.0}
    assert something.losses.mean() < 0.9
    assert ((something.losses >= 0) & (something.losses <= 1)).all()


def test_a_better_model_has_lower_losses() -> None:
    plays = some_plays(users=9, songs=16, seed=2)
    bad = taught(some_plays(users=25, songs=16, seed=5, kinds=8))
    task = task_of(plays)
    assert task.own_losses(OTHERS).losses.mean() < task.own_losses(bad).losses.mean() - 0.05


def test_one_listener_with_one_play() -> None:
    plays = some_plays(users=1, songs=1)
    task = task_of(plays, all_for_training(plays))
    own = task.own_losses(OTHERS)
    # Without any play the fit is 0: all items score the same, and the smaller columns come first.
    place = np.searchsorted(OTHERS.keys(ITEMS), item_keys(["s0"], 40))[0]
    assert own.losses.tolist() == [1 - 1 / math.log2(2 + place)]
    assert own.people.tolist() == [0]
    assert len(task.held_out_losses(OTHERS)) == 0


def test_a_listener_whose_plays_are_all_held_back_is_judged_by_them() -> None:
    plays = some_plays(users=2, songs=16, seed=3)
    of_first = np.flatnonzero(plays.user_index == 0)
    of_second = np.flatnonzero(plays.user_index == 1)
    split = Split(of_first, of_second, np.zeros(0, dtype=np.intp))
    own = task_of(plays, split).own_losses(OTHERS)
    assert own.people.tolist() == [0] * len(of_first) + [1] * len(of_second)
    assert np.isfinite(own.losses).all()


def test_two_songs_of_one_key_are_one_play(monkeypatch: pytest.MonkeyPatch) -> None:
    plays = some_plays(users=3, songs=16, seed=4)
    first, second = plays.songs[:2]
    real = item_keys

    def alike(ids, key_bits: int = 40) -> np.ndarray:
        return real([first if name == second else name for name in ids], key_bits)

    monkeypatch.setattr("openfl.learning.implicit.task.item_keys", alike)
    both = [
        n
        for n in np.flatnonzero(plays.user_index == 0)
        if plays.songs[plays.song_index[n]] in (first, second)
    ]
    everything = np.arange(len(plays))
    nothing = np.zeros(0, dtype=np.intp)
    together = task_of(plays, Split(everything, nothing, nothing)).own_losses(OTHERS)
    pairs = {
        (int(u), alike([plays.songs[s]])[0])
        for u, s in zip(plays.user_index, plays.song_index, strict=True)
    }
    assert len(together.losses) == len(pairs)
    if len(both) == 2:
        split = Split(np.setdiff1d(everything, both[1:]), np.array(both[1:]), nothing)
        apart = task_of(plays, split)
        assert len(apart.own_losses(OTHERS).losses) == len(pairs), "seen already: not held back"
        assert len(apart.held_out_losses(OTHERS)) == 0


def test_two_models_are_compared_in_pairs_of_plays_even_for_one_listener() -> None:
    plays = some_plays(users=1, songs=16, seed=7)
    plays = replace(plays, values=np.ones_like(plays.values))
    split = split_ratings(plays, 0.4, 0.1)
    task = task_of(plays, split)
    other = taught(some_plays(users=25, songs=16, seed=6, kinds=8))
    held = compare_held_out(task, OTHERS, other)
    assert held is not None
    assert len(task.held_out_losses(OTHERS)) == len(split.validation) > 1
    assert held.standard_error != abs(held.gain), "more than one example speaks"
    found = compare(task, OTHERS, other)
    assert found is not None
    before, after = (task.own_losses(m).losses for m in (OTHERS, other))
    assert found.count == len(before) == len(split.train) + len(split.validation)
    assert found.gain == pytest.approx(gain_of(before.mean(), after.mean()))
    assert 0 < found.standard_error < 1


def test_plays_are_cut_to_judge_training_alone() -> None:
    plays = some_plays(users=4, songs=16, seed=3)
    split = split_ratings(plays, 0.1, 0.1)
    task = task_of(plays, split)
    folds = [task.fold(number, 4) for number in range(4)]
    held = np.sort(np.concatenate([fold._split.validation for fold in folds]))
    assert np.array_equal(held, np.sort(np.concatenate((split.train, split.validation))))
    found = AloneByFolds(task, np.random.default_rng(0)).gain_of(OTHERS)
    assert found is not None
    assert found.count == len(held)
    assert found.gain > 0, "many others know more than four listeners"
