"""What a node that classifies says of models and members by its own examples, against doing it one
by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl.core.contribution import Contribution, ModelView, PeerId, RowBlock
from openfl.core.model_view import DenseModel
from openfl.learning.alone import AloneByFolds, FoldsOwn
from openfl.learning.central import merge as merged
from openfl.learning.classification import scores
from openfl.learning.classification.charter import (
    CLASSES,
    FEATURE_KEYS,
    FEATURES,
    classification_charter,
)
from openfl.learning.classification.examples import Labelled, split_examples
from openfl.learning.classification.influence import (
    MAX_CELLS,
    MAX_JUDGED,
    MIN_JUDGED,
    judged_examples,
)
from openfl.learning.classification.scores import MIN_PROBABILITY, log_losses, units_of
from openfl.learning.classification.task import LinearClassifier, class_keys
from openfl.learning.comparison import PairedTask, compare, compare_held_out, gain_of, paired_gain
from openfl.learning.group_comparison import TaughtTask, compare_groups
from openfl.learning.own_losses import JudgesByOwn
from openfl.learning.splitting import Split, evenly
from openfl.learning.task import InfluenceJudge
from tests.influence_rig import counterfactuals, merge, peers, taught

NAMES = ("a", "b")
CHARTER = classification_charter("w", NAMES)
NOTHING = np.zeros(0, dtype=np.intp)


def examples(
    seed: int, classes: tuple[str, ...] = ("north", "south", "west"), count: int = 40
) -> Labelled:
    """Of other members' features are in a slightly other place and of another size."""
    draw = np.random.default_rng(seed)
    index = draw.integers(0, len(classes), count)
    index[: len(classes)] = np.arange(len(classes))
    centres = {"north": (0.0, 0.0), "south": (2.0, 1.0), "west": (0.0, 3.0), "up": (4.0, 4.0)}
    at = np.array([centres[name] for name in classes])[index]
    values = (at + draw.normal(size=(count, 2))) * [1.0 + 0.1 * seed, 30.0]
    return Labelled(NAMES, classes, values, index.astype(np.int32))


def task_of(data: Labelled, split: Split | None = None) -> LinearClassifier:
    return LinearClassifier.from_charter(CHARTER, data, split)


def group(*data: Labelled) -> list[LinearClassifier]:
    return [task_of(d) for d in data]


SAME = tuple(examples(n) for n in range(4))


def one_by_one(task: LinearClassifier, model: ModelView, positions: np.ndarray) -> np.ndarray:
    """The losses of these examples, written down as plainly as possible."""
    data = task._data
    own = class_keys(data.classes)
    keys = sorted({*model.keys(CLASSES).tolist(), *own.tolist()})
    rows = model.rows(CLASSES, np.array(keys, dtype=np.uint64)).astype(float)
    has_units = (model.evidence(FEATURES, FEATURE_KEYS) > 0).all()
    units = units_of(model) if has_units else task._own_units()
    losses = []
    for n in positions:
        z = [
            max(-100.0, min((v - c) / s, 100.0)) if s > 1e-9 else 0.0
            for v, c, s in zip(data.values[n], units.centre, units.spread, strict=True)
        ]
        raised = np.exp([row @ [*z, 1.0] for row in rows])
        share = raised[keys.index(int(own[data.label_index[n]]))] / raised.sum()
        losses.append(-np.log(max(share, MIN_PROBABILITY)))
    return np.array(losses)


# --- losses under a model -------------------------------------------------------------------------


def test_the_task_offers_all_that_is_asked_for() -> None:
    task = task_of(SAME[0])
    assert isinstance(task, PairedTask)
    assert isinstance(task, JudgesByOwn)
    assert isinstance(task, FoldsOwn)
    assert isinstance(task, InfluenceJudge)
    assert task.metric_power == 1.0


@pytest.mark.parametrize("split", ["validation", "test", "train"])
def test_held_out_losses_are_those_whose_mean_is_the_metric(split: str) -> None:
    tasks = group(*SAME)
    model = taught(tasks).view()
    losses = tasks[0].held_out_losses(model, split)
    assert np.allclose(losses, one_by_one(tasks[0], model, tasks[0]._positions(split)))
    found = tasks[0].evaluate(model, split)
    assert found.count == len(losses) > 0
    assert found.value == pytest.approx(losses.mean())


def test_own_losses_are_of_what_the_group_was_not_taught() -> None:
    tasks = group(*SAME)
    model = taught(tasks).view_without(peers(4)[:1])
    own = tasks[0].own_losses(model)
    held = split_examples(SAME[0]).validation
    assert len(held) > 0
    assert np.allclose(own.losses, one_by_one(tasks[0], model, held))
    assert own.people.tolist() == list(range(len(held))), "examples err independently"


