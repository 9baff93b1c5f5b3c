"""Atomic files, the home folder and its lock, versioned state, remembered peers."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.atomic_files import atomic_write
from openfl.core.errors import StateError, UserError
from openfl.storage.home import Home
from openfl.storage.remembered_peers import (
    MAX_REMEMBERED_ADDRESSES,
    MAX_REMEMBERED_PEERS,
    RememberedPeers,
)
from openfl.storage.state_files import StateRead, peek_state, read_state, write_state

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- atomic_write ------------------------------------------------------------------------------


def test_a_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a", b"one")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert mode_of(tmp_path / "a") == 0o600
    assert names(tmp_path) == ["a"]


def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        atomic_write(tmp_path / "a", b"", mode=0o644)
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == 0o644


def test_a_file_is_replaced_and_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write(path, b"one")
    with path.open("rb") as reader:
        atomic_write(path, b"two")
        assert reader.read() == b"one", "who had it open still reads the old file, whole"
    assert path.read_bytes() == b"two"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; skipped where it cannot be mounted."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB: writes fail in the middle, for any user."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_keeps_the_old_file_and_no_leftover(small_disk: Path) -> None:
    path = small_disk / "a"
    atomic_write(path, b"old" * 1000)
    with pytest.raises(StateError, match=r"a: cannot be saved: the disk is full") as caught:
        atomic_write(path, os.urandom(100_000))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old" * 1000
    assert names(small_disk) == ["a"]
    atomic_write(path, b"new" * 1000)  # and the space was given back


@pytest.mark.usefixtures("small_files")
def test_a_write_that_fails_in_the_middle_keeps_the_old_file_and_no_leftover(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    atomic_write(path, b"old" * 1000)
    with pytest.raises(StateError, match="larger than files may be here"):
        atomic_write(path, os.urandom(100_000))
    assert path.read_bytes() == b"old" * 1000
    assert names(tmp_path) == ["a"]
    atomic_write(path, os.urandom(60_000))


def test_a_missing_folder_is_a_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="b: cannot be saved: No such file or directory"):
        atomic_write(tmp_path / "a" / "b", b"")


def test_a_folder_in_place_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StateError, match="a: cannot be saved: Is a directory"):
        atomic_write(tmp_path / "a", b"")
    assert names(tmp_path) == ["a"]


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder with the file `a` where we may read but not write, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").write_bytes(b"old")
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # root may write anywhere: be nobody for a while
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o700)


def test_a_folder_that_is_not_ours_is_a_clear_line(closed_folder: Path) -> None:
    with pytest.raises(StateError, match=r"a: cannot be saved: no permission"):
        atomic_write(closed_folder / "a", b"new")
    assert (closed_folder / "a").read_bytes() == b"old"
    with pytest.raises(StateError, match=r"home: cannot be created: no permission"):
        Home(closed_folder / "home").prepare()
    with pytest.raises(StateError, match=r"lock: cannot be opened: no permission"):
        Home(closed_folder).lock().__enter__()


def test_damaged_state_that_cannot_be_moved_is_a_clear_line(closed_folder: Path) -> None:
    with pytest.raises(StateError, match=r"a: is not a state file, and cannot be moved aside"):
        read_state(closed_folder / "a", "node", 1, NOON)
    with pytest.raises(StateError, match=r"a: .*, and cannot be moved aside: no permission"):
        RememberedPeers.load(closed_folder / "a", NOON)


WRITER = """
import sys
from pathlib import Path
from openfl.core.atomic_files import atomic_write
number = 0
while True:
    atomic_write(Path(sys.argv[1]), bytes([number % 256]) * 200_000)
    number += 1
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for writes_before in (1, 3, 7):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert writer.stdout is not None
        for _ in range(writes_before):
            assert writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        content = path.read_bytes()
        assert len(content) == 200_000
        assert len(set(content)) == 1


# --- home --------------------------------------------------------------------------------------


