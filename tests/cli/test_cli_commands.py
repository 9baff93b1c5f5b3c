"""Each command with a stand-in for the node: what it asks, what it prints, its JSON shape."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import (
    GROUP,
    PEER_IDS,
    FakeControl,
    FakeRecommendations,
    FakeRuntime,
    make_snapshot,
)

from openfl.app import home_folder
from openfl.core.contribution import PeerId
from openfl.core.errors import GroupError, NotRunningError
from openfl.core.names import is_unseen
from openfl.core.telemetry import DirectoryView, MemberView
from openfl.storage.home import Home
from openfl_cli import exit_codes, main

BOOTSTRAP = f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER_IDS[1]}"


@pytest.fixture
def running(control: FakeControl) -> FakeControl:
    """A node answers everything."""
    from dataclasses import asdict

    control.answers = {
        "snapshot": make_snapshot().to_plain(),
        "groups": [asdict(GROUP)],
        "switch": asdict(GROUP),
        "recommend": lambda user, top: FakeRecommendations(user, top).to_plain(),
        "stop": None,
    }
    return control


def output_of(
    capsys: pytest.CaptureFixture[str], *argv: str, code: int = exit_codes.SUCCESS
) -> str:
    assert main.run(list(argv)) == code
    return capsys.readouterr().out


def json_of(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    return json.loads(output_of(capsys, *argv, "--json"))


# --- status, id, peers -------------------------------------------------------------------------


def test_status_json_has_the_documented_keys(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    status = json_of(capsys, "status")
    assert status["peer_id"] == PEER_IDS[0]
    assert status["multiaddrs"] == list(make_snapshot().multiaddrs)
    assert status["group"] == {"id": GROUP.id, "name": "music", "task": "rating"}
    assert (status["members"], status["peers"], status["round"]) == (4, 3, 7)
    assert status["train_examples"] == 1203
    assert status["metrics"]["validation_rmse"] == 0.8123
    assert status["metrics"]["alone_rmse"] == 0.9011
    assert (status["bytes"]["sent"], status["bytes"]["received"]) == (1_234_567, 3_456_789)
    assert (status["resources"]["tasks"], status["resources"]["streams"]) == (61, 12)
    assert status["running"] is True


def test_status_of_a_node_that_does_not_run_comes_from_disk(
    control: FakeControl, runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.saved = make_snapshot()
    status = json_of(capsys, "status")
    assert (status["running"], status["phase"]) == (False, "stopped")
    assert "not running" in output_of(capsys, "status")


def test_status_where_no_node_ever_was_says_so(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["status"]) == exit_codes.NOT_RUNNING
    assert "no node is running" in capsys.readouterr().err


def test_status_shows_the_same_picture_as_the_live_view(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output_of(capsys, "status")
    assert "4 members of the group" in shown
    assert "0.8123 with the group  0.9011 alone" in shown


def test_status_watch_follows_the_node_until_it_stops(
    running: FakeControl,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openfl_cli.watch.LINES_EVERY_SECONDS", 0.0)
    left = iter(range(3))

    def snapshot() -> Any:
        if next(left, None) is None:
            return NotRunningError("gone")
        return make_snapshot().to_plain()

    running.answers["snapshot"] = snapshot
    lines = output_of(capsys, "status", "--watch", "--json").splitlines()
    assert [json.loads(line)["round"] for line in lines] == [7, 7]


def test_watching_is_meant_to_end_with_ctrl_c(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter(range(2))

    def snapshot() -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return make_snapshot().to_plain()

    running.answers["snapshot"] = snapshot
    output_of(capsys, "status", "--watch", "--json")


def test_watching_a_node_that_does_not_run_is_an_error(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    output_of(capsys, "status", "--watch", code=exit_codes.NOT_RUNNING)


def test_id_prints_the_peer_id_first_and_then_an_address_a_line(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output_of(capsys, "id").splitlines() == [PEER_IDS[0], *make_snapshot().multiaddrs]


def test_id_address_is_one_address_to_be_used_as_bootstrap(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output_of(capsys, "id", "--address") == make_snapshot().multiaddrs[0] + "\n"


def test_id_address_of_a_node_that_has_none_is_an_error_not_an_empty_line(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    output_of(capsys, "init")
    assert output_of(capsys, "id", "--address", code=exit_codes.NOT_RUNNING) == ""


def test_id_json_has_the_documented_keys(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = json_of(capsys, "id")
    assert answer["peer_id"] == PEER_IDS[0]
    assert answer["multiaddrs"] == list(make_snapshot().multiaddrs)


def test_id_of_an_empty_home_says_how_to_make_one(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["id"]) == exit_codes.NOT_RUNNING
    assert "openfl-node init" in capsys.readouterr().err


def test_peers_json_has_the_documented_keys(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = json_of(capsys, "peers")
    assert [peer["peer_id"] for peer in peers] == list(PEER_IDS[1:4])
    assert set(peers[0]) >= {"peer_id", "multiaddrs", "groups", "in_mesh"}
    assert peers[0]["groups"] == ["music"]


def test_peers_shows_whole_ids_because_people_copy_them(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output_of(capsys, "peers")
    assert all(peer in shown for peer in PEER_IDS[1:4])


def test_peers_of_a_lonely_node_says_so(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    running.answers["snapshot"] = make_snapshot(members=1).to_plain()
    assert output_of(capsys, "peers") == "no peers\n"
    assert json_of(capsys, "peers") == []


# --- groups, switch ----------------------------------------------------------------------------


def test_groups_json_has_the_documented_keys(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    (group,) = json_of(capsys, "groups")
    assert group["id"] == GROUP.id
    assert (group["name"], group["task"], group["members"]) == ("music", "rating", 4)
    assert (group["fit"], group["mine"]) == (0.82, True)


def test_groups_asks_the_running_node_and_nobody_else(
    running: FakeControl, runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    json_of(capsys, "groups", "--bootstrap", BOOTSTRAP)
    assert runtime.asked == []


def test_groups_joins_as_a_light_node_when_none_runs(
    control: FakeControl, runtime: FakeRuntime, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime.found_groups = (GROUP,)
    assert json_of(capsys, "groups", "--bootstrap", BOOTSTRAP)[0]["name"] == "music"
    assert runtime.asked == [((BOOTSTRAP,), 2.5)]


def test_groups_without_anybody_to_ask_says_what_to_give(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["groups"]) == exit_codes.USAGE
    assert "--bootstrap" in capsys.readouterr().err


def test_groups_of_an_empty_network_says_so(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output_of(capsys, "groups", "--bootstrap", BOOTSTRAP)
    assert shown == "the network knows no groups yet\n"


def test_groups_says_why_no_other_is_known_and_json_stays_json(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import asdict, replace

    shot = make_snapshot(directory=DirectoryView(asked=2, refused=2))
    running.answers["snapshot"] = shot.to_plain()
    running.answers["groups"] = [asdict(replace(GROUP, mine=True))]
    assert main.run(["groups", "--json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)) == 1
    assert "no other group is known: all 2 peers asked refused" in printed.err


def test_groups_marks_ours_and_says_why_another_does_not_fit(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import asdict, replace

    other = replace(
        GROUP, id="ff" * 16, name="films", mine=False, compatible=False, reason="scale 1-10"
    )
    running.answers["groups"] = [asdict(other), asdict(GROUP)]
    lines = output_of(capsys, "groups").splitlines()
    assert lines[1].startswith("*")
    assert "this node's" in lines[1]
    assert "scale 1-10" in lines[2]


def test_switch_names_the_group_that_the_node_is_in_now(
    running: FakeControl, capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    assert output_of(capsys, "switch", "jazz") == "now in group music (0123456789ab)\n"
    assert (clean_environment, "switch", {"group": "jazz", "pin": False}) in running.calls


def test_switch_with_pin_says_so_to_the_node_and_to_its_owner(
    running: FakeControl, capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    shown = output_of(capsys, "switch", "jazz", "--pin")
    assert shown == "now in group music (0123456789ab), pinned\n"
    assert (clean_environment, "switch", {"group": "jazz", "pin": True}) in running.calls


def test_found_names_the_new_group(
    running: FakeControl, capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    running.answers["found"] = running.answers["switch"]
    assert output_of(capsys, "found", "bebop") == "founded group music (0123456789ab)\n"
    assert (clean_environment, "found", {"group": "bebop", "pin": False}) in running.calls


def test_groups_tells_what_each_would_be_worth_to_this_node(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import asdict, replace

    jazz = replace(
        GROUP, id="aa" * 16, name="jazz", mine=False, gain=-0.034, gain_error=0.0121, members=3
    )
    films = replace(GROUP, id="ff" * 16, name="films", mine=False, members=2)
    running.answers["groups"] = [asdict(films), asdict(GROUP), asdict(jazz)]
    here, tried, untried = output_of(capsys, "groups").splitlines()[1:]
    assert "  here" in here
    assert "3.4 % worse ± 1.2" in tried
    assert "not tried" in untried
    assert json_of(capsys, "groups")[2]["gain"] == -0.034


def test_status_why_tells_the_last_decisions(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    from openfl.core.telemetry import DecisionView, SwitchingView

    switching = SwitchingView(
        auto=True,
        moves=1,
        dwell_rounds=2,
        why="stayed in jazz: came 1 rounds ago, dwell time ends in 2 rounds",
        decisions=(DecisionView(0.0, "move", "moved from blues to jazz: jazz is +4.0 % better"),),
    )
    running.answers["snapshot"] = make_snapshot(switching=switching).to_plain()
    first, second, third = output_of(capsys, "status", "--why").splitlines()
    assert first == switching.why
    assert second == "1 move by its own decision so far"
    assert third.endswith("moved from blues to jazz: jazz is +4.0 % better")
    assert json_of(capsys, "status", "--why")["decisions"][0]["action"] == "move"
    assert json_of(capsys, "status")["switching"]["why"] == switching.why


def test_switch_to_an_unknown_group_is_refused_with_its_exit_code(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    running.answers["switch"] = GroupError("no group is called jazz")
    output_of(capsys, "switch", "jazz", code=exit_codes.GROUP)


# --- recommend ---------------------------------------------------------------------------------


def test_recommend_json_has_the_documented_keys(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    songs = json_of(capsys, "recommend", "--user", "ann", "--top", "3")
    assert len(songs) == 3
    assert songs[0]["song_id"] == "s1"
    assert (songs[0]["title"], songs[0]["score"]) == ("Song 1", 4.9)


def test_recommend_gives_five_unless_told_otherwise(
    running: FakeControl, capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    assert len(json_of(capsys, "recommend", "--user", "ann")) == 5
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text("[recommend]\ncount = 2\n")
    assert len(json_of(capsys, "recommend", "--user", "ann")) == 2


def test_recommend_without_a_running_node_uses_what_was_saved_and_passes_notes_on(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = output_of(capsys, "recommend", "--user", "stranger")
    assert "Nothing is known of stranger" in shown
    assert "note: nobody knows them" in shown


def test_recommend_json_keeps_notes_out_of_the_data(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["recommend", "--user", "stranger", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["kind"] == "popular"
    assert "nobody knows them" in captured.err


def test_recommend_shows_titles_or_ids_when_there_are_none(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = FakeRecommendations("ann", 1).to_plain()
    plain["items"][0].update(title=None, artist=None)
    running.answers["recommend"] = plain
    shown = output_of(capsys, "recommend", "--user", "ann")
    assert "song s1" in shown
    assert "artist" not in shown


UNSEEN = "Son\u202eg\u200b \x1b[31m\u2028\x7f\ud800\u3164 \U000e0041"


def test_what_a_titles_file_says_steers_no_terminal_and_is_kept_in_json(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = FakeRecommendations("ann", 1).to_plain()
    plain["items"][0].update(title=UNSEEN, artist="Dvořák")
    running.answers["recommend"] = plain
    for options in ((), ("--json",)):
        shown = output_of(capsys, "recommend", "--user", "ann", *options)
        assert "Dvořák" in shown
        assert not [c for c in shown if c != "\n" and is_unseen(c)]
    assert json.loads(shown)[0]["title"] == UNSEEN


def test_nor_does_a_group_or_a_reason_from_the_network(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    group = {**running.answers["groups"][0], "name": UNSEEN, "reason": UNSEEN, "compatible": False}
    running.answers["groups"] = [group]
    for options in ((), ("--json",)):
        shown = output_of(capsys, "groups", *options)
        assert not [c for c in shown if c != "\n" and is_unseen(c)]
    assert json.loads(shown)[0]["name"] == UNSEEN


def test_names_that_may_be_taken_for_another_are_marked_in_the_list(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    group = {**running.answers["groups"][0], "mine": False}
    names = ("music", "musi\u0441", "Jazz", "films")
    running.answers["groups"] = [
        {**group, "id": f"{n:032x}", "name": name} for n, name in enumerate(names)
    ]
    shown = " ".join(output_of(capsys, "groups").split())
    assert shown.count("another has such a name: go by the id") == 2
    assert shown.count("mixes cyrillic and latin letters") == 1


def test_status_says_that_most_members_are_strangers(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(known: int, round_number: int = 9) -> str:
        members = [
            MemberView(PeerId(f"p{n}"), 1, 0.5, 9, 1.0, n == 0, "", None if n == 0 else n <= known)
            for n in range(200)
        ]
        shot = replace(make_snapshot(), members=tuple(members), round=round_number)
        running.answers["snapshot"] = shot.to_plain()
        return output_of(capsys, "status")

    assert "195 of 200 members have no history with this node" in told(4)
    assert json_of(capsys, "status")["strangers"] == 195
    assert "no history" not in told(150)
    assert "no history" not in told(0, round_number=2), "it has had no time to know anybody"


def test_every_command_writes_json_through_the_one_function() -> None:
    sources = {p: p.read_text() for p in Path(main.__file__).parent.rglob("*.py")}
    assert [p.name for p, source in sources.items() if "json.dumps(" in source] == ["text.py"]


def test_recommend_with_nothing_to_say_says_that(
    running: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    running.answers["recommend"] = FakeRecommendations("ann", 0).to_plain()
    assert "nothing to recommend" in output_of(capsys, "recommend", "--user", "ann")


# --- stop --------------------------------------------------------------------------------------


def test_stop_waits_until_the_node_is_gone(
    running: FakeControl,
    capsys: pytest.CaptureFixture[str],
    clean_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([True, True, False])
    monkeypatch.setattr(home_folder, "is_locked", lambda home: next(answers))
    assert output_of(capsys, "stop", "--leave") == "stopped\n"
    assert (clean_environment, "stop", {"leave": True}) in running.calls
    assert next(answers, None) is None


def test_stop_sees_whether_a_node_holds_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert not home_folder.is_locked(tmp_path)
    home.prepare()
    with home.lock():
        assert home_folder.is_locked(tmp_path)
    assert not home_folder.is_locked(tmp_path)


def test_stop_does_not_claim_what_did_not_happen(
    running: FakeControl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_folder, "is_locked", lambda home: True)
    output_of(capsys, "stop", "--timeout", "0.01", code=exit_codes.STATE)


def test_stop_where_nothing_runs_says_so(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    output_of(capsys, "stop", code=exit_codes.NOT_RUNNING)


# --- init, config show -------------------------------------------------------------------------


def test_init_writes_a_commented_configuration_and_a_private_identity(
    capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    shown = output_of(capsys, "init", "--group", "jazz", "--bootstrap", BOOTSTRAP)
    text = (clean_environment / "config.toml").read_text()
    assert tomllib.loads(text) == {
        **{section: {} for section in tomllib.loads(text)},
        "group": {"name": "jazz"},
        "network": {"bootstrap": [BOOTSTRAP]},
    }
    assert text.count("\n#") > 50
    key = clean_environment / "identity.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "peer id  12D3KooW" in shown


def test_init_twice_keeps_the_configuration_and_the_identity(
    capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    output_of(capsys, "init", "--group", "jazz")
    before = (clean_environment / "identity.key").read_bytes()
    assert "kept" in output_of(capsys, "init", "--group", "rock")
    assert (clean_environment / "identity.key").read_bytes() == before
    assert 'name = "jazz"' in (clean_environment / "config.toml").read_text()


def test_init_with_force_keeps_the_old_configuration_aside(
    capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    output_of(capsys, "init", "--group", "jazz")
    output_of(capsys, "init", "--group", "rock", "--force")
    assert 'name = "rock"' in (clean_environment / "config.toml").read_text()
    assert 'name = "jazz"' in (clean_environment / "config.toml.bak").read_text()


def test_id_knows_a_home_that_was_only_made(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    made = output_of(capsys, "init")
    answer = json_of(capsys, "id")
    assert answer["peer_id"] in made
    assert (answer["multiaddrs"], answer["running"]) == ([], False)


def test_init_where_nothing_can_be_written_is_a_state_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    output_of(capsys, "init", "--home", f"{tmp_path}/file/home", code=exit_codes.STATE)


def test_config_show_prints_a_configuration_that_says_where_values_come_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, clean_environment: Path
) -> None:
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text('[group]\nname = "jazz"\n')
    monkeypatch.setenv("OPENFL_TRAINING_ROUNDS", "7")
    shown = output_of(capsys, "config", "show", "--set", "training.interval_seconds=9")
    tree = tomllib.loads(shown)
    assert tree["group"]["name"] == "jazz"
    assert (tree["training"]["rounds"], tree["training"]["interval_seconds"]) == (7, 9.0)
    assert f'name = "jazz"  # {clean_environment}/config.toml' in shown
    assert "rounds = 7  # OPENFL_TRAINING_ROUNDS" in shown


def test_config_show_changed_leaves_the_defaults_out(capsys: pytest.CaptureFixture[str]) -> None:
    shown = output_of(capsys, "config", "show", "--changed", "--set", "group.name=jazz")
    assert shown == '[group]\nname = "jazz"  # command line\n'
    assert output_of(capsys, "config", "show", "--changed") == ""


def test_config_show_lists_all_problems_at_once(
    capsys: pytest.CaptureFixture[str], clean_environment: Path
) -> None:
    clean_environment.mkdir()
    (clean_environment / "config.toml").write_text("[training]\nrounds = -1\nspeed = 2\n")
    assert main.run(["config", "show"]) == exit_codes.CONFIG
    shown = capsys.readouterr().err
    assert "2 problems" in shown
    assert "training.rounds" in shown
    assert "training.speed" in shown


def test_the_config_option_names_another_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "other.toml"
    file.write_text('[group]\nname = "folk"\n')
    assert json_of(capsys, "config", "show", "--config", str(file))["group"]["name"] == "folk"
    output_of(capsys, "config", "show", "--config", f"{file}x", code=exit_codes.CONFIG)