def test_taught_losses_are_of_all_own_examples_but_the_tests() -> None:
    tasks = group(*SAME)
    model = taught(tasks).view_without(peers(4)[:1])
    assert isinstance(tasks[0], TaughtTask)
    split = split_examples(SAME[0])
    known = np.concatenate((split.validation, split.train))
    own = tasks[0].taught_losses(model, 1000)
    assert np.allclose(own.losses, one_by_one(tasks[0], model, known))
    assert own.people.tolist() == list(range(len(known))), "examples err independently"
    some = tasks[0].taught_losses(model, 15)
    assert 8 <= len(some.losses) == len(some.people) <= 15
    assert np.isin(some.losses, own.losses).all()


def test_who_holds_nothing_back_still_tells_a_better_group_from_a_worse_one() -> None:
    """By what it was taught, which an own group that knew it would be flattered by."""
    mine = examples(9)
    task = task_of(mine, Split(np.arange(len(mine.values)), NOTHING, NOTHING))
    like, empty = taught(group(*SAME)).view(), DenseModel.empty(CHARTER)

    def never() -> AloneByFolds:
        raise AssertionError("nothing that is held out has to be doubted")

    better = compare_groups(task, empty, like, None, never)
    worse = compare_groups(task, like, empty, None, never)
    assert better is not None
    assert worse is not None
    assert better.count == worse.count == len(mine.values)
    assert better.z > 2
    assert worse.gain == -better.gain


def test_own_losses_are_in_the_same_order_for_every_model() -> None:
    tasks = group(*SAME)
    model, empty = taught(tasks).view(), DenseModel.empty(CHARTER)
    before, after = tasks[0].own_losses(empty), tasks[0].own_losses(model)
    assert np.allclose(before.losses, np.log(3)), "an empty model gives each class the same chance"
    assert len(after.losses) == len(before.losses)
    assert after.losses.mean() < before.losses.mean()


def test_one_example_of_one_class_is_judged_without_complaint() -> None:
    data = examples(0, ("north",), count=1)
    task = task_of(data, Split(np.arange(1), NOTHING, NOTHING))
    empty, model = DenseModel.empty(CHARTER), taught(group(*SAME)).view()
    assert task.held_out_losses(empty, "train").tolist() == [0.0]
    for known in (empty, model):
        own = task.own_losses(known)
        assert own.losses.shape == own.people.shape == (0,)
    assert compare(task, empty, model) is None


def test_of_many_examples_some_are_judged_by_spread_evenly() -> None:
    positions = np.arange(10, 1010)
    assert np.array_equal(evenly(positions, 1000), positions)
    for most in (1, 3, 7, 999):
        some = evenly(positions, most)
        assert 1 <= len(some) <= most
        assert len(set(np.diff(some))) <= 1
    assert len(evenly(NOTHING, 5)) == 0
    for width in (2, 300, 1025):
        count = len(judged_examples(np.arange(100_000), width))
        assert count <= MAX_JUDGED
        assert count * width <= max(MAX_CELLS, MIN_JUDGED * width)
        assert count > min(MAX_JUDGED, MIN_JUDGED) // 2


@pytest.mark.parametrize("cells", [1, 7, 64])
def test_losses_do_not_depend_on_how_many_are_worked_out_at_a_time(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = group(*SAME)
    model = taught(tasks).view()
    whole = tasks[0].own_losses(model).losses
    monkeypatch.setattr(scores, "BLOCK_CELLS", cells)
    assert np.allclose(tasks[0].own_losses(model).losses, whole, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=9, max_size=9),
    st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4),
    st.lists(st.floats(-(2.0**20), 2.0**20, width=32), min_size=4, max_size=4),
)
def test_whatever_a_group_says_losses_are_finite_and_bounded(
    rows: list[float], values: list[float], units: list[float]
) -> None:
    keys = np.sort(class_keys(("north", "south", "west")))
    found = log_losses(
        np.array(values).reshape(2, 2),
        keys[:2],
        scores.units_in(np.array(units).reshape(2, 2)),
        keys,
        np.array(rows).reshape(3, 3),
    )
    assert ((found >= 0) & (found <= -np.log(MIN_PROBABILITY) + 1e-9)).all()


def test_two_models_are_compared_in_pairs() -> None:
    tasks = group(*(examples(n, count=200) for n in range(4)))
    good = taught(tasks, rounds=6).view()
    better = taught(tasks, rounds=20).view()
    found = compare_held_out(tasks[0], good, better)
    assert found is not None
    before, after = tasks[0].evaluate(good), tasks[0].evaluate(better)
    assert found.gain == pytest.approx(gain_of(before.value, after.value))
    assert found.standard_error < before.standard_error / before.value / 2


