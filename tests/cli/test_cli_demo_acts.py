"""`demo --communities` and `demo --people`: dealing, judging, drawing, and when they are over."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import make_event, make_snapshot
from rich.console import Console

from openfl.core.errors import DataError
from openfl.core.telemetry import DecisionView, NodeSnapshot, SwitchingView
from openfl_cli import exit_codes, main
from openfl_cli.demo import communities, people
from openfl_cli.demo.acts_outcome import as_json, comparison_lines
from openfl_cli.demo.references import Reference, behind, mean, references
from openfl_cli.demo.tastes import NO_TASTE, Listeners, write_communities
from openfl_cli.demo.two_acts import (
    ActsEnd,
    ActSettings,
    ActView,
    MayEnd,
    Place,
    TwoActs,
    group_labels,
    random_groups,
)
from openfl_cli.demo.two_acts_picture import ActPicture, closing_table, group_map, plot
from openfl_cli.sample import sample_folder

SHARDS = tuple(Listeners((f"u{n}",), 10, n % 3) for n in range(6))
PEOPLE = tuple(Listeners((f"u{n}",), 10, NO_TASTE) for n in range(12))
REFERENCES = (
    Reference("communities", "a model for each community", (0.8,) * 6),
    Reference("one_model", "one model for all", (0.85,) * 6),
    Reference("stayed", "a model for each group of the start", (0.9,) * 6),
    Reference("alone", "a model for each node", (1.0,) * 6),
)


def ended(**changes: object) -> ActsEnd:
    values: dict[str, object] = {
        "shards": SHARDS,
        "first_groups": ("red", "red", "blue", "green", "blue", "green"),
        "groups": ("red", "blue", "green", "red", "blue", "green"),
        "before": (0.9,) * 6,
        "after": (0.8,) * 6,
        "moves": (0, 1, 1, 1, 0, 0),
        "places": tuple(Place(n, group, 1.0 + n) for n, group in enumerate(["red"] * 6)),
        "decisions": (),
        "let_go_seconds": 9.0,
        "sorted_seconds": 5.0,
        "sorted_rounds": 4,
        "rounds": 12,
        "calm": True,
        "seconds": 20.0,
    }
    return ActsEnd(**{**values, **changes})  # type: ignore[arg-type]


def text_of(renderable: object, width: int = 100, height: int = 40) -> str:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(renderable)
    return out.getvalue()


def homes_in(folder: Path, count: int) -> list[Path]:
    homes = [folder / str(number) for number in range(count)]
    for home in homes:
        home.mkdir(parents=True)
    return homes


# --- dealing -----------------------------------------------------------------------------------


def test_first_groups_follow_the_seed_and_each_node_is_drawn_by_itself() -> None:
    drawn = [tuple(random_groups(9, 3, seed)) for seed in range(60)]
    assert drawn[4] == tuple(random_groups(9, 3, 4))
    assert {group for groups in drawn for group in groups} == {"red", "green", "blue"}
    # Nobody sees to it that they are of one size, nor that a community is spread or anywhere many.
    sizes = {tuple(sorted(groups.count(group) for group in set(groups))) for groups in drawn}
    assert {(3, 3, 3), (1, 3, 5), (1, 4, 4)} <= sizes
    found = {communities.purity([0, 1, 2] * 3, groups) for groups in drawn}
    assert len(found) >= 3
    assert any(len(set(groups[taste::3])) == 1 for groups in drawn for taste in range(3))


def test_communities_of_one_seed_are_written_alike_and_differ_between_seeds(
    tmp_path: Path,
) -> None:
    def written(name: str, seed: int) -> list[bytes]:
        homes = homes_in(tmp_path / name, 4)
        shards = write_communities(sample_folder(), homes, communities=2, seed=seed)
        assert [shard.community for shard in shards] == [0, 1, 0, 1]
        return [(home / "ratings.csv").read_bytes() for home in homes]

    first = written("a", 1)
    assert written("b", 1) == first
    assert written("c", 2) != first
    assert len(set(first)) == 4


def ratings_file(folder: Path, counts: Sequence[int]) -> Path:
    """Person n has rated counts[n] songs, from 1 to 4."""
    file = folder / "ratings.csv"
    rows = [f"p{user},s{song},{1 + song % 4}" for user, n in enumerate(counts) for song in range(n)]
    file.write_text("user_id,song_id,rating\n" + "\n".join(rows) + "\n")
    return file


def rows_of(home: Path) -> list[tuple[str, ...]]:
    with (home / "ratings.csv").open(newline="") as stream:
        return [tuple(row.values()) for row in csv.DictReader(stream)]


def test_each_node_gets_one_person_whole_of_the_quarter_who_rated_most(tmp_path: Path) -> None:
    file = ratings_file(tmp_path, [10 + n for n in range(20)])
    homes = homes_in(tmp_path / "homes", 4)
    shards, scale = people.write_people(file, homes, seed=1)
    assert scale == "0.5-5"
    names = [shard.users[0] for shard in shards]
    assert len(set(names)) == 4
    assert set(names) <= {f"p{n}" for n in range(15, 20)}
    for shard, home in zip(shards, homes, strict=True):
        rows = rows_of(home)
        assert {row[0] for row in rows} == {shard.users[0]}
        assert len(rows) == shard.ratings == 10 + int(shard.users[0][1:])
        assert all(float(rating) == 1 + int(song[1:]) % 4 for _, song, rating in rows)


def test_the_seed_draws_the_people(tmp_path: Path) -> None:
    file = sample_folder() / "ratings.csv"

    def drawn(name: str, seed: int) -> list[str]:
        shards, _ = people.write_people(file, homes_in(tmp_path / name, 12), seed)
        return [shard.users[0] for shard in shards]

    assert drawn("a", 1) == drawn("b", 1) != drawn("c", 2)


def test_a_file_with_too_few_people_is_refused(tmp_path: Path) -> None:
    file = ratings_file(tmp_path, [30, 9, 9])
    homes = homes_in(tmp_path / "homes", 2)
    with pytest.raises(DataError, match=r"2 people with 10 ratings or more .* there are 1"):
        people.write_people(file, homes, seed=1)


def test_a_file_that_is_none_is_said_in_one_line(tmp_path: Path, capsys: Any) -> None:
    missing = tmp_path / "none.csv"
    assert main.run(["demo", "--people", "--data", str(missing)]) == exit_codes.DATA
    error = capsys.readouterr().err
    assert error.startswith(f"openfl-node: error: {missing}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--communities", "--people"], "two demos"),
        (["--plot", "map.png"], "--plot draws the map"),
        (["--data", "x.csv"], "--data is for the people"),
        (["--communities", "--data", "x.csv"], "--data is for the people"),
        (["--communities", "--nodes", "5"], "at least 6 nodes"),
    ],
)
def test_options_that_make_no_sense_together(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["demo", *options]) == exit_codes.USAGE
    assert words in capsys.readouterr().err


# --- what they are measured against ------------------------------------------------------------


def test_references_are_trained_on_the_data_of_each_group(tmp_path: Path) -> None:
    homes = homes_in(tmp_path, 6)
    write_communities(sample_folder(), homes, communities=3, seed=2)
    settings = communities.USUAL.node_settings
    tastes = [0, 1, 2] * 2
    found = {r.key: r for r in references(homes, settings, ["red"] * 6, tastes)}
    assert list(found) == ["communities", "one_model", "stayed", "alone"]
    assert all(len(reference.errors) == 6 for reference in found.values())
    # Communities contradict each other, and two of a kind know more than one.
    assert found["communities"].mean < found["alone"].mean
    assert found["communities"].mean < found["one_model"].mean
    # All began in one group: what they would have had by staying is one model for all.
    assert found["stayed"].errors == found["one_model"].errors


def test_means_and_differences() -> None:
    reference = Reference("x", "x", (0.5, 1.5))
    assert reference.mean == 1.0
    assert mean([1.0, 2.0]) == 1.5
    assert behind([1.0, 1.2], reference) == pytest.approx(0.1)
    assert mean([1.0, None]) is None
    assert behind([1.0, None], reference) is None


# --- judging communities -----------------------------------------------------------------------


def test_purity_is_the_part_in_the_majority_of_its_group() -> None:
    assert communities.purity([0, 1, 0, 1], ["a", "b", "a", "b"]) == 1.0
    assert communities.purity([0, 1, 0, 1], ["a", "a", "a", "b"]) == 0.75


def test_a_group_for_each_community_is_no_problem_and_one_for_all_that_serves_as_well() -> None:
    assert communities.problems(ended(), REFERENCES) == []
    assert "found its group, 4 rounds (5 s)" in communities.verdict(ended())
    assert "6 of 6 nodes are served better" in communities.verdict(ended())
    one = ended(groups=("red",) * 6, after=(0.803,) * 6)
    assert communities.problems(one, REFERENCES) == []
    assert communities.verdict(one).startswith("All are in one group")


MIXED = ("red", "red", "green", "red", "blue", "green")
TORN = ("red", "blue", "green", "gold", "blue", "green")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": MIXED}, "purity 0.83"),
        # Served as well, but by groups that mix: only one group for all is excused by that.
        ({"groups": TORN}, "3 communities are in 4 groups"),
        ({"groups": ("red",) * 6, "after": (0.816,) * 6}, "less well than one a community: 2.0 %"),
        ({"after": (0.8, 0.91, 0.8, 0.8, 0.8, 0.8)}, "node-2 is served less well than before"),
        ({"after": (0.8, None, 0.8, 0.8, 0.8, 0.8)}, "node-2 is served less well than before"),
        ({"calm": False}, "not at rest after 12 rounds: the last move was 8 rounds ago"),
        ({"before": (None,) * 6}, "20 s were over before all nodes had learned"),
    ],
)
def test_a_sorting_that_failed_says_why(changes: dict[str, object], words: str) -> None:
    (problem,) = communities.problems(ended(**changes), REFERENCES)
    assert words in problem


@pytest.mark.parametrize(
    ("groups", "error", "over"),
    [
        (("red", "blue", "green") * 2, 2.0, True),
        (MIXED, 0.8, False),
        (TORN, 0.8, False),
        (("red",) * 6, 0.803, True),
        (("red",) * 6, 0.81, False),
        (("red",) * 6, None, False),
    ],
)
def test_communities_may_end_sorted_or_served_as_well_in_one_group(
    groups: tuple[str, ...], error: float | None, over: bool
) -> None:
    tastes = [0, 1, 2] * 2
    assert communities.may_end(tastes, REFERENCES, groups, [error] * 6) is over


# --- judging people ----------------------------------------------------------------------------


def test_people_are_served_when_they_end_no_worse_than_together() -> None:
    assert people.problems(ended(after=(0.854,) * 6), REFERENCES) == []
    said = people.verdict(ended(after=(0.8415,) * 6), REFERENCES)
    assert said.startswith("Switching served them: 6 people ended in 3 groups, 1.0 % better than")
    assert "6.5 % better than where chance put them" in said
    assert "as good as one model for all" in people.verdict(ended(after=(0.85,) * 6), REFERENCES)


def test_people_who_would_be_better_off_alone_are_not_said_to_be_served() -> None:
    lonely = (*REFERENCES[:3], Reference("alone", "a model for each node", (0.83,) * 6))
    end = ended(after=(0.85,) * 6)
    assert people.problems(end, lonely) == []
    said = people.verdict(end, lonely)
    assert said.startswith("They ended no worse than together: 6 people ended in 3 groups, as good")
    assert said.endswith("2.4 % worse than alone.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"after": (0.867,) * 6}, "one model for all would serve them better: they ended 2.0 %"),
        ({"after": (0.8, None, 0.8, 0.8, 0.8, 0.8)}, "did not answer"),
        ({"calm": False}, "not at rest"),
        ({"before": (None,) * 6}, "before all nodes had learned"),
    ],
)
def test_people_that_are_not_served_are_told_why(changes: dict[str, object], words: str) -> None:
    (problem,) = people.problems(ended(**changes), REFERENCES)
    assert words in problem


# --- telling -----------------------------------------------------------------------------------


def test_the_json_has_what_is_documented() -> None:
    plain = as_json(ended(), REFERENCES, ["x"])
    assert json.loads(json.dumps(plain)) == plain
    assert (plain["sorted_out"], plain["problems"], plain["groups"]) == (False, ["x"], 3)
    assert plain["mean_rmse"] == {
        **{"before": pytest.approx(0.9), "after": pytest.approx(0.8)},
        **{r.key: pytest.approx(r.mean) for r in REFERENCES},
    }
    assert plain["nodes"][1] == {
        "node": "node-2",
        "community": 1,
        "first_group": "red",
        "group": "blue",
        "moves": 1,
        "rmse_before": 0.9,
        "rmse_after": 0.8,
        "change_percent": pytest.approx(-11.1, abs=0.1),
        "rmse_communities": 0.8,
        "rmse_one_model": 0.85,
        "rmse_stayed": 0.9,
        "rmse_alone": 1.0,
    }
    of_people = as_json(ended(shards=PEOPLE[:6]), REFERENCES, [])["nodes"][1]
    assert (of_people["person"], "community" in of_people) == ("u1", False)


def test_the_end_is_compared_with_each_reference() -> None:
    lines = comparison_lines(ended(after=(0.86,) * 6), REFERENCES)
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        "as they ended 0.8600",
        "a model for each community 0.8000 (they ended 7.5 % worse)",
        "one model for all 0.8500 (they ended 1.2 % worse)",
    ]
    assert "(they ended 14.0 % better)" in lines[5]
    assert all(len(line) <= 80 for line in lines)
    unknown = comparison_lines(ended(after=(None,) * 6), REFERENCES)
    assert "they ended" not in "".join(unknown[2:])


# --- drawing -----------------------------------------------------------------------------------


def test_the_map_shows_each_node_in_its_group_with_its_community() -> None:
    lines = text_of(group_map([0, 1, 0], ["red", "blue", "red"])).splitlines()
    assert lines[0].split() == ["blue", "2B"]
    assert lines[1].split() == ["red", "1A", "3A"]
    assert text_of(group_map([NO_TASTE], ["red"])).split() == ["red", "1"]


def test_the_closing_table_shows_before_and_after() -> None:
    text = text_of(closing_table(ended(), REFERENCES))
    assert "node-2  B      red       blue        1  0.9000  0.8000  -11.1 %     0.8000" in text
    of_people = text_of(closing_table(ended(shards=PEOPLE[:6]), REFERENCES[1:]))
    assert "node-2  u1      red       blue        1  0.9000  0.8000  -11.1 %   0.8500" in of_people
    assert "all one" in of_people


def test_the_closing_tables_fit_a_terminal_even_with_a_founded_group() -> None:
    groups = ("green-1aa5",) * 6
    long = tuple(Listeners((f"person-of-long-name-{n}",), 10, NO_TASTE) for n in range(6))
    for shards, found in ((SHARDS, REFERENCES), (long, REFERENCES[1:])):
        table = closing_table(ended(shards=shards, groups=groups), found)
        assert max(map(len, text_of(table, 200).splitlines())) <= 80


def act_view(nodes: int, groups: int, shards: Sequence[Listeners], act: int = 2) -> ActView:
    names = ("red", "green-1aa5", "blue", "gold", "blue-77c0", "red-1c2d")
    shots = [make_snapshot(group_name=names[n % groups], group_id="ab") for n in range(nodes)]
    moved = make_event(1, message="moved from blue to red: red is +5.0 % better than blue")
    return ActView(shots, [0.9] * nodes, shards[:nodes], act, 65.0, [(n, moved) for n in range(9)])


@pytest.mark.parametrize(("nodes", "groups"), [(9, 3), (12, 4), (16, 4), (16, 6)])
@pytest.mark.parametrize("kind", ["communities", "people"])
def test_the_live_view_fits_a_small_terminal(nodes: int, groups: int, kind: str) -> None:
    taste = {"communities": range(3), "people": [NO_TASTE] * 3}[kind]
    shards = [Listeners((f"u{n}",), 10, taste[n % 3]) for n in range(nodes)]
    lines = text_of(ActPicture(act_view(nodes, groups, shards)), 80, 24).rstrip("\n").split("\n")
    assert len(lines) <= 24 - (nodes + groups < 21)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[0].startswith("OpenFL demo  let go: each looks for the group that serves")
    assert sum(line.startswith("node-") and "0.9000" in line for line in lines) == nodes


def test_the_live_view_tells_the_moves_where_there_is_room() -> None:
    text = text_of(ActPicture(act_view(9, 3, SHARDS + SHARDS)), 80, 24)
    assert text.count("moved from blue to red") >= 3
    assert "held-out error (RMSE) on ratings no node trained on" in text
    first = text_of(ActPicture(act_view(6, 3, SHARDS, act=1)), 80, 24)
    assert "learning in the groups that chance put them in" in first


def test_two_groups_of_one_name_are_told_apart() -> None:
    shots = [make_snapshot(group_name="red", group_id=f"{n}abcdef") for n in (1, 2)]
    other = make_snapshot(group_name="blue", group_id="3abcdef")
    assert group_labels([*shots, other, None]) == ["red 1abc", "red 2abc", "blue", ""]


def test_the_map_is_written_as_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name, shards in (("communities.png", SHARDS), ("people.png", PEOPLE[:6])):
        plot(tmp_path / name, ended(shards=shards))
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


# --- when it is over ---------------------------------------------------------------------------

SETTINGS = ActSettings(
    nodes=2,
    groups=1,
    first_rounds=8,
    calm_rounds=4,
    most_rounds=20,
    seed=1,
    node_settings=(),
)


class Rehearsal:
    """A demo of two nodes without the nodes: what they answer is said here."""

    def __init__(self, folder: Path, may_end: MayEnd = lambda groups, errors: True) -> None:
        self.acts = TwoActs(
            SETTINGS, [folder] * 2, SHARDS[:2], ["red", "red"], lambda view: None, may_end
        )
        self.shots: list[NodeSnapshot] = []
        self.answer(0, 0)

    def answer(self, *rounds: int, groups: Sequence[str] = ("11", "11"), **more: Any) -> None:
        """Both nodes answer: these rounds, in groups of these ids."""
        before = self.shots or [None, None]
        now = [
            make_snapshot(group_name="red", group_id=group, round=done, **more)
            for done, group in zip(rounds, groups, strict=True)
        ]
        self.acts._crew.shots[:] = now
        for number in range(2):
            self.acts._heard(number, before[number], now[number])
        self.shots = now

    def let_go(self) -> None:
        """As `_let_go`, without asking the nodes."""
        self.acts._let_go_seconds = 1.0
        self.acts._let_go_rounds = self.acts._last_move_rounds = self.acts._rounds()

    @property
    def over(self) -> bool:
        return self.acts._is_over()


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openfl_cli.demo.crew.Crew.seconds", 1.0)


@pytest.mark.usefixtures("seconds")
def test_a_node_that_has_yet_to_join_is_in_no_place_and_joining_is_no_move(tmp_path: Path) -> None:
    demo = Rehearsal(tmp_path)
    demo.acts._places.clear()
    demo.shots = []
    moves = []
    for group_id in ("", "11", "11", "22"):
        demo.answer(1, 1, groups=(group_id, ""))
        moves.append(demo.acts._end().moves[0])
    assert moves == [-1, 0, 0, 1]


@pytest.mark.usefixtures("seconds")
def test_the_first_act_lasts_until_the_slowest_has_learned(tmp_path: Path) -> None:
    demo = Rehearsal(tmp_path)
    demo.answer(30, 7)
    assert not demo.acts._have_learned()
    demo.answer(30, 8, test=None)
    assert not demo.acts._have_learned()
    demo.answer(30, 8)
    assert demo.acts._have_learned()


@pytest.mark.usefixtures("seconds")
def test_calm_is_counted_in_rounds_of_the_slowest_since_the_last_move_of_anybody(
    tmp_path: Path,
) -> None:
    demo = Rehearsal(tmp_path)
    demo.answer(8, 8)
    assert not demo.over
    demo.let_go()
    demo.answer(12, 11)
    assert not demo.over
    demo.answer(13, 12, groups=("22", "11"))  # it moves
    demo.answer(30, 15, groups=("22", "11"))
    assert not demo.over
    demo.answer(30, 16, groups=("22", "11"))
    assert demo.over
    end = demo.acts._end()
    assert (end.calm, end.rounds, end.sorted_rounds, end.moves) == (True, 8, 4, (1, 0))


@pytest.mark.usefixtures("seconds")
def test_nodes_that_do_not_sort_themselves_out_end_after_their_rounds(tmp_path: Path) -> None:
    demo = Rehearsal(tmp_path, lambda groups, errors: False)
    demo.answer(8, 8)
    demo.let_go()
    demo.answer(30, 27)
    assert not demo.over
    demo.answer(30, 28)
    assert demo.over


@pytest.mark.usefixtures("seconds")
def test_nodes_that_are_sorted_out_at_the_last_moment_are_given_time_to_show_it(
    tmp_path: Path,
) -> None:
    demo = Rehearsal(tmp_path)
    demo.answer(8, 8)
    demo.let_go()
    for done in range(9, 36):
        demo.answer(done, done, groups=(f"{done}", "11"))
        assert not demo.over
        assert not demo.acts._end().calm
    demo.answer(36, 36, groups=("36", "11"))
    assert demo.over


@pytest.mark.usefixtures("seconds")
def test_every_decision_is_kept_once(tmp_path: Path) -> None:
    demo = Rehearsal(tmp_path)
    stay, move = DecisionView(1.0, "stay", "stayed"), DecisionView(2.0, "move", "moved")
    for round_, decisions in ((1, (stay,)), (2, (stay,)), (3, (stay, move))):
        demo.answer(round_, round_, switching=SwitchingView(decisions=decisions))
    found = demo.acts._end().decisions
    assert [(d.node, d.round, d.text) for d in found] == [
        (0, 1, "stayed"),
        (1, 1, "stayed"),
        (0, 3, "moved"),
        (1, 3, "moved"),
    ]


def test_patience_grows_with_what_there_is_to_do() -> None:
    longer = dataclasses.replace(SETTINGS, most_rounds=40)
    slower = dataclasses.replace(SETTINGS, interval_seconds=2.0)
    assert SETTINGS.patience < longer.patience < slower.patience
    assert dataclasses.replace(SETTINGS, timeout_seconds=7.0).patience == 7.0
