"""A node's home: after a crash at any moment it is a member of exactly one group."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from openfl.app.resuming import reading_settings, with_remembered_data
from openfl.config import load_config
from openfl.config.kinds import RatingData
from openfl.core.contribution import Charter, ModelView, PeerId
from openfl.core.errors import StateError
from openfl.core.model_view import DenseModel
from openfl.core.telemetry import MemberView, NodeEvent, NodeSnapshot, PeerView, ResourcesView
from openfl.network.base import PeerAddress
from openfl.storage.base import OwedLeave, Standing
from openfl.storage.home import Home
from openfl.storage.home_storage import NODE_KIND, NODE_VERSION, HomeStorage
from openfl.storage.last_run import data_files, last_snapshot
from openfl.storage.membership import SavedMembership
from openfl.storage.remembered_peers import RememberedPeers
from openfl.storage.state_files import read_state, write_state
from tests.group_rig import CHARTER, peer

OLD = CHARTER
NEW = replace(CHARTER, name="next")


@pytest.fixture
def place(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def storage(place: Home) -> HomeStorage:
    """As a process that has just started."""
    return HomeStorage(place, place.root / "model.safetensors")


def membership(charter: Charter, round_number: int = 3) -> SavedMembership:
    return SavedMembership(charter, 7, round_number, (1.5,), (), ())


async def save(where: HomeStorage, charter: Charter, round_number: int = 3) -> None:
    await where.save(membership(charter, round_number), DenseModel.empty(charter))


async def settled_in(place: Home, charter: Charter) -> HomeStorage:
    where = storage(place)
    where.port = 4001
    await where.set_current(charter)
    await save(where, charter)
    return where


def resumed(place: Home, wanted: str | None = None) -> tuple[str | None, int, list[str]]:
    """(name of the group, its round, problems) at the next start."""
    saved, problems = storage(place).load(wanted)
    return (None, 0, problems) if saved is None else (saved.charter.name, saved.round, problems)


def state_names(place: Home) -> set[str]:
    return {path.name for path in place.state_folder.iterdir()}


# --- which group ----------------------------------------------------------------------------------


async def test_an_empty_home_resumes_nothing_and_has_no_problem(place: Home) -> None:
    assert resumed(place) == (None, 0, [])


async def test_a_saved_membership_is_resumed(place: Home) -> None:
    await settled_in(place, OLD)
    assert resumed(place) == (OLD.name, 3, [])


async def test_a_later_save_takes_the_place_of_an_earlier_one(place: Home) -> None:
    where = await settled_in(place, OLD)
    await save(where, OLD, 4)
    assert resumed(place) == (OLD.name, 4, [])


async def test_a_crash_before_the_new_group_is_named_leaves_the_old_one(place: Home) -> None:
    where = await settled_in(place, OLD)
    await save(where, NEW, 0)
    assert resumed(place) == (OLD.name, 3, [])


async def test_a_crash_between_naming_the_new_group_and_forgetting_the_old_leaves_the_new_one(
    place: Home,
) -> None:
    where = await settled_in(place, OLD)
    await save(where, NEW, 0)
    await where.set_current(NEW)
    assert resumed(place) == (NEW.name, 0, [])


async def test_forgetting_the_old_group_removes_its_membership_and_keeps_the_new(
    place: Home,
) -> None:
    where = await settled_in(place, OLD)
    await save(where, NEW, 0)
    await where.set_current(NEW)
    await where.forget(OLD.group_id)
    assert resumed(place) == (NEW.name, 0, [])
    assert f"{OLD.group_id}.state" not in state_names(place)


async def test_leaving_the_one_group_for_good_leaves_none(place: Home) -> None:
    where = await settled_in(place, OLD)
    await where.forget(OLD.group_id)
    assert resumed(place) == (None, 0, [])
    assert state_names(place) == {"node.state"}


async def test_forgetting_a_group_one_never_was_in_does_no_harm(place: Home) -> None:
    where = await settled_in(place, OLD)
    await where.forget(NEW.group_id)
    assert resumed(place) == (OLD.name, 3, [])


async def test_a_group_that_was_named_but_not_saved_yet_is_resumed_empty(place: Home) -> None:
    await storage(place).set_current(OLD)
    assert resumed(place) == (OLD.name, 0, [])


async def test_the_wanted_group_is_resumed_when_it_is_the_saved_one(place: Home) -> None:
    await settled_in(place, OLD)
    assert resumed(place, wanted=OLD.name) == (OLD.name, 3, [])


async def test_a_wanted_group_wins_over_the_saved_one(place: Home) -> None:
    await settled_in(place, OLD)
    assert resumed(place, wanted="another") == (None, 0, [])
    # Nothing is lost by that: the saved one can still be wanted next time.
    assert resumed(place, wanted=OLD.name) == (OLD.name, 3, [])


# --- the port -------------------------------------------------------------------------------------


async def test_the_port_is_kept_even_when_no_group_is(place: Home) -> None:
    where = await settled_in(place, OLD)
    await where.forget(OLD.group_id)
    again = storage(place)
    again.load(None)
    assert again.port == 4001


@pytest.mark.parametrize("port", [None, "4001", -1, 65536, 0, 4001.5])
def test_a_port_that_is_none_counts_as_unknown(place: Home, port: Any) -> None:
    content = {"charter": OLD.to_plain(), "port": port}
    write_state(place.state_file("node"), NODE_KIND, NODE_VERSION, content)
    again = storage(place)
    saved, problems = again.load(None)
    assert (again.port, problems) == (0, [])
    assert saved is not None


# --- damage ---------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


async def test_a_damaged_membership_is_moved_aside_and_the_right_group_is_still_known(
    place: Home,
) -> None:
    await settled_in(place, OLD)
    damage(place.state_file(OLD.group_id))
    name, round_number, problems = resumed(place)
    assert (name, round_number) == (OLD.name, 0)
    (problem,) = problems
    assert "damaged" in problem
    assert problem.endswith("catching up from the group")
    assert any(".state.corrupt-" in kept for kept in state_names(place))


async def test_a_membership_that_is_whole_but_no_membership_is_said(place: Home) -> None:
    await settled_in(place, OLD)
    write_state(place.state_file(OLD.group_id), "membership", 1, {"epoch": "soon"})
    name, round_number, problems = resumed(place)
    assert (name, round_number) == (OLD.name, 0)
    assert "not a saved membership" in problems[0]


async def test_a_damaged_node_file_is_moved_aside_and_said(place: Home) -> None:
    await settled_in(place, OLD)
    damage(place.state_file("node"))
    name, _, problems = resumed(place)
    assert name is None
    assert "moved to node.state.corrupt-" in problems[0]


@pytest.mark.parametrize("charter", [{}, {"name": "x"}, [1], "music"])
def test_a_damaged_charter_is_said(place: Home, charter: Any) -> None:
    content = {"charter": charter, "port": 4001}
    write_state(place.state_file("node"), NODE_KIND, NODE_VERSION, content)
    name, _, problems = resumed(place)
    assert name is None
    assert "charter is damaged" in problems[0]


# --- saving ---------------------------------------------------------------------------------------


async def test_a_full_disk_is_a_state_error_and_what_was_saved_stays(
    place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await settled_in(place, OLD)
    before = state_names(place)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(StateError, match="disk is full"):
            await save(where, OLD, 4)
        with pytest.raises(StateError, match="disk is full"):
            await where.set_current(NEW)
    assert resumed(place) == (OLD.name, 3, [])
    assert state_names(place) == before
    await save(where, OLD, 5)
    assert resumed(place) == (OLD.name, 5, [])
    # The failed move was none: leaving for good still means the group it is in.
    await where.forget(OLD.group_id)
    assert resumed(place) == (None, 0, [])


class Models:
    """The part of a workload that storage uses."""

    def __init__(self) -> None:
        self.saved: list[tuple[Path, ModelView, Charter]] = []

    def save_model(self, path: Path, model: ModelView, charter: Charter) -> None:
        self.saved.append((path, model, charter))


async def test_every_save_writes_the_model_and_the_last_picture(place: Home) -> None:
    where, models = storage(place), Models()
    assert last_snapshot(place) is None
    where.attach(models, lambda: SNAPSHOT, {})  # type: ignore[arg-type]
    model = DenseModel.empty(OLD)
    await where.save(membership(OLD), model)
    assert models.saved == [(place.root / "model.safetensors", model, OLD)]
    assert last_snapshot(place) == replace(SNAPSHOT, phase="stopped", resources=None)


SNAPSHOT = NodeSnapshot(
    time=2.0,
    started_at=1.0,
    phase="learning",
    peer_id=peer(1),
    multiaddrs=("/ip4/127.0.0.1/tcp/4001",),
    home="/somewhere",
    group_id=OLD.group_id,
    group_name=OLD.name,
    task=OLD.task,
    metric="rmse",
    peers=(PeerView(peer(2), ("/ip4/127.0.0.1/tcp/1",), ("rig",), True),),
    members=(MemberView(peer(1), 3, 0.5, 10, 0.0, me=True),),
    round=3,
    rounds=0,
    train_examples=10,
    model_rows=10,
    validation=0.5,
    alone=None,
    test=None,
    alone_test=None,
    history=(1.5, 0.5),
    bytes_sent=1,
    bytes_received=2,
    published_bytes=3,
    deltas_merged=4,
    faults={"undecodable": 1},
    events=(NodeEvent(1.5, "info", "round", "round 3", {"round": 3}),),
    resources=ResourcesView(100, 20, 3, 60, 2, 5),
)


@pytest.mark.parametrize(
    "content", [{}, {"time": 1.0}, [], 5, "picture", {**SNAPSHOT.to_plain(), "surplus": 1}]
)
def test_a_picture_of_another_version_is_a_state_error(place: Home, content: Any) -> None:
    write_state(place.state_file("last"), "snapshot", 1, content)
    with pytest.raises(StateError, match="another version"):
        last_snapshot(place)


# --- peers ----------------------------------------------------------------------------------------


async def test_remembered_peers_are_kept_with_those_of_earlier_runs(place: Home) -> None:
    first = storage(place)
    await first.remember((PeerAddress(PeerId("anne"), ("/ip4/192.0.2.1/tcp/1",)),))
    known, read = RememberedPeers.load(place.peers_file, 0.0)
    assert read.problem is None
    second = storage(place)
    second.remembered(known)
    await second.remember((PeerAddress(PeerId("bert"), ("/ip4/192.0.2.2/tcp/1",)),))
    known, _ = RememberedPeers.load(place.peers_file, 0.0)
    assert [p.peer_id for p in known.peers] == ["bert", "anne"]


async def test_the_most_useful_peer_stays_first(place: Home) -> None:
    names = [PeerId(f"peer {n}") for n in range(5)]
    await storage(place).remember(
        tuple(PeerAddress(name, (f"/ip4/192.0.2.{n}/tcp/1",)) for n, name in enumerate(names))
    )
    known, _ = RememberedPeers.load(place.peers_file, 0.0)
    assert [p.peer_id for p in known.peers] == names


async def test_the_node_file_says_what_it_is(place: Home) -> None:
    await settled_in(place, OLD)
    read = read_state(place.state_file("node"), NODE_KIND, NODE_VERSION, 0.0)
    standing = {"moves": 0, "rounds": 0, "rounds_here": 0, "pinned": False, "owed": []}
    assert read.content == {
        "charter": OLD.to_plain(),
        "asked": None,
        "port": 4001,
        "data_files": {},
        "standing": standing,
    }


# --- where the data is ----------------------------------------------------------------------------


async def test_where_the_data_is_can_be_asked_when_the_node_does_not_run(place: Home) -> None:
    assert data_files(place) == {}
    where = storage(place)
    files = {"data.ratings_file": "/music/ratings.csv"}
    where.attach(Models(), lambda: SNAPSHOT, files)  # type: ignore[arg-type]
    await where.set_current(OLD)
    assert data_files(place) == files
    await where.forget(OLD.group_id)
    assert data_files(place) == files


async def test_how_the_data_was_read_is_remembered_with_where_it_is(place: Home) -> None:
    """Or a file that was accepted once would be refused at the next start."""
    asked = {
        "data.ratings_file": "/music/ratings.csv",
        "data.skip_bad_rows": True,
        "data.rating_scale": "0-100",
    }
    config = load_config(None, {}, asked)
    where = storage(place)
    files = {"ratings_file": config.data.ratings_file, **reading_settings(config)}
    where.attach(Models(), lambda: SNAPSHOT, files)  # type: ignore[arg-type]
    await where.set_current(OLD)
    again = with_remembered_data(load_config(None, {}, {}), place)
    assert again.data == config.data
    assert again.own(RatingData) == config.own(RatingData)
    other = load_config(None, {}, {"data.skip_bad_rows": False, "data.rating_scale": "0-10"})
    assert with_remembered_data(other, place).own(RatingData).rating_scale == "0-10"
    assert with_remembered_data(other, place).data.skip_bad_rows is False


@pytest.mark.parametrize("files", [None, [], "ratings.csv"])
def test_data_files_of_another_version_count_as_unknown(place: Home, files: Any) -> None:
    content = {"charter": None, "port": 0, "data_files": files}
    write_state(place.state_file("node"), NODE_KIND, NODE_VERSION, content)
    assert data_files(place) == {}


# --- standing -------------------------------------------------------------------------------------

STANDING = Standing(3, 40, 5, True, (OwedLeave(OLD.group_id, b"signed"),))


async def test_the_standing_is_kept_with_the_group_in_one_file(place: Home) -> None:
    await storage(place).set_current(NEW, STANDING)
    again = storage(place)
    resume, problems = again.load(None)
    assert problems == []
    assert resume is not None
    assert (resume.charter, again.standing) == (NEW, STANDING)


async def test_that_a_node_began_apart_from_its_network_is_kept_until_it_has_met_it(
    place: Home,
) -> None:
    await storage(place).set_current(NEW, replace(STANDING, apart=True))
    again = storage(place)
    again.load(None)
    assert again.standing == replace(STANDING, apart=True)
    await again.set_current(NEW, STANDING)
    last = storage(place)
    last.load(None)
    assert last.standing == STANDING


async def test_a_damaged_standing_is_told_and_the_group_kept(place: Home) -> None:
    await storage(place).set_current(NEW, replace(STANDING, moves=-1))
    again = storage(place)
    resume, problems = again.load(None)
    assert resume is not None
    assert again.standing == Standing()
    assert len(problems) == 1
    assert "moves are counted from 0" in problems[0]


async def test_a_node_started_with_the_same_group_name_goes_on_where_it_has_gone(
    place: Home,
) -> None:
    model = place.root / "model.safetensors"
    await HomeStorage(place, model, asked="blues").set_current(NEW)
    resume, _ = storage(place).load("blues")
    assert resume is not None
    assert resume.charter == NEW
    # The twin: another name is another wish.
    assert storage(place).load("jazz")[0] is None


async def test_what_a_move_cut_short_left_behind_is_removed(place: Home) -> None:
    where = storage(place)
    await where.set_current(NEW)
    for charter in (OLD, NEW):
        place.state_file(charter.group_id).write_bytes(b"x")
    await where.tidy()
    assert not place.state_file(OLD.group_id).exists()
    assert place.state_file(NEW.group_id).exists()
    assert place.state_file("node").exists()


async def test_what_cannot_be_removed_is_a_line_for_the_owner(
    place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await settled_in(place, NEW)
    await save(where, OLD)

    def refuse(*anything: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    for removal in (where.tidy, lambda: where.forget(OLD.group_id)):
        with pytest.raises(StateError, match=r"cannot be removed: the file system is read-only"):
            await removal()
