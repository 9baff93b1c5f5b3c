"""Workloads beyond music: labelled rows, and a task of one's own with any charter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl.app.offline import offline_recommend, offline_similar, predict_saved
from openfl.config import Config, load_config, with_values
from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import DataError, GroupError, StateError
from openfl.learning.central import train_alone
from openfl.learning.classification.workload import ClassificationWorkload
from openfl.learning.kinds import load_workload
from openfl.learning.rating.charter import rating_charter
from openfl.learning.workload import TaskWorkload, charter_difference
from tests.group_rig import CHARTER, TABLE


def flowers(count: int = 200, seed: int = 0) -> str:
    """CSV text: two kinds that differ in width and hardly in height."""
    rng = np.random.default_rng(seed)
    lines = ["kind,height,width"]
    for _ in range(count):
        rose = rng.random() < 0.5
        kind, width = ("rose", 2.0) if rose else ("tulip", 0.0)
        lines.append(f"{kind},{rng.normal(10, 2):.3f},{rng.normal(width, 0.5):.3f}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "flowers.csv").write_text(flowers())
    settings: dict[str, Any] = {
        "data.ratings_file": "flowers.csv",
        "data.label_column": "kind",
        "task.kind": "classification",
    }
    return load_config(None, {}, settings, cwd=tmp_path)


# --- labelled rows --------------------------------------------------------------------------------


def test_the_kind_of_task_chooses_the_workload(config: Config) -> None:
    workload = load_workload(config)
    assert isinstance(workload, ClassificationWorkload)
    assert workload.found("flowers").task == "classification"


def test_without_a_file_it_is_said_how_to_name_one(config: Config) -> None:
    nameless = replace(config, data=replace(config.data, ratings_file=""))
    with pytest.raises(DataError, match="--data"):
        ClassificationWorkload.load(nameless)


def test_owners_of_like_columns_found_the_same_group(config: Config, tmp_path: Path) -> None:
    one = ClassificationWorkload.load(config).found("flowers")
    (tmp_path / "flowers.csv").write_text(flowers(50, seed=9).replace("rose", "oak"))
    assert ClassificationWorkload.load(config).found("flowers").group_id == one.group_id


def test_another_prior_is_another_group_that_fits_all_the_same(config: Config) -> None:
    workload = ClassificationWorkload.load(config)
    other = ClassificationWorkload.load(with_values(config, {"task.weight_prior": 2.0}))
    assert workload.found("f").group_id != other.found("f").group_id
    assert workload.problem(other.found("f")) is None
    assert workload.task(other.found("f")).charter == other.found("f")


def test_a_group_of_other_columns_is_refused_by_their_names(config: Config) -> None:
    workload = ClassificationWorkload.load(config)
    chosen = with_values(config, {"data.feature_columns": ("width",)})
    theirs = ClassificationWorkload.load(chosen).found("flowers")
    problem = workload.problem(theirs)
    assert problem is not None
    assert '"height"' in problem
    with pytest.raises(GroupError, match="height"):
        workload.task(theirs)


def test_a_group_that_learns_ratings_is_refused(config: Config) -> None:
    problem = ClassificationWorkload.load(config).problem(rating_charter("music"))
    assert problem is not None
    assert "task.kind" in problem


@pytest.fixture
def home(config: Config, tmp_path: Path) -> Path:
    """A home folder with a model that was learned from the flowers."""
    workload = ClassificationWorkload.load(config)
    charter = workload.found("flowers")
    model = train_alone(workload.task(charter), np.random.default_rng(0)).model
    (tmp_path / "home").mkdir()
    workload.save_model(tmp_path / "home" / "model.safetensors", model, charter)
    return tmp_path / "home"


def test_the_saved_model_predicts_rows_it_never_saw(
    config: Config, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text(flowers(100, seed=7))
    found = predict_saved(config, home, tmp_path / "new.csv", None)
    assert found.labelled == 100
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    assert set(found.predictions.classes) == {"rose", "tulip"}


def test_rows_without_labels_are_predicted_and_not_judged(
    config: Config, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("width,height\n2.1,10\n-0.2,11\n")
    found = predict_saved(config, home, tmp_path / "new.csv", None)
    assert found.predictions.labels == ("rose", "tulip")
    assert (found.accuracy, found.log_loss, found.labelled) == (None, None, 0)


def test_a_class_the_model_never_heard_of_is_never_right(
    config: Config, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("kind,width,height\nrose,2.1,10\noak,2,10\n,2,10\n")
    found = predict_saved(config, home, tmp_path / "new.csv", None)
    assert (found.accuracy, found.labelled) == (0.5, 2)
    assert found.log_loss is not None
    assert found.log_loss > 5


def test_rows_that_lack_a_feature_are_refused_by_name(
    config: Config, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("width\n2.1\n")
    with pytest.raises(DataError, match="missing column height"):
        predict_saved(config, home, tmp_path / "new.csv", None)


def test_without_a_model_nothing_is_predicted(config: Config, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no model yet"):
        predict_saved(config, tmp_path, tmp_path / "flowers.csv", None)


def test_a_model_that_classifies_recommends_nothing(config: Config, home: Path) -> None:
    with pytest.raises(GroupError, match="predict"):
        offline_recommend(config, home, "ann", 5)
    workload = ClassificationWorkload.load(config)
    charter = workload.found("flowers")
    with pytest.raises(GroupError, match="predict"):
        workload.recommend(None, charter, "ann", 5)  # type: ignore[arg-type]


def test_nor_has_it_songs_that_could_be_alike(config: Config, home: Path) -> None:
    with pytest.raises(GroupError, match='learns "classification": it recommends no songs'):
        offline_similar(config, home, "rose", 5)


def test_a_model_of_ratings_classifies_nothing(config: Config, home: Path, tmp_path: Path) -> None:
    from openfl.core.atomic_files import atomic_write
    from openfl.core.model_view import DenseModel
    from openfl.learning.model_file import save_model

    charter = rating_charter("music")
    path = tmp_path / "other.safetensors"
    save_model(path, charter, DenseModel.empty(charter), atomic_write)
    with pytest.raises(GroupError, match='learns "rating"'):
        predict_saved(config, home, tmp_path / "flowers.csv", path)


# --- a task of one's own --------------------------------------------------------------------------


def own(charter: Charter = CHARTER) -> TaskWorkload:
    return TaskWorkload(charter, lambda theirs: theirs)  # type: ignore[arg-type, return-value]


def test_it_founds_its_charter_under_the_name_asked_for() -> None:
    assert own().found("mine") == replace(CHARTER, name="mine")


def test_it_joins_the_same_charter_under_any_name() -> None:
    theirs = replace(CHARTER, name="theirs")
    assert own().problem(theirs) is None
    assert own().task(theirs) == theirs


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (replace(CHARTER, task="rating"), 'learns "rating"; this node learns "mean"'),
        (replace(CHARTER, hyperparameters={"depth": 3}), "has depth 3; this node has none"),
        (replace(CHARTER, tables=(replace(TABLE, name="other"),)), 'table "other"'),
        (
            replace(CHARTER, tables=(replace(TABLE, encoding="int8"),)),
            'encoding of table "weights"',
        ),
        (
            replace(
                CHARTER,
                tables=(TABLE, replace(TABLE, name="more")),
            ),
            'a table "more"',
        ),
        (replace(CHARTER, seed=7), "another seed"),
    ],
)
def test_every_difference_is_refused_with_its_name(theirs: Charter, words: str) -> None:
    problem = own().problem(theirs)
    assert problem is not None
    assert words in problem
    with pytest.raises(GroupError):
        own().task(theirs)


def test_one_is_not_true() -> None:
    mine = replace(CHARTER, hyperparameters={"bias": True})
    theirs = replace(CHARTER, hyperparameters={"bias": 1})
    assert mine.group_id != theirs.group_id
    assert charter_difference(mine, theirs) is not None


def test_a_table_that_the_group_lacks_is_named() -> None:
    more = replace(CHARTER, tables=(TABLE, replace(TABLE, name="more")))
    assert 'lacks the table "more"' in (charter_difference(more, CHARTER) or "")


def test_it_recommends_nothing() -> None:
    with pytest.raises(GroupError, match="recommends nothing"):
        own().recommend(None, CHARTER, "ann", 5)  # type: ignore[arg-type]


def test_a_charter_that_others_would_refuse_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="name"):
        own(replace(CHARTER, name=""))


# --- groups with a parent -------------------------------------------------------------------------


def child(charter: Charter) -> Charter:
    return replace(charter, parent=GroupId("0" * 32))


def test_a_group_with_a_parent_is_refused_by_every_task(config: Config) -> None:
    reason = 'group "CHILD" has a parent group, which is not supported yet'
    labelled = load_workload(config)
    own = TaskWorkload(CHARTER, lambda charter: pytest.fail("no task was wanted"))
    easy = TaskWorkload(CHARTER, lambda charter: pytest.fail("nor here"), lambda own, theirs: None)
    for workload in (labelled, own, easy):
        flat = replace(workload.found("flat"), name="CHILD")
        assert workload.problem(flat) is None
        assert workload.problem(child(flat)) == reason
        with pytest.raises(GroupError, match="has a parent group"):
            workload.task(child(flat))


def test_no_group_with_a_parent_is_founded() -> None:
    with pytest.raises(ValueError, match="has a parent group"):
        TaskWorkload(child(CHARTER), lambda charter: pytest.fail("no task was wanted"))
