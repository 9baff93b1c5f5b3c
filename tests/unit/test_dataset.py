"""Whose data a simulation has, from one file or several, and which communities users are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openfl.core.errors import ConfigError, DataError
from openfl.simulation.dataset import Dataset, load_dataset
from openfl.simulation.population import population_of
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import parse_scenario

RATINGS = """user_id,song_id,rating,city
ann,a,4,Bern
ann,b,3,Bern
bob,a,1,Genf
bob,c,5,Bern
bob,d,5,Genf
cid,b,2,Bern
"""
MORE = "user_id,song_id,rating,city\ndan,a,0.5,Genf\neve,e,5,Bern\n"
EXAMPLES = """who,x,y,label,site
ann,1,2,yes,north
ann,2,1,no,north
bob,3,5,yes,south
cid,4,4,no,north
"""


def scenario(folder: Path, **data: object) -> Scenario:
    given = {"data.source": "first.csv", "data.rating_scale": "0.5-5", "run.nodes": 2}
    if data.get("kind") == "classification":
        del given["data.rating_scale"]
    given |= {f"data.{key}": value for key, value in data.items()}
    return parse_scenario("", "x", folder=folder, overrides=given)


def dataset(folder: Path, **data: object) -> Dataset:
    return load_dataset(scenario(folder, **data), Path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "first.csv").write_text(RATINGS)
    (tmp_path / "second.csv").write_text(MORE)
    (tmp_path / "examples.csv").write_text(EXAMPLES)
    return tmp_path


def communities(found: Dataset) -> dict[str, int]:
    assert found.communities is not None
    return dict(zip(found.users, found.communities.tolist(), strict=True))


# --- communities ----------------------------------------------------------------------------------


def test_a_column_names_communities_and_the_most_frequent_name_counts(folder: Path) -> None:
    found = dataset(folder, community_column="City")
    assert communities(found) == {"ann": 0, "bob": 1, "cid": 0}


def test_a_file_names_communities(folder: Path) -> None:
    names = folder / "towns.csv"
    names.write_text("user_id,community\ncid,west\nann,east\nbob,west\nzoe,north\n")
    assert communities(dataset(folder, communities_file="towns.csv")) == {
        "ann": 0,
        "bob": 1,
        "cid": 1,
    }
    names.write_text("user_id,community\nann,east\n")
    with pytest.raises(DataError, match=r"towns\.csv: names no community of 2 users .* bob$"):
        dataset(folder, communities_file="towns.csv")
    names.write_text("user_id,community\nann,east\nann,west\n")
    with pytest.raises(DataError, match=r"user ann is in two communities: east and west$"):
        dataset(folder, communities_file="towns.csv")
    names.write_text("user_id,community\nann,\n")
    with pytest.raises(DataError, match=r"towns\.csv:2: column community is empty"):
        dataset(folder, communities_file="towns.csv")
    with pytest.raises(DataError, match=r"none\.csv: no such file$"):
        dataset(folder, communities_file="none.csv")


def test_a_column_that_is_missing_or_empty_is_said(folder: Path) -> None:
    with pytest.raises(DataError, match=r"first\.csv:1: missing column town in the header"):
        dataset(folder, community_column="town")
    (folder / "first.csv").write_text(RATINGS.replace("cid,b,2,Bern", "cid,b,2,"))
    with pytest.raises(DataError, match=r"first\.csv:7: column city is empty"):
        dataset(folder, community_column="city")
    with pytest.raises(DataError, match="names no genres"):
        dataset(folder).known_communities()


def test_nodes_are_of_the_community_of_most_of_their_users(folder: Path) -> None:
    asked = scenario(folder, community_column="city", split="community")
    population = population_of(asked, load_dataset(asked, Path))
    assert list(population.communities) == [0, 1]
    assert [workload.data.ratings.users for workload in population.workloads] == [
        ("ann", "cid"),
        ("bob",),
    ]


# --- examples -------------------------------------------------------------------------------------


def test_examples_of_one_user_stay_together(folder: Path) -> None:
    asked = scenario(
        folder,
        kind="classification",
        source="examples.csv",
        user_column="who",
        community_column="site",
    )
    found = load_dataset(asked, Path)
    assert found.users == ("ann", "bob", "cid")
    assert communities(found) == {"ann": 0, "bob": 1, "cid": 0}
    assert len(found.of_users(np.array([True, False, False]))) == 2
    sizes = [len(workload.data) for workload in population_of(asked, found).workloads]
    assert sorted(sizes) in ([1, 3], [2, 2])


def test_examples_of_nobody_are_on_their_own_and_grouped_by_label(folder: Path) -> None:
    found = dataset(folder, kind="classification", source="examples.csv")
    assert len(found.users) == 4
    assert found.communities is None
    assert found.known_communities().tolist() == [1, 0, 1, 0]


def test_columns_of_a_file_with_rows_left_out_cannot_be_matched(folder: Path) -> None:
    (folder / "examples.csv").write_text(EXAMPLES + "dan,many,1,yes,north\n")
    given = {"kind": "classification", "source": "examples.csv", "skip_bad_rows": True}
    given |= {"feature_columns": ["x", "y"]}
    assert len(dataset(folder, **given).users) == 4
    with pytest.raises(DataError, match=r"data\.user_column cannot be matched"):
        dataset(folder, user_column="who", **given)


# --- several files --------------------------------------------------------------------------------


def test_several_files_are_as_one(folder: Path) -> None:
    found = dataset(folder, more_sources=["second.csv"], community_column="city")
    assert found.users == ("ann", "bob", "cid", "dan", "eve")
    assert communities(found)["dan"] == 1
    ratings = found.data.ratings
    assert len(ratings) == 8
    assert ratings.of_user("dan") == {"a": 0.5}
    assert ratings.of_user("eve") == {"e": 5.0}


def test_of_ratings_in_several_files_the_last_counts(folder: Path) -> None:
    (folder / "second.csv").write_text("user_id,song_id,rating\nann,a,2\n")
    ratings = dataset(folder, more_sources=["second.csv"]).data.ratings
    assert ratings.of_user("ann") == {"a": 2.0, "b": 3.0}
    assert ratings.duplicates == 1


def test_each_file_can_be_one_node(folder: Path) -> None:
    asked = scenario(folder, more_sources=["second.csv"], split="file")
    population = population_of(asked, load_dataset(asked, Path))
    users = [workload.data.ratings.users for workload in population.workloads]
    assert users == [("ann", "bob", "cid"), ("dan", "eve")]
    (folder / "second.csv").write_text("user_id,song_id,rating\nann,a,2\n")
    with pytest.raises(DataError, match=r"user ann is in .*first\.csv and in .*second\.csv"):
        load_dataset(asked, Path)
    alone = scenario(folder, split="file")
    with pytest.raises(DataError, match='1 file is too few for 2 nodes with split "file"'):
        population_of(alone, load_dataset(alone, Path))


def test_files_that_do_not_fit_together_are_refused(folder: Path) -> None:
    (folder / "second.csv").write_text("user_id,song_id,rating\nann,a,80\nbob,b,3\n")
    with pytest.raises(DataError, match=r"second\.csv: ratings are from .* set data\.rating_scale"):
        dataset(folder, more_sources=["second.csv"], rating_scale="auto")
    (folder / "wide.csv").write_text("x,y,z,label\n1,2,3,yes\n")
    with pytest.raises(DataError, match=r"wide\.csv: has not the same .* differ in z$"):
        dataset(folder, kind="classification", source="examples.csv", more_sources=["wide.csv"])


def test_examples_of_several_files_keep_their_labels(folder: Path) -> None:
    (folder / "more.csv").write_text("x,y,label\n9,9,maybe\n8,8,yes\n")
    found = dataset(
        folder, kind="classification", source="examples.csv", more_sources=["more.csv"]
    ).data
    assert found.classes == ("maybe", "no", "yes")
    assert [found.classes[n] for n in found.label_index[-2:]] == ["maybe", "yes"]
    assert found.values[-1].tolist() == [8.0, 8.0]


# --- what makes no sense --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"kind": "tarot"}, 'data.kind: must be "rating" or "implicit" or "classification"'),
        ({"kind": "classification", "source": "music"}, 'data.source: "music" is nothing to learn'),
        ({"source": "synthetic", "community_column": "city"}, "data.community_column: needs a CSV"),
        ({"source": "communities", "more_sources": ["a.csv"]}, "data.more_sources: needs a CSV"),
        ({"user_column": "who"}, 'data.user_column: files of the kind "rating" say whose a row'),
        (
            {"community_column": "city", "communities_file": "towns.csv"},
            "data.community_column and data.communities_file: give one of them",
        ),
        (
            {"kind": "classification", "communities_file": "towns.csv"},
            "data.communities_file: needs data.user_column",
        ),
        (
            {"label_column": "city"},
            'data.label_column: is a setting of classification, but data.kind is "rating"',
        ),
        ({"more_sources": "a.csv"}, "data.more_sources: must be a list of texts"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(
    tmp_path: Path, settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        scenario(tmp_path, **settings)
    (line,) = str(caught.value).splitlines()
    assert complaint in line
