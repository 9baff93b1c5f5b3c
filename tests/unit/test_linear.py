"""Logistic regression by contributions: the optimum, skewed nodes, names of classes, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from openfl.core.contribution import Charter, Contribution, RowBlock, item_key
from openfl.core.errors import ConfigError, DataError, GroupError
from openfl.core.model_view import DenseModel
from openfl.learning.central import merge
from openfl.learning.classification.charter import (
    BIAS_PRIOR,
    CLASS_KEY_BITS,
    CLASSES,
    FEATURES,
    NAMES,
    check_features_fit,
    classification_charter,
    classification_parameters,
)
from openfl.learning.classification.examples import Labelled
from openfl.learning.classification.task import (
    LinearClassifier,
    class_keys,
    class_names,
    predict,
    softmax,
)
from openfl.learning.splitting import Split
from openfl.wire.charters import charter_from_plain, charter_problem

FEATURE_NAMES = ("a", "b", "c")
CHARTER = classification_charter("blobs", FEATURE_NAMES)
RNG = np.random.default_rng(0)


def blobs(count: int = 600, seed: int = 0) -> Labelled:
    """Three overlapping classes; the features are of different size and correlated."""
    rng = np.random.default_rng(seed)
    index = rng.integers(0, 3, count)
    centres = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    plain = centres[index] + rng.normal(size=(count, 3))
    mixed = plain @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    return Labelled(
        FEATURE_NAMES,
        ("north", "south", "west"),
        mixed * np.array([1.0, 50.0, 0.1]) + np.array([5.0, 0.0, 0.0]),
        index.astype(np.int32),
    )


def rows_of(data: Labelled, rows: np.ndarray) -> Labelled:
    classes, index = np.unique(data.label_index[rows], return_inverse=True)
    names = tuple(data.classes[n] for n in classes)
    return Labelled(data.features, names, data.values[rows], index.astype(np.int32))


def all_train(data: Labelled) -> Split:
    nothing = np.zeros(0, dtype=np.intp)
    return Split(np.arange(len(data)), nothing, nothing)


def learn(tasks: list[LinearClassifier], rounds: int) -> DenseModel:
    model = DenseModel.empty(CHARTER)
    for _ in range(rounds):
        model = merge(CHARTER, [task.local_step(model, RNG) for task in tasks])
    return model


def optimum(data: Labelled, model: DenseModel) -> np.ndarray:
    """The weights that maximise the penalised likelihood in the model's units, by L-BFGS."""
    task = LinearClassifier.from_charter(CHARTER, data, all_train(data))
    z, _ = task._training_matrix(task._units(model))
    order = np.argsort(class_keys(data.classes))
    onehot = np.eye(3)[data.label_index][:, order]
    ridge = np.array([1.0, 1.0, 1.0, BIAS_PRIOR])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(3, 4)
        shares = softmax(z @ weights.T)
        value = -np.log((shares * onehot).sum(axis=1)).sum() + 0.5 * (ridge * weights**2).sum()
        return value, ((shares - onehot).T @ z + ridge * weights).ravel()

    return minimize(loss, np.zeros(12), jac=True, method="L-BFGS-B", tol=1e-12).x.reshape(3, 4)


def centred(weights: np.ndarray) -> np.ndarray:
    """What all classes have in common makes no difference, and is found slowly."""
    return weights - weights.mean(axis=0)


# --- what is learned ------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 4])
def test_the_group_ends_at_the_central_optimum_however_the_examples_are_spread(nodes: int) -> None:
    data = blobs()
    parts = [rows_of(data, np.arange(n, 600, nodes)) for n in range(nodes)]
    model = learn([LinearClassifier.from_charter(CHARTER, p, all_train(p)) for p in parts], 150)
    found = model.rows(CLASSES, model.keys(CLASSES))
    assert np.abs(centred(found) - centred(optimum(data, model))).max() < 1e-4


def test_nodes_that_hold_one_class_each_learn_to_tell_them_apart() -> None:
    data, fresh = blobs(), blobs(seed=1)
    parts = [rows_of(data, np.flatnonzero(data.label_index == c)) for c in range(3)]
    model = learn([LinearClassifier.from_charter(CHARTER, p, all_train(p)) for p in parts], 80)
    found = predict(CHARTER, model, fresh.values)
    right = [
        fresh.classes[n] == label for n, label in zip(fresh.label_index, found.labels, strict=True)
    ]
    whole = learn([LinearClassifier.from_charter(CHARTER, data, all_train(data))], 80)
    central = predict(CHARTER, whole, fresh.values)
    as_good = [
        fresh.classes[n] == label
        for n, label in zip(fresh.label_index, central.labels, strict=True)
    ]
    assert np.mean(right) >= np.mean(as_good) - 0.02
    assert np.mean(as_good) > 0.75


def test_twenty_rounds_are_enough_to_be_near_the_optimum() -> None:
    data, fresh = blobs(), blobs(seed=1)
    parts = [rows_of(data, np.arange(n, 600, 4)) for n in range(4)]
    model = learn([LinearClassifier.from_charter(CHARTER, p, all_train(p)) for p in parts], 20)
    judge = LinearClassifier.from_charter(CHARTER, fresh, all_train(fresh))
    best = learn([LinearClassifier.from_charter(CHARTER, data, all_train(data))], 200)
    now, least = judge.evaluate(model, "train").value, judge.evaluate(best, "train").value
    assert now < 1.05 * least