def test_the_home_of_the_option_wins_over_the_variable_over_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    environ = {"OPENFL_HOME": "/variable"}
    assert Home.find("/option", environ).root == Path("/option")
    assert Home.find(None, environ).root == Path("/variable")
    assert Home.find("", {}).root.name == "openfl-node"
    assert Home.find(None, {"OPENFL_HOME": ""}).root.is_relative_to(tmp_path)


def test_a_relative_home_is_taken_from_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert Home.find("x", {}).root == tmp_path / "x"
    assert Home.find("~/x", {}).root == Path("/home/ann/x")


def test_the_files_of_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.config_file == tmp_path / "config.toml"
    assert home.identity_file == tmp_path / "identity.key"
    assert home.state_file("node") == tmp_path / "state" / "node.state"
    assert home.peers_file == tmp_path / "peers.json"
    assert home.control_socket == tmp_path / "control.sock"
    assert home.log_file == tmp_path / "node.log"
    assert home.model_file("model.safetensors") == tmp_path / "model.safetensors"
    assert home.model_file("/abs/m.safetensors") == Path("/abs/m.safetensors")


def test_a_prepared_home_is_closed_to_others(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.prepare()
    home.prepare()
    assert mode_of(home.root) == 0o700
    assert mode_of(home.state_folder) == 0o700


def test_a_home_that_exists_keeps_its_permissions(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir()
    root.chmod(0o755)
    Home(root).prepare()
    assert mode_of(root) == 0o755


def test_a_file_in_place_of_the_home_is_a_clear_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("mine")
    with pytest.raises(StateError, match="home: is a file, but must be a folder"):
        Home(tmp_path / "home").prepare()
    with pytest.raises(StateError, match="home: is a file, but must be a folder"):
        Home(tmp_path / "home" / "deeper").prepare()
    with pytest.raises(StateError, match="deeper: cannot be created: Not a directory"):
        Home(tmp_path / "home" / "deeper" / "still").prepare()
    assert (tmp_path / "home").read_text() == "mine"


def test_a_second_node_in_the_same_home_is_told_the_process_of_the_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    with (
        home.lock(),
        pytest.raises(UserError, match=rf"another node \(process {os.getpid()}\) is running"),
        home.lock(),
    ):
        pass
    with home.lock():
        pass


def test_nodes_in_different_homes_do_not_hinder_each_other(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "1"), Home(tmp_path / "2")
    first.prepare()
    second.prepare()
    with first.lock(), second.lock():
        pass


def test_the_lock_is_freed_when_the_body_fails(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    with pytest.raises(ZeroDivisionError), home.lock():
        raise ZeroDivisionError
    with home.lock():
        pass


HOLDER = """
import sys
from pathlib import Path
from openfl.storage.home import Home
with Home(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_killed_node_frees_its_home_and_its_leftovers_are_removed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match=rf"process {holder.pid}\)"), home.lock():
            pass
        holder.kill()
    (home.state_folder / ".node.state.abc123.tmp").write_bytes(b"torn")
    (home.state_folder / "notes.tmp").write_bytes(b"of the owner")
    with home.lock():
        assert names(home.state_folder) == ["notes.tmp"]


def test_a_home_without_folder_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be opened"), Home(tmp_path / "x").lock():
        pass


# --- state -------------------------------------------------------------------------------------

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(content=plain_values)
def test_state_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, content: object
) -> None:
    path = tmp_path_factory.mktemp("state") / "node.state"
    write_state(path, "node", 1, content)
    assert read_state(path, "node", 1, NOON) == StateRead(content=content, version=1)
    assert mode_of(path) == 0o600


def test_missing_state_is_no_problem(tmp_path: Path) -> None:
    assert read_state(tmp_path / "node.state", "node", 1, NOON) == StateRead()


def test_state_of_an_older_format_comes_with_its_version(tmp_path: Path) -> None:
    path = tmp_path / "node.state"
    write_state(path, "node", 1, {"a": 1})
    assert read_state(path, "node", 2, NOON) == StateRead(content={"a": 1}, version=1)


@pytest.mark.parametrize("damage", ["none", "bytes", "kind", "version", "missing"])
def test_a_peek_finds_what_a_read_would_and_moves_nothing(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "node.state"
    write_state(path, "task" if damage == "kind" else "node", 3 if damage == "version" else 1, [7])
    if damage == "bytes":
        path.write_bytes(path.read_bytes()[:-1])
    if damage == "missing":
        path.unlink()
    before = sorted(tmp_path.iterdir())
    assert peek_state(path, "node", 2) == ([7] if damage == "none" else None)
    assert sorted(tmp_path.iterdir()) == before
    assert read_state(path, "node", 2, NOON).content == ([7] if damage == "none" else None)


def test_state_of_a_newer_format_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "node.state"
    write_state(path, "node", 3, {"a": 1})
    kept = path.read_bytes()
    read = read_state(path, "node", 2, NOON)
    assert read.content is None
    assert read.problem is not None
    assert "newer OpenFL (format 3, known 2)" in read.problem
    assert read.moved_to == tmp_path / "node.state.newer-20260101T120000Z"
    assert read.moved_to.read_bytes() == kept
    assert names(tmp_path) == ["node.state.newer-20260101T120000Z"]


def test_state_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "node.state"
    write_state(path, "task", 1, {})
    read = read_state(path, "node", 1, NOON)
    assert read.content is None
    assert "holds task instead of node" in (read.problem or "")


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "one byte", content[:1]
    yield "torn in the middle", content[: len(content) // 2]
    yield "last byte missing", content[:-1]
    yield "one more byte", content + b"\0"
    yield "zeros at the end", content[:-50] + bytes(50)
    yield "zeros", bytes(len(content))
    for place in (0, 14, 40, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 1
        yield f"bit flipped at {place}", bytes(flipped)


def test_damaged_state_is_moved_aside_and_said(tmp_path: Path) -> None:
    path = tmp_path / "node.state"
    write_state(path, "node", 1, {"rows": bytes(range(256))})
    for name, content in damaged(path.read_bytes()):
        path.write_bytes(content)
        read = read_state(path, "node", 1, NOON)
        assert read.content is None, name
        assert read.problem is not None
        assert read.problem.startswith(f"{path}: ")
        assert "\n" not in read.problem
        assert read.moved_to is not None
        assert read.moved_to.name in read.problem
        assert read.moved_to.read_bytes() == content, "damaged, but not lost"
        assert not path.exists()


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize(
    "body",
    [
        b"OpenFL state\n",
        b"OpenFL state\n\xff",
        b"OpenFL state\n" + cbor2.dumps([1, 2]),
        b"OpenFL state\n" + cbor2.dumps({"kind": "node"}),
        b"OpenFL state\n" + cbor2.dumps({"kind": "node", "version": "1", "content": 1}),
        b"OpenFL state\n" + b"\x81" * 100_000,
    ],
)
def test_a_right_checksum_over_nonsense_is_still_nonsense(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "node.state"
    path.write_bytes(sealed(body))
    read = read_state(path, "node", 1, NOON)
    assert read.content is None
    assert read.moved_to is not None


@given(content=st.binary(max_size=200))
def test_any_bytes_are_state_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("state") / "node.state"
    path.write_bytes(content)
    assert read_state(path, "node", 1, NOON).problem is not None


def test_two_damaged_files_of_one_second_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "node.state"
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        read_state(path, "node", 1, NOON)
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"1", b"2", b"3"]


def test_a_folder_in_place_of_the_state_is_a_clear_line(tmp_path: Path) -> None:
    (tmp_path / "node.state").mkdir()
    with pytest.raises(StateError, match=r"node\.state: cannot be read: Is a directory"):
        read_state(tmp_path / "node.state", "node", 1, NOON)


# --- remembered peers --------------------------------------------------------------------------


def test_the_peer_seen_last_comes_first() -> None:
    peers = RememberedPeers().with_seen("a", ("/ip4/192.0.2.1/tcp/1",), 1)
    peers = peers.with_seen("b", ("/ip4/192.0.2.2/tcp/1",), 2)
    assert [peer.peer_id for peer in peers.peers] == ["b", "a"]
    peers = peers.with_seen("a", ("/ip4/192.0.2.3/tcp/1",), 3)
    assert [peer.peer_id for peer in peers.peers] == ["a", "b"]
    assert peers.peers[0].multiaddrs == ("/ip4/192.0.2.3/tcp/1", "/ip4/192.0.2.1/tcp/1")
    assert [peer.peer_id for peer in peers.without("a").peers] == ["b"]
    assert peers.without("c") == peers


def test_a_peer_without_address_is_not_remembered_but_keeps_those_it_had() -> None:
    assert RememberedPeers().with_seen("a", (), 1) == RememberedPeers()
    peers = RememberedPeers().with_seen("a", ("/ip4/192.0.2.1/tcp/1",), 1).with_seen("a", (), 2)
    assert peers.peers[0].multiaddrs == ("/ip4/192.0.2.1/tcp/1",)
    assert peers.peers[0].seen_at == 2


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    peers = RememberedPeers()
    for number in range(MAX_REMEMBERED_PEERS + 10):
        peers = peers.with_seen(f"peer{number}", (f"/ip4/192.0.2.1/tcp/{number}",), number)
    assert len(peers.peers) == MAX_REMEMBERED_PEERS
    assert peers.peers[-1].peer_id == "peer10"
    for number in range(MAX_REMEMBERED_ADDRESSES + 3):
        peers = peers.with_seen("moving", (f"/ip4/192.0.2.9/tcp/{number}",), 1000 + number)
    assert len(peers.peers[0].multiaddrs) == MAX_REMEMBERED_ADDRESSES
    assert peers.peers[0].multiaddrs[0] == f"/ip4/192.0.2.9/tcp/{MAX_REMEMBERED_ADDRESSES + 2}"


def test_remembered_peers_are_read_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    peers = RememberedPeers().with_seen("a", ("/ip4/192.0.2.1/tcp/1",), 1.5)
    peers = peers.with_seen("b", ("/dns4/a.example/tcp/1", "/ip6/::1/tcp/2"), 2)
    peers.save(path)
    loaded, read = RememberedPeers.load(path, NOON)
    assert loaded == peers
    assert read.problem is None


def test_no_remembered_peers_is_no_problem(tmp_path: Path) -> None:
    assert RememberedPeers.load(tmp_path / "peers.json", NOON) == (RememberedPeers(), StateRead())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"peers": {}}x',
        '{"peers": [{"peer_id": "a", "multiaddrs": [], "seen_at": 1%s}]}' % ("0" * 400),
        '{"peers": [{"peer_id": "a", "multiaddrs": [], "seen_at": 1e999}]}',
        '{"peers": 5}',
        '{"peers": [5]}',
        '{"peers": [{"peer_id": "a", "multiaddrs": "b", "seen_at": 1}]}',
        '{"peers": [{"peer_id": "a", "multiaddrs": [1], "seen_at": 1}]}',
        '{"peers": [{"peer_id": 1, "multiaddrs": [], "seen_at": 1}]}',
        '{"peers": [{"peer_id": "a", "multiaddrs": [], "seen_at": NaN}]}',
        '{"peers": [{"peer_id": "a", "multiaddrs": [], "seen_at": true}]}',
        '{"peers": [{"peer_id": "a", "multiaddrs": []}]}',
        "[" * 100_000,
        '{"peers": []}' + " " * (1 << 20),
    ],
)
def test_a_damaged_list_of_peers_is_moved_aside_and_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(text)
    loaded, read = RememberedPeers.load(path, NOON)
    assert loaded == RememberedPeers()
    assert read.moved_to == tmp_path / "peers.json.corrupt-20260101T120000Z"
    assert "is not a list of remembered peers; moved to" in (read.problem or "")


def test_peers_that_are_not_utf8_are_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    path.write_bytes(b'{"peers": ["\xff"]}')
    assert RememberedPeers.load(path, NOON)[1].moved_to is not None