def test_examples_are_as_sure_as_if_nobody_owned_them() -> None:
    tasks = group(*(examples(n, count=400) for n in range(4)))
    me = peers(4)[:1]
    early, late = (taught(tasks, rounds=n).view_without(me) for n in (1, 12))
    found = compare(tasks[0], early, late)
    assert found is not None
    before, after = (tasks[0].own_losses(m) for m in (early, late))
    assert found.count == len(before.losses)
    assert found.gain == pytest.approx(gain_of(before.losses.mean(), after.losses.mean()))
    assert found.gain > 0
    one_person = paired_gain(before.losses, after.losses, np.zeros_like(before.people))
    assert one_person is not None
    assert found.standard_error == pytest.approx(one_person[1], rel=0.03)


def test_its_examples_are_cut_to_judge_training_alone() -> None:
    tasks = group(*SAME)
    split = split_examples(SAME[0])
    folds = [tasks[0].fold(number, 4) for number in range(4)]
    held = np.sort(np.concatenate([fold._split.validation for fold in folds]))
    assert np.array_equal(held, np.sort(np.concatenate((split.train, split.validation))))
    assert all(np.array_equal(fold._split.test, split.test) for fold in folds)
    model = taught(tasks, rounds=12).view_without(peers(4)[:1])
    found = AloneByFolds(tasks[0], np.random.default_rng(0)).gain_of(model)
    assert found is not None
    assert found.count == len(held)
    assert found.gain > 0, "three others know more than a node of 35 examples alone"


def test_a_fold_tells_no_more_than_the_task_does() -> None:
    few = LinearClassifier.from_charter(CHARTER, SAME[0], min_row_evidence=7)
    assert few.fold(1, 4)._min_row_evidence == 7


# --- members --------------------------------------------------------------------------------------


def seen_as_in(model: DenseModel, world: DenseModel) -> DenseModel:
    """`world` with features in the units of `model`: members are judged by what they say of
    classes."""
    units = {FEATURES: model.tables[FEATURES]} if FEATURES in model.tables else {}
    others = {name: table for name, table in world.tables.items() if name != FEATURES}
    return DenseModel(world.charter, {**others, **units})