def test_members_that_step_one_after_another_do_not_run_away() -> None:
    data = blobs()
    parts = [rows_of(data, np.arange(n, 600, 8)) for n in range(8)]
    tasks = [LinearClassifier.from_charter(CHARTER, p, all_train(p)) for p in parts]
    latest: list[Contribution] = []
    for round_number in range(60):
        for n, task in enumerate(tasks):
            made = task.local_step(merge(CHARTER, latest), RNG)
            latest = [*latest, made] if not round_number else [*latest[:n], made, *latest[n + 1 :]]
    model = merge(CHARTER, latest)
    found = model.rows(CLASSES, model.keys(CLASSES))
    assert np.abs(centred(found) - centred(optimum(data, model))).max() < 0.01


def test_the_same_data_and_model_give_the_same_contribution() -> None:
    one, other = (LinearClassifier.from_charter(CHARTER, blobs()) for _ in range(2))
    for _ in range(3):
        model = DenseModel.empty(CHARTER)
        mine, theirs = one.local_step(model, RNG), other.local_step(model, RNG)
        for block, twin in zip(mine.blocks, theirs.blocks, strict=True):
            assert block.values.tobytes() == twin.values.tobytes()


def test_a_constant_feature_does_no_harm() -> None:
    data = blobs()
    values = data.values.copy()
    values[:, 1] = 7.0
    flat = replace(data, values=values)
    model = learn([LinearClassifier.from_charter(CHARTER, flat, all_train(flat))], 30)
    assert np.isfinite(model.rows(CLASSES, model.keys(CLASSES))).all()
    assert np.abs(model.rows(CLASSES, model.keys(CLASSES))[:, 1]).max() < 1e-6


# --- what leaves ----------------------------------------------------------------------------------


def test_a_contribution_holds_rows_of_the_three_tables_and_nothing_else() -> None:
    task = LinearClassifier.from_charter(CHARTER, blobs())
    blocks = {b.table: b for b in task.local_step(DenseModel.empty(CHARTER), RNG).blocks}
    assert set(blocks) == {CLASSES, NAMES, FEATURES}
    assert len(blocks[CLASSES]) == len(blocks[NAMES]) == 3
    assert np.allclose(blocks[FEATURES].values[0], task._own_values.mean(axis=0), rtol=1e-6)


def test_a_class_too_rare_to_be_told_leaves_no_trace() -> None:
    data = blobs(60)
    rare = Labelled(
        data.features,
        (*data.classes, "zebra"),
        np.vstack([data.values, data.values[:2] + 1]),
        np.concatenate([data.label_index, np.array([3, 3], dtype=np.int32)]),
    )
    split = all_train(rare)
    key = item_key("zebra", CLASS_KEY_BITS)
    told = LinearClassifier.from_charter(CHARTER, rare, split, 2)
    untold = LinearClassifier.from_charter(CHARTER, rare, split, 3)
    empty = DenseModel.empty(CHARTER)
    assert key in told.local_step(empty, RNG).blocks[1].keys
    made = untold.local_step(empty, RNG)
    assert all(key not in block.keys for block in made.blocks)
    without = LinearClassifier.from_charter(CHARTER, data, all_train(data))
    for block, same in zip(made.blocks, without.local_step(empty, RNG).blocks, strict=True):
        assert block.values.tobytes() == same.values.tobytes()


# --- names of classes -----------------------------------------------------------------------------


def test_a_node_learns_the_names_of_classes_it_never_saw() -> None:
    data = blobs()
    parts = [rows_of(data, np.flatnonzero(data.label_index == c)) for c in range(3)]
    model = learn([LinearClassifier.from_charter(CHARTER, p, all_train(p)) for p in parts], 1)
    assert sorted(class_names(model, model.keys(CLASSES))) == ["north", "south", "west"]


def name_block(key: int, text: bytes) -> RowBlock:
    values = np.zeros((1, 32), dtype=np.float32)
    values[0, : len(text)] = np.frombuffer(text, dtype=np.uint8)
    one = np.ones(1, dtype=np.float32)
    return RowBlock(NAMES, np.array([key], dtype=np.uint64), values, one, np.ones(32, np.float32))


@pytest.mark.parametrize("text", [b"south", b"\xff\xfe", b"", b"nor\x1bth"])
def test_a_name_that_does_not_match_its_key_is_not_believed(text: bytes) -> None:
    key = item_key("north", CLASS_KEY_BITS)
    model = merge(CHARTER, [Contribution((name_block(key, text),))])
    assert class_names(model, model.keys(NAMES)) == (f"#{key:010x}",)


def test_a_name_of_other_alphabets_survives() -> None:
    key = item_key("Ζέβρα 🦓", CLASS_KEY_BITS)
    model = merge(CHARTER, [Contribution((name_block(key, "Ζέβρα 🦓".encode()),))])
    assert class_names(model, model.keys(NAMES)) == ("Ζέβρα 🦓",)


