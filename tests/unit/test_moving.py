"""A home in one file: what is in it, what it becomes elsewhere, and what is refused."""

from __future__ import annotations

import hashlib
import json
import stat
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from openfl.app.control_socket import call
from openfl.app.home_archive import MANIFEST
from openfl.app.home_folder import make_peer_id, peer_id, require_not_moved
from openfl.app.moving import export_home, import_home, undo_move
from openfl.app.open_node import open_node
from openfl.config import Config, load_config
from openfl.core.errors import NotRunningError, StateError
from openfl.core.model_view import DenseModel
from openfl.network.libp2p.private_network import generate_network_key
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage
from openfl.storage.last_run import NODE_KIND, NODE_VERSION, current_charter, data_files
from openfl.storage.membership import SavedMembership
from openfl.storage.state_files import write_state
from tests.group_rig import CHARTER


def make_home(root: Path) -> Home:
    make_peer_id(root)
    return Home(root)


def with_state(home: Home, data: dict[str, str]) -> None:
    """As a node leaves it that is in a group."""
    trio.run(_save_state, home, data)


async def _save_state(home: Home, data: dict[str, str]) -> None:
    storage = HomeStorage(home, home.root / "model.safetensors")
    storage._data_files = data
    await storage.set_current(CHARTER)
    saved = SavedMembership(CHARTER, 7, 3, (1.5,), (), ())
    await storage.save(saved, DenseModel.empty(CHARTER))
    storage.port = 4001
    await storage.set_current(CHARTER)