def changes_and_truth(
    tasks: list[LinearClassifier],
    left_out: list[PeerId],
    members: list[PeerId],
    sign: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(what the first task says, what the losses are when it is done), float[n, members]."""
    replica = taught(tasks)
    task = tasks[0]
    model = replica.view_without(left_out)
    (found,) = task.loss_changes(model, [counterfactuals(replica, left_out, members, sign)])
    worlds = [
        replica.view_without(
            [*left_out, m] if sign < 0 else [peer for peer in left_out if peer != m]
        )
        for m in members
    ]
    before = one_by_one(task, model, task._train)
    seen = [seen_as_in(model, w) for w in worlds]
    truth = np.stack([one_by_one(task, w, task._train) - before for w in seen], axis=1)
    return found, truth


def test_without_a_member_losses_are_those_of_the_model_without_it() -> None:
    me, *others = peers(4)
    found, truth = changes_and_truth(group(*SAME), [me], others, -1)
    assert np.abs(truth).max() > 0.02, "nothing was compared"
    assert np.allclose(found, truth, atol=1e-5)


def test_with_an_outsider_losses_are_those_of_the_model_with_it() -> None:
    me, *others = peers(4)
    found, truth = changes_and_truth(group(*SAME), [me, *others[1:]], others[1:], +1)
    assert np.abs(truth).max() > 0.02, "nothing was compared"
    assert np.allclose(found, truth, atol=1e-5)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("who", ["the judge", "the member", "another"])
def test_a_class_that_only_one_knows_counts_in_the_worlds_where_it_is_known(
    who: str, sign: int
) -> None:
    knows = {"the judge": 0, "the member": 2, "another": 1}[who]
    with_up = ("north", "south", "up", "west")
    data = [examples(n, with_up) if n == knows else examples(n) for n in range(4)]
    me, *others = peers(4)
    left_out = [me] if sign < 0 else [me, others[1]]
    found, truth = changes_and_truth(group(*data), left_out, [others[1]], sign)
    assert np.abs(truth).max() > 0.01
    assert np.allclose(found, truth, atol=1e-5)


def test_a_class_that_a_stranger_makes_up_is_seen_before_it_comes_in() -> None:
    tasks = group(*SAME)
    replica = taught(tasks)
    me, liar = peers(4)[0], PeerId("liar")
    key = class_keys(("junk",))
    loud = RowBlock(
        CLASSES,
        key,
        np.array([[0.0, 0.0, 50.0]], dtype=np.float32),
        np.ones(1, dtype=np.float32),
        np.ones(3, dtype=np.float32),
    )
    merge(replica, liar, Contribution((loud,)))
    outside = [me, liar]
    model = replica.view_without(outside)
    (found,) = tasks[0].loss_changes(model, [counterfactuals(replica, outside, [liar], +1)])
    with_it = seen_as_in(model, replica.view_without([me]))
    truth = one_by_one(tasks[0], with_it, tasks[0]._train) - one_by_one(
        tasks[0], model, tasks[0]._train
    )
    assert np.allclose(found[:, 0], truth, atol=1e-4)
    assert truth.min() > 1.0, "the class that nobody has takes most of every probability"


def test_two_classes_of_one_key_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"north": 7, "south": 7, "west": 9}
    monkeypatch.setattr(
        "openfl.learning.classification.task.item_key", lambda name, bits: same[name]
    )
    tasks = group(*SAME)
    replica = taught(tasks)
    me, other = peers(4)[:2]
    model = replica.view_without([me])
    own = tasks[0].own_losses(model)
    assert np.allclose(tasks[0].own_losses(DenseModel.empty(CHARTER)).losses, np.log(2))
    assert np.isfinite(own.losses).all()
    (found,) = tasks[0].loss_changes(model, [counterfactuals(replica, [me], [other], -1)])
    assert found.shape == (tasks[0].train_examples, 1)
    without = replica.view_without([me, other])
    seen = seen_as_in(model, without)
    truth = tasks[0].held_out_losses(seen, "train") - tasks[0].held_out_losses(model, "train")
    assert np.allclose(found[:, 0], truth, atol=1e-5)


def test_the_last_member_leaves_a_model_that_knows_nothing() -> None:
    tasks = group(*SAME[:2])
    replica = taught(tasks)
    me, other = peers(2)
    model = replica.view_without([me])
    (found,) = tasks[0].loss_changes(model, [counterfactuals(replica, [me], [other], -1)])
    before = one_by_one(tasks[0], model, tasks[0]._train)
    assert np.allclose(found[:, 0], np.log(3) - before, atol=1e-6)
    nothing = seen_as_in(model, DenseModel.empty(CHARTER))
    (other_way,) = tasks[0].loss_changes(
        nothing, [counterfactuals(replica, [me, other], [other], +1)]
    )
    assert np.allclose(other_way[:, 0], -found[:, 0], atol=1e-5)


def test_units_that_a_member_shifts_do_not_hide_what_it_says() -> None:
    tasks = group(*SAME)
    replica = taught(tasks)
    me, other = peers(4)[:2]
    shift = RowBlock(
        FEATURES,
        FEATURE_KEYS,
        np.array([[9.0, 9.0], [3.0, 3.0]], dtype=np.float32),
        np.ones(2, dtype=np.float32),
        np.ones(2, dtype=np.float32),
    )
    merge(replica, PeerId("mover"), Contribution((shift,)))
    model = replica.view_without([me])
    worlds = counterfactuals(replica, [me], [PeerId("mover"), other], -1)
    (found,) = tasks[0].loss_changes(model, [worlds])
    assert not found[:, 0].any()
    assert found[:, 1].any()


def test_nobody_changes_nothing_and_parts_are_told_apart() -> None:
    tasks = group(*SAME)
    replica = taught(tasks)
    me, *others = peers(4)
    nobody = counterfactuals(replica, [me], [PeerId("nobody")], -1)
    both = counterfactuals(replica, [me], others[:2], -1)
    one, two, three = tasks[0].loss_changes(
        replica.view_without([me]), iter([nobody, both, nobody])
    )
    assert one.shape == three.shape == (tasks[0].train_examples, 1)
    assert not one.any()
    assert not three.any()
    assert two.shape == (tasks[0].train_examples, 2)
    assert two.any(axis=0).all()


def test_judging_leaves_no_trace_in_training() -> None:
    model = taught(group(*SAME)).view()
    contributions = []
    judgements: list[Callable[[LinearClassifier], object]] = [
        lambda task: None,
        lambda task: task.own_losses(model),
    ]
    for judge in judgements:
        task = task_of(SAME[1])
        judge(task)
        contributions.append(task.local_step(model, np.random.default_rng(0)))
    plain, judged = (merged(CHARTER, [c]) for c in contributions)
    keys = plain.keys(CLASSES)
    assert np.array_equal(plain.rows(CLASSES, keys), judged.rows(CLASSES, keys))


def test_a_feature_that_hardly_ever_varies_is_not_blown_up_where_it_does() -> None:
    draw = np.random.default_rng(3)
    values = np.zeros((400, 2))
    values[:, 0] = draw.normal(size=400)
    values[7, 1] = 1.0  # twenty times its spread away from its centre
    units = scores.Units(values.mean(axis=0), values.std(axis=0))
    z = units.standardise(values)
    assert z[7, 1] == scores.MAX_STANDARDISED < (values[7, 1] - units.centre[1]) / units.spread[1]
    usual = np.abs(values[:, 0]) < 2.5
    exact = (values[usual, 0] - units.centre[0]) / units.spread[0]
    assert np.allclose(z[usual, 0], exact)
