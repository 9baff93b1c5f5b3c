"""Scenario files: what is accepted, and that every problem is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from openfl.core.errors import ConfigError, DataError
from openfl.simulation.dataset import load_dataset
from openfl.simulation.reference import reference_markdown
from openfl.simulation.scenario import Scenario
from openfl.simulation.scenario_file import load_scenario, parse_scenario, scenario_settings
from openfl.simulation.session_settings import selection_settings
from openfl.switching.policy import SelectionSettings

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "scenarios"


def problems(text: str, **overrides: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(
            text, "bad", overrides={k.replace("__", "."): v for k, v in overrides.items()}
        )
    return str(caught.value).splitlines()


def test_an_empty_file_is_the_default_scenario() -> None:
    assert parse_scenario("", "custom") == Scenario()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_loads_and_says_what_it_is(path: Path) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert scenario.run.description


def test_the_scenarios_promised_are_shipped() -> None:
    names = {path.stem for path in FOLDER.glob("*.toml")}
    assert {"quick", "churn", "lossy", "hostile", "one-user-per-node", "thousand"} <= names


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    assert problems("[run]\nnodes = " + "9" * 5000) == ["scenario: a number of thousands of digits"]


def test_all_problems_are_told_together() -> None:
    text = """
    [run]
    nodes = 0
    nods = 3
    [networks]
    [network]
    loss = "much"
    [[events]]
    at_round = -1
    what = "explode"
    """
    found = problems(text, training__interval_seconds=0.0)
    assert found == [
        "scenario: run.nodes: must be >= 1, got 0",
        "scenario: run.nods: unknown key (did you mean run.nodes?)",
        "scenario: networks: unknown section (did you mean network?)",
        "scenario: network.loss: must be a number, got 'much'",
        "command line: training.interval_seconds: must be > 0, got 0",
        "scenario: events 1: at_round: must be a number >= 0, got -1",
        "scenario: events 1: what: must be one of join, leave, crash, return, partition, heal,"
        " got 'explode'",
    ]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('what = "join"\ncount = 16', "events: 16 nodes join, which leaves none of 16"),
        ('what = "join"\ncount = 0', "count: must be a whole number from 1"),
        ('what = "join"\ncount = 1\nfraction = 0.1', "count and fraction: give one of them"),
        ('what = "crash"\nfraction = 1.5', "fraction: must be a number from 0 to 1, got 1.5"),
        ('what = "crash"\ncuont = 1', "cuont: unknown key (did you mean count?)"),
        ('what = "partition"\nparts = 1', "parts: must be a whole number from 2"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(entry: str, complaint: str) -> None:
    (found,) = problems(f"[[events]]\nat_round = 1\n{entry}\n")
    assert complaint in found


def test_overrides_win_and_none_means_not_given() -> None:
    given = {"run.seed": 5, "run.nodes": None}
    scenario = parse_scenario("[run]\nseed = 1\nnodes = 9\n", "x", overrides=given)
    assert (scenario.run.seed, scenario.run.nodes) == (5, 9)


def test_a_data_file_is_found_beside_the_scenario(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[data]\nsource = "ratings.csv"\n')
    assert load_scenario(file).data.source == str(tmp_path / "ratings.csv")
    assert parse_scenario("", "x", folder=tmp_path).data.source == "music"


def test_how_nodes_choose_is_set_in_a_scenario() -> None:
    text = """
    [groups]
    switching = true
    founding = false
    founding_after_rounds = 3
    [switching]
    found_min_members = 4
    look_probability = 0.25
    dwell_rounds = 7.5
    max_candidates = 2
    warm_up_rounds = 5
    """
    expected = SelectionSettings(
        enabled=True,
        founding=False,
        found_after_rounds=3,
        found_min_members=4,
        look_probability=0.25,
        dwell_rounds=7.5,
        max_candidates=2,
        warm_up_rounds=5,
    )
    assert selection_settings(parse_scenario(text, "x")) == expected
    assert selection_settings(Scenario()) == SelectionSettings(enabled=False)
    assert problems("[switching]\nfound_min_members = 1\nlook_probabilty = 2") == [
        "scenario: switching.found_min_members: must be >= 2, got 1",
        "scenario: switching.look_probabilty: unknown key (did you mean"
        " switching.look_probability?)",
    ]


def test_what_the_shared_engine_cannot_do_is_refused() -> None:
    text = '[run]\nengine = "shared"\n[[events]]\nat_round = 1\nwhat = "leave"\n'
    assert "needs run.engine" in problems(text)[0]
    assert parse_scenario(text.replace("leave", "crash"), "x").events


def test_a_file_that_is_missing_or_malformed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_scenario(tmp_path / "none.toml")
    assert "not valid TOML" in problems("[run")[0]


def test_every_key_has_a_meaning() -> None:
    assert [key for key, described in scenario_settings().items() if not described.meaning] == []


def test_the_reference_in_the_docs_is_that_of_the_code() -> None:
    text = (FOLDER.parents[1] / "docs" / "simulation.md").read_text(encoding="utf-8")
    assert text.endswith(reference_markdown())


def test_a_file_of_ratings_with_bad_rows_is_read_as_a_node_would_read_it(tmp_path: Path) -> None:
    file = tmp_path / "ratings.csv"
    file.write_text("user_id,song_id,rating\n1,a,4\n2,a,bad\n2,b,3\n")
    given = {"data.source": str(file)}
    with pytest.raises(DataError, match=":3: column rating"):
        load_dataset(parse_scenario("", "x", overrides=given), Path)
    skipping = parse_scenario("", "x", overrides={**given, "data.skip_bad_rows": True})
    assert len(load_dataset(skipping, Path).data.ratings) == 2
    scaled = parse_scenario(
        "", "x", overrides={**given, "data.skip_bad_rows": True, "data.rating_scale": "0-100"}
    )
    assert load_dataset(scaled, Path).data.ratings.scale == (0, 100)