def test_all_of_a_node_comes_along_and_its_data_when_asked_for(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "swarm.key").write_text(generate_network_key())
    (elsewhere / "for you.txt").write_text("an invitation")
    (elsewhere / "ratings.csv").write_text("user_id,song_id,rating\na,b,1\n")
    home.data_folder.mkdir()
    (home.data_folder / "plays.csv").write_text("plays")
    home.config_file.write_text(
        "# mine\n[network]\n"
        f"psk_file = '{elsewhere}/swarm.key'\nport = 4001\n"
        f"[group]\ninvitation_files = ['../elsewhere/for you.txt']\n"
        f"[data]\nratings_file = '{elsewhere}/ratings.csv'\n"
    )
    (home.root / "peers.json").write_text("{}")
    with_state(home, {"ratings_file": str(home.data_folder / "plays.csv")})
    (home.state_folder / "node.state.corrupt-20260101T000000Z").write_text("junk")
    target = tmp_path / "node.zip"

    done = export_home(home.root, target, with_data=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert done.left == ()
    take_away(elsewhere)
    new = tmp_path / "deep" / "new"
    made = import_home(target, new)

    assert made.peer_id == peer_id(home.root) == peer_id(new)
    assert made.group == CHARTER.name
    assert current_charter(Home(new)) == CHARTER
    assert data_files(Home(new)) == {"ratings_file": str(new / "data" / "plays.csv")}
    config = load_config(new / "config.toml", {}, {})
    assert (new / "config.toml").read_text().startswith("# mine\n[network]\n")
    assert Path(config.network.psk_file).read_text().startswith("/key/swarm/psk/")
    assert Path(config.group.invitation_files[0]).read_text() == "an invitation"
    assert Path(config.data.ratings_file).read_text().startswith("user_id")
    assert Path(config.data.ratings_file).is_relative_to(new)
    assert not list(new.rglob("*corrupt*"))
    for path in [new, *new.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert not list((tmp_path / "deep").glob(".*"))
    assert any("was not told to rest" in remark for remark in made.remarks)


def take_away(folder: Path) -> None:
    """The files of the old machine are not on the new one."""
    folder.rename(folder.with_name("gone"))


def test_without_the_data_it_is_said_where_it_was(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    home.data_folder.mkdir()
    (home.data_folder / "plays.csv").write_text("plays")
    with_state(home, {"ratings_file": str(home.data_folder / "plays.csv")})
    done = export_home(home.root, tmp_path / "node.zip")
    assert any("--with-data" in left for left in done.left)
    take_away(home.root)
    made = import_home(tmp_path / "node.zip", tmp_path / "new")
    assert not (tmp_path / "new" / "data").exists()
    assert any("start it with --data" in remark for remark in made.remarks)


def test_a_home_that_has_moved_rests_until_it_is_told_otherwise(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    export_home(home.root, tmp_path / "node.zip", move=True)
    with pytest.raises(StateError, match=r"has moved on .*node\.zip.*home undo-move --home"):
        require_not_moved(home)
    made = import_home(tmp_path / "node.zip", tmp_path / "new")
    assert made.remarks == ()
    require_not_moved(Home(tmp_path / "new"))
    undo_move(home.root)
    require_not_moved(home)
    with pytest.raises(StateError, match="has not moved"):
        undo_move(home.root)


def test_a_program_cannot_start_it_there_either(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    export_home(home.root, tmp_path / "node.zip", move=True)

    async def start() -> None:
        async with open_node(load_config(None, {}, {}), home.root, lambda event: None):
            raise AssertionError("it runs")

    with pytest.raises(StateError, match="has moved on"):
        trio.run(start)


def test_a_home_that_moves_while_its_node_reads_the_data_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "old")

    def reads(config: Config, resumed: Any) -> Any:
        export_home(home.root, tmp_path / "node.zip", move=True)

    monkeypatch.setattr("openfl.app.running_node.load_workload", reads)
    # A node that gets this far runs: there is nothing to learn from.
    monkeypatch.setattr("openfl.app.running_node._open_parts", lambda *_: pytest.fail("it runs"))

    async def start() -> None:
        async with open_node(load_config(None, {}, {}), home.root, lambda event: None):
            raise AssertionError("it runs")

    with pytest.raises(StateError, match="has moved on"):
        trio.run(start)


def test_whoever_asks_a_home_that_rests_is_told_where_its_node_is(tmp_path: Path) -> None:
    home = make_home(tmp_path / "my old")
    with pytest.raises(NotRunningError, match=r"openfl-node start --home '/.*my old'\)$"):
        call(home.root, "snapshot")
    export_home(home.root, tmp_path / "node.zip", move=True)
    with pytest.raises(NotRunningError, match=r"rests: its node has moved on .*node\.zip$"):
        call(home.root, "snapshot")


def test_a_damaged_note_of_a_move_is_a_note_of_a_move(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    home.moved_file.write_text('{"at": "yesterday"}')
    with pytest.raises(StateError, match="has moved: started here too"):
        require_not_moved(home)


def test_a_node_that_runs_is_not_copied(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    with home.lock(), pytest.raises(StateError, match="stop it first"):
        export_home(home.root, tmp_path / "node.zip", move=True)
    assert not (tmp_path / "node.zip").exists()
    require_not_moved(home)


def test_files_and_homes_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    home, target = make_home(tmp_path / "old"), tmp_path / "node.zip"
    target.write_text("precious")
    with pytest.raises(StateError, match="exists already"):
        export_home(home.root, target)
    assert target.read_text() == "precious"
    export_home(home.root, target, force=True)
    with pytest.raises(StateError, match="is not empty"):
        import_home(target, home.root)
    (tmp_path / "empty").mkdir()
    import_home(target, tmp_path / "empty")
    with pytest.raises(StateError, match="there is no node"):
        export_home(tmp_path / "nobody", tmp_path / "other.zip")


def test_an_archive_that_cannot_be_written_leaves_the_home_at_work(tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    with pytest.raises(StateError, match="cannot be written"):
        export_home(home.root, tmp_path / "nowhere" / "node.zip", move=True)
    require_not_moved(home)


# --- archives that somebody else has made ---------------------------------------------------------

Members = list[tuple[zipfile.ZipInfo | str, bytes]]


def test_a_home_is_written_where_the_clock_was_never_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path / "old")
    monkeypatch.setattr("time.localtime", lambda *_: time.gmtime(3600))
    export_home(home.root, tmp_path / "node.zip")
    assert import_home(tmp_path / "node.zip", tmp_path / "new").peer_id == peer_id(home.root)


@pytest.mark.parametrize("there", [True, False])
def test_a_home_that_is_a_link_to_another_disk_stays_one(there: bool, tmp_path: Path) -> None:
    home = make_home(tmp_path / "old")
    with_state(home, {})
    export_home(home.root, tmp_path / "node.zip")
    (tmp_path / "disk").mkdir()
    if there:
        (tmp_path / "disk" / "node").mkdir()
    (tmp_path / "new").symlink_to(tmp_path / "disk" / "node")
    import_home(tmp_path / "node.zip", tmp_path / "new")
    assert (tmp_path / "new").is_symlink()
    assert peer_id(tmp_path / "disk" / "node") == peer_id(home.root)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    home = make_home(tmp_path / "old")
    home.config_file.write_text("[network]\nport = 4001\n")
    export_home(home.root, tmp_path / "node.zip")
    return tmp_path / "node.zip"


def rewritten(archive: Path, change: Callable[[dict[str, Any], Members], None]) -> Path:
    """The archive with another manifest, other members."""
    with zipfile.ZipFile(archive) as old:
        manifest = json.loads(old.read(MANIFEST))
        members: Members = [(n, old.read(n)) for n in old.namelist() if n != MANIFEST]
    change(manifest, members)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr(MANIFEST, json.dumps(manifest))
        for name, content in members:
            new.writestr(name, content)
    return archive


def added(name: str, content: bytes = b"x", kind: int = stat.S_IFREG) -> Any:
    """Changes an archive so that this member is in it, and in its manifest."""

    def change(manifest: dict[str, Any], members: Members) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = (kind | 0o777) << 16
        members.append((info, content))
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"bytes": len(content), "sha256": digest}

    return change


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", stat.S_IFREG),
        ("/etc/evil", stat.S_IFREG),
        ("state/../../evil.state", stat.S_IFREG),
        ("state\\..\\evil.state", stat.S_IFREG),
        ("control.sock", stat.S_IFREG),
        ("lock", stat.S_IFREG),
        ("moved.json", stat.S_IFREG),
        ("node.log", stat.S_IFREG),
        ("data/other.csv", stat.S_IFREG),
        ("state/x.state", stat.S_IFLNK),
        ("state/x.state", stat.S_IFIFO),
        ("data/", stat.S_IFDIR),
    ],
)
def test_names_and_kinds_that_no_home_has_are_refused(
    name: str, kind: int, archive: Path, tmp_path: Path
) -> None:
    content = b"" if name.endswith("/") else b"../../../etc/passwd"
    rewritten(archive, added(name, content, kind))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StateError, match="nothing was imported"):
        import_home(archive, tmp_path / "new")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_larger_than_it_may_be_or_says_it_is_is_refused(
    archive: Path, tmp_path: Path
) -> None:
    rewritten(archive, added("players.token", bytes(5000)))
    with pytest.raises(StateError, match="larger than it may be"):
        import_home(archive, tmp_path / "new")

    def smaller(manifest: dict[str, Any], members: Members) -> None:
        manifest["files"]["players.token"]["bytes"] = 10

    rewritten(archive, smaller)
    with pytest.raises(StateError, match="is damaged"):
        import_home(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def other_identity(manifest: dict[str, Any], members: Members) -> None:
    manifest["peer_id"] = "12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"


def no_identity(manifest: dict[str, Any], members: Members) -> None:
    members[:] = [member for member in members if member[0] != "identity.key"]
    del manifest["files"]["identity.key"]


def unlisted(manifest: dict[str, Any], members: Members) -> None:
    members.append(("peers.json", b"{}"))


def missing(manifest: dict[str, Any], members: Members) -> None:
    members.pop()


def newer(manifest: dict[str, Any], members: Members) -> None:
    manifest["format"] = 2


def strange(manifest: dict[str, Any], members: Members) -> None:
    manifest["files"] = {"config.toml": {"bytes": "1", "sha256": 3}}


def other_paths(manifest: dict[str, Any], members: Members) -> None:
    manifest["paths"] = {"/a": "../b"}


def wrong_config(manifest: dict[str, Any], members: Members) -> None:
    members[:] = [member for member in members if member[0] != "config.toml"]
    del manifest["files"]["config.toml"]
    added("config.toml", b"[network]\nprot = 1\n")(manifest, members)


@pytest.mark.parametrize(
    "change",
    [
        other_identity,
        no_identity,
        unlisted,
        missing,
        newer,
        strange,
        other_paths,
        wrong_config,
    ],
)
def test_an_archive_that_is_not_whole_makes_no_home(
    change: Callable[[dict[str, Any], Members], None], archive: Path, tmp_path: Path
) -> None:
    rewritten(archive, change)
    with pytest.raises(StateError, match="nothing was imported"):
        import_home(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new*"))


def test_a_file_without_a_name_is_refused(archive: Path, tmp_path: Path) -> None:
    whole = bytearray(archive.read_bytes())
    at = whole.rindex(b"PK\x01\x02") + 28  # the lengths of the last name, of extras, of a comment
    whole[at + 4 : at + 6] = whole[at : at + 2]
    whole[at : at + 2] = bytes(2)
    archive.write_bytes(whole)
    with pytest.raises(StateError, match="nothing was imported"):
        import_home(archive, tmp_path / "new")


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_in_another_way_is_refused(way: int, archive: Path, tmp_path: Path) -> None:
    """Else damage in it would end in an error of that way's own."""
    with zipfile.ZipFile(archive) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(archive, "w", way) as new:
        for name, content in members:
            new.writestr(name, content)
    with zipfile.ZipFile(archive) as packed:
        last = packed.infolist()[-1]
    whole = bytearray(archive.read_bytes())
    begins = last.header_offset + 30 + len(last.filename)
    whole[begins : begins + last.compress_size] = bytes(last.compress_size)
    archive.write_bytes(whole)
    with pytest.raises(StateError, match="nothing was imported"):
        import_home(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_state_that_no_node_writes_breaks_nothing(archive: Path, tmp_path: Path) -> None:
    file = tmp_path / "node.state"
    write_state(file, NODE_KIND, NODE_VERSION, {"data_files": {"ratings_file": ["x"], 1: {}}})
    rewritten(archive, added("state/node.state", file.read_bytes()))
    assert import_home(archive, tmp_path / "new").group is None


def test_every_damaged_byte_is_noticed_or_does_no_harm(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    identity = (tmp_path / "old" / "identity.key").read_bytes()
    for at in range(0, len(whole), 31):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        new = tmp_path / f"new{at}"
        try:
            import_home(archive, new)
        except StateError:
            assert not new.exists()
        else:
            assert (new / "identity.key").read_bytes() == identity
    for length in range(0, len(whole), 97):
        archive.write_bytes(whole[:length])
        with pytest.raises(StateError):
            import_home(archive, tmp_path / "cut")
