"""Names of founded groups, fault points, and what the pictures of communities say."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from openfl_cli.demo.community_picture import closing_table, group_map, plot
from rich.console import Console

from openfl.node.fault_points import FaultPoints
from openfl.switching.events import MOVE_POINTS
from openfl.switching.seed import founded_name
from openfl_cli.demo.communities import (
    CommunitySettings,
    Place,
    Sorted,
    as_json,
    problems,
    purity,
    random_groups,
)
from openfl_cli.demo.tastes import Listeners, write_communities
from openfl_cli.sample import sample_folder

SHARDS = tuple(Listeners((f"u{n}",), 10, n % 3) for n in range(6))


def ended(**changes: object) -> Sorted:
    values: dict[str, object] = {
        "shards": SHARDS,
        "first_groups": ("red", "red", "blue", "green", "blue", "green"),
        "groups": ("red", "blue", "green", "red", "blue", "green"),
        "before": (0.9,) * 6,
        "after": (0.8,) * 6,
        "moves": (0, 1, 1, 1, 0, 0),
        "places": tuple(Place(n, group, 1.0 + n) for n, group in enumerate(["red"] * 6)),
        "let_go_seconds": 9.0,
        "sorted_seconds": 5.0,
        "seconds": 20.0,
    }
    return Sorted(**{**values, **changes})  # type: ignore[arg-type]


def text_of(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(renderable)
    return out.getvalue()


TOKEN = bytes.fromhex("a03f")


def test_a_founded_group_has_the_name_of_the_old_one_and_four_hex_digits() -> None:
    assert founded_name("blues", TOKEN) == "blues-a03f"


def test_a_name_does_not_grow_with_each_founding() -> None:
    assert founded_name(founded_name("blues", TOKEN), b"\x00\x01") == "blues-0001"
    # The twin: what only looks like it stays whole.
    assert founded_name("deep-cuts", TOKEN) == "deep-cuts-a03f"


@pytest.mark.parametrize("name", ["x" * 64, "\u00e4" * 32])
def test_a_founded_name_is_never_too_long(name: str) -> None:
    assert len(founded_name(name, TOKEN).encode()) <= 64


def test_a_fault_point_acts_where_it_is_named_and_nowhere_else() -> None:
    acted: list[str] = []
    faults = FaultPoints("move-saved", lambda: acted.append("killed"))
    for point in MOVE_POINTS:
        faults.reach(point)
    assert acted == ["killed"]
    assert FaultPoints.from_environment({})._fail_at == ""
    with pytest.raises(ValueError, match="no point 'nowhere'"):
        FaultPoints.from_environment({"OPENFL_FAULT_POINT": "nowhere"})


def test_purity_is_the_part_in_the_majority_of_its_group() -> None:
    assert purity([0, 1, 0, 1], ["a", "b", "a", "b"]) == 1.0
    assert purity([0, 1, 0, 1], ["a", "a", "a", "b"]) == 0.75


def test_a_sorting_without_problems_has_a_group_for_each_community() -> None:
    assert problems(ended(), 3) == []
    assert as_json(ended(), [])["sorted_out"] is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": ("red", "red", "green", "red", "blue", "green")}, "purity 0.83"),
        ({"groups": ("red", "blue", "green", "gold", "blue", "green")}, "3 communities are in 4"),
        ({"after": (0.8, 0.9, 0.8, 0.8, 0.8, 0.8)}, "node-2 is not better than before"),
        ({"after": (0.8, None, 0.8, 0.8, 0.8, 0.8)}, "node-2 is not better than before"),
    ],
)
def test_a_sorting_that_failed_says_why(changes: dict[str, object], words: str) -> None:
    assert any(words in problem for problem in problems(ended(**changes), 3))


def test_random_groups_are_of_one_size_and_follow_the_seed() -> None:
    groups = random_groups(CommunitySettings(seed=4), [0, 1, 2] * 3)
    assert sorted(groups) == sorted(["red", "green", "blue"] * 3)
    assert random_groups(CommunitySettings(seed=4), [0, 1, 2] * 3) == groups
    assert random_groups(CommunitySettings(seed=5), [0, 1, 2] * 3) != groups


@pytest.mark.parametrize("nodes", [6, 9, 12, 16])
def test_no_community_begins_all_together_in_one_group(nodes: int) -> None:
    tastes = [n % 3 for n in range(nodes)]
    for seed in range(20):
        groups = random_groups(CommunitySettings(seed=seed, nodes=nodes), tastes)
        assert all(len(set(groups[taste::3])) > 1 for taste in range(3))


def test_each_community_begins_as_the_largest_part_of_a_group() -> None:
    for seed in range(20):
        groups = random_groups(CommunitySettings(seed=seed), [0, 1, 2] * 3)
        assert purity([0, 1, 2] * 3, groups) == pytest.approx(2 / 3)
        assert all(len(set(groups[taste::3])) == 2 for taste in range(3))


def test_the_map_shows_each_node_in_its_group_with_its_community() -> None:
    lines = text_of(group_map([0, 1, 0], ["red", "blue", "red"])).splitlines()
    assert lines[0].split() == ["blue", "2B"]
    assert lines[1].split() == ["red", "1A", "3A"]


def test_the_closing_table_shows_before_and_after() -> None:
    text = text_of(closing_table(ended()))
    assert "node-2  B      red       blue        1  0.9000  0.8000  -11.1 %" in text


def test_the_map_is_written_as_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(tmp_path / "map.png", ended())
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_communities_of_one_seed_are_written_alike_and_differ_between_seeds(
    tmp_path: Path,
) -> None:
    def written(name: str, seed: int) -> list[bytes]:
        homes = [tmp_path / name / str(n) for n in range(4)]
        for home in homes:
            home.mkdir(parents=True)
        shards = write_communities(sample_folder(), homes, communities=2, seed=seed)
        assert [shard.community for shard in shards] == [0, 1, 0, 1]
        return [(home / "ratings.csv").read_bytes() for home in homes]

    first = written("a", 1)
    assert written("b", 1) == first
    assert written("c", 2) != first
    assert len(set(first)) == 4