# --- judging --------------------------------------------------------------------------------------


def test_log_loss_and_accuracy_are_those_of_the_held_out_examples() -> None:
    data = blobs()
    task = LinearClassifier.from_charter(CHARTER, data)
    model = learn([task], 40)
    found = task.evaluate(model, "test")
    held_out = task._split.test
    predicted = predict(CHARTER, model, data.values[held_out])
    true = [data.classes[n] for n in data.label_index[held_out]]
    column = {name: n for n, name in enumerate(predicted.classes)}
    chances = [predicted.probabilities[n, column[name]] for n, name in enumerate(true)]
    losses = -np.log(np.array(chances))
    assert found.metric == "log_loss"
    assert found.count == len(held_out)
    assert found.value == pytest.approx(losses.mean())
    assert found.standard_error == pytest.approx(losses.std(ddof=1) / len(losses) ** 0.5)
    right = np.mean([label == name for label, name in zip(predicted.labels, true, strict=True)])
    assert task.accuracy(model, "test") == pytest.approx(right)


def test_without_held_out_examples_there_is_nothing_to_judge() -> None:
    data = blobs(20)
    task = LinearClassifier.from_charter(CHARTER, data, all_train(data))
    assert task.evaluate(learn([task], 1)).count == 0


def test_an_empty_model_predicts_nothing() -> None:
    with pytest.raises(GroupError, match="no class yet"):
        predict(CHARTER, DenseModel.empty(CHARTER), np.zeros((1, 3)))


# --- private state --------------------------------------------------------------------------------


def test_private_state_survives_a_restart() -> None:
    data = blobs()
    first, second = (LinearClassifier.from_charter(CHARTER, data) for _ in range(2))
    model = learn([first], 5)
    second.restore(first.private_state())
    mine, theirs = first.local_step(model, RNG), second.local_step(model, RNG)
    assert mine.blocks[0].values.tobytes() == theirs.blocks[0].values.tobytes()


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": np.zeros((3, 9))},
        {"rows": np.full((3, 4), np.nan)},
        {"keys": np.zeros(3, dtype=np.int64)},
        {"steps": np.zeros((0,), dtype=np.int64)},
    ],
)
def test_private_state_of_something_else_is_refused(damage: dict[str, Any]) -> None:
    task = LinearClassifier.from_charter(CHARTER, blobs())
    learn([task], 2)
    with pytest.raises(ValueError, match="private state"):
        task.restore({**task.private_state(), **damage})


# --- charters -------------------------------------------------------------------------------------


def test_a_charter_passes_over_the_wire_and_keeps_the_names() -> None:
    names = tuple(f"feature number {n:04d} é" for n in range(200))
    charter = classification_charter("wide", names)
    assert charter_problem(charter) is None
    assert charter_from_plain(charter.to_plain()) == charter
    assert classification_parameters(charter).features == names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"features": ()}, "0 features"),
        ({"features": tuple(f"f{n:04d}" for n in range(1025))}, "1025 features"),
        ({"features": tuple(f"{n:03d}" + "x" * 40 for n in range(400))}, "too long together"),
        ({"features": ("a", "a")}, "twice"),
        ({"features": ("a",), "weight_prior": 0.0}, "weight_prior"),
        ({"features": ("a",), "momentum": 1.0}, "momentum"),
        ({"features": ("a",), "damping": float("nan")}, "damping"),
    ],
)
def test_a_charter_out_of_range_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        classification_charter("x", **arguments)


def changed(**hyperparameters: Any) -> Charter:
    return replace(CHARTER, hyperparameters={**CHARTER.hyperparameters, **hyperparameters})


@pytest.mark.parametrize(
    ("charter", "words"),
    [
        (replace(CHARTER, task="rating"), 'learns "rating"'),
        (changed(features_00="{}"), "not a list"),
        (changed(features_00='["b","a"]'), "not in order"),
        (changed(features_00="["), "malformed"),
        (changed(features_01='["d"]'), "malformed"),
        (changed(momentum="much"), "malformed"),
        (changed(surprise=1), "parameters"),
        (replace(CHARTER, tables=CHARTER.tables[:2]), "tables"),
        (replace(CHARTER, hyperparameters={"momentum": 0.5}), "lacks features_00"),
    ],
)
def test_a_strangers_charter_is_checked(charter: Charter, words: str) -> None:
    with pytest.raises(GroupError, match=words):
        classification_parameters(charter)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (("a", "b"), 'lacks "c"'),
        (("a", "b", "c", "d"), 'does not have "d".*feature_columns'),
        (("a", "b", "x"), 'lacks "c" and the group does not have "x"'),
    ],
)
def test_other_features_are_refused_by_name(features: tuple[str, ...], words: str) -> None:
    with pytest.raises(GroupError, match=words):
        check_features_fit(CHARTER, features)


def test_a_node_without_any_training_example_is_refused() -> None:
    data = blobs(20)
    with pytest.raises(DataError, match="left to train on"):
        LinearClassifier.from_charter(CHARTER, data, all_train(data), min_row_evidence=100)
