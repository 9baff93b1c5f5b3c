"""What is opened and what is refused: named files, a home's own files, other people's homes."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import openfl
from openfl.app.control_socket import call, serve_control
from openfl.config import load_config
from openfl.core.atomic_files import atomic_write
from openfl.core.errors import ConfigError, DataError, StateError, UserError
from openfl.core.files import expanded, open_named, open_own, owner_problem
from openfl.learning.csv_table import column_names
from openfl.learning.factorization.ratings import load_ratings
from openfl.learning.model_file import load_model
from openfl.network.libp2p.envelope import load_or_create_identity
from openfl.network.libp2p.private_network import load_network_key
from openfl.simulation.scenario_file import load_scenario
from openfl.storage.home import Home
from openfl.storage.invitations import load_invitation
from openfl.storage.last_run import NODE_KIND, NODE_VERSION
from openfl.storage.remembered_peers import RememberedPeers
from openfl.storage.state_files import peek_state, read_state
from openfl_cli import last_start
from openfl_cli.log_reading import LogReader
from openfl_cli.logs import log_to_file

NOBODY = 54321
"""A user who is neither this one nor root."""


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(path.parent)  # an address has no room for a long path
        try:
            bound.bind(path.name)
        finally:
            os.chdir(before)


KINDS = {"a FIFO": make_fifo, "a device": make_device, "a socket": make_socket}
READERS: dict[str, tuple[type[UserError], Callable[[Path], object]]] = {
    "configuration": (ConfigError, lambda path: load_config(path, {}, {})),
    "scenario": (ConfigError, load_scenario),
    "data": (DataError, lambda path: load_ratings(path, "auto")),
    "header": (DataError, column_names),
    "invitation": (StateError, load_invitation),
    "network key": (StateError, load_network_key),
    "model": (StateError, load_model),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_named_file_that_is_none_is_refused_at_once(
    kind: str, reader: str, tmp_path: Path
) -> None:
    path = tmp_path / "named"
    KINDS[kind](path)
    error, read = READERS[reader]
    with pytest.raises(error, match=f"named: .*is {kind}.*, not a file; save what comes from"):
        read(path)


@pytest.mark.parametrize("reader", READERS)
def test_a_folder_is_no_named_file_either(reader: str, tmp_path: Path) -> None:
    error, read = READERS[reader]
    with pytest.raises(error, match=r"[Ii]s a (folder|directory)"):
        read(tmp_path)


def test_a_named_file_may_be_a_link_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    version = tmp_path / "..2026_11_28"
    version.mkdir()
    (version / "config.toml").write_text("training.rounds = 7\n")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "config.toml").symlink_to("..data/config.toml")
    assert load_config(tmp_path / "config.toml", {}, {}).training.rounds == 7
    with open_named(tmp_path / "config.toml") as file:
        assert file.read() == b"training.rounds = 7\n"


# --- a home's own files -------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "home")
    place.prepare()
    return place


def take_lock(home: Home) -> None:
    with home.lock():
        pass


def keep_log(home: Home) -> None:
    with log_to_file(home.root, "info"):
        logging.getLogger("openfl.node").warning("a line")


def read_node_state(home: Home) -> None:
    read_state(home.state_file("node"), NODE_KIND, NODE_VERSION, now=0.0)


def read_log(home: Home) -> None:
    LogReader(home.root).last(None, None)


OWN = {
    "lock": take_lock,
    "node.log": keep_log,
    "node.log.1": read_log,
    "last-start.json": lambda home: last_start.load(home.root),
    "identity.key": lambda home: load_or_create_identity(home.identity_file),
    "peers.json": lambda home: RememberedPeers.load(home.peers_file, now=0.0),
    "state/node.state": read_node_state,
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_no_file_of_a_home_is_used_through_a_link(
    name: str, there: bool, home: Home, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    if there:
        victim.write_text("dear to somebody")
        victim.chmod(0o600)
    (home.root / name).symlink_to(victim)
    with pytest.raises(StateError, match=f"{name}: .*is a symbolic link"):
        OWN[name](home)
    assert not there or victim.read_text() == "dear to somebody"
    assert victim.exists() is there
    assert (home.root / name).is_symlink()


@pytest.mark.parametrize("name", OWN)
def test_no_file_of_a_home_may_be_a_fifo(name: str, home: Home) -> None:
    make_fifo(home.root / name)
    with pytest.raises(StateError, match=r"is a FIFO \(a pipe\), not a file; move it elsewhere"):
        OWN[name](home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", OWN)
def test_no_file_of_a_home_may_be_somebody_elses(name: str, home: Home) -> None:
    (home.root / name).touch(mode=0o600)
    os.chown(home.root / name, NOBODY, -1)
    with pytest.raises(StateError, match=f"{name}: .*belongs to .*{NOBODY}"):
        OWN[name](home)


@pytest.mark.parametrize("target", ["elsewhere.sock", "nothing"])
async def test_a_control_socket_that_is_a_link_is_neither_asked_nor_replaced(
    target: str, home: Home, tmp_path: Path
) -> None:
    make_socket(tmp_path / "elsewhere.sock")
    home.control_socket.symlink_to(tmp_path / target)
    with pytest.raises(StateError, match=r"control.sock is in the way and is not a socket"):
        call(home.root, "snapshot")
    with pytest.raises(StateError, match=r"control.sock is in the way and is not a socket"):
        async with serve_control(home.root, _answer):
            pass
    assert home.control_socket.is_symlink()


async def _answer(command: str, arguments: Mapping[str, object]) -> object:
    return None


def test_the_state_of_a_link_is_nothing_to_peek_at(home: Home, tmp_path: Path) -> None:
    home.state_file("node").symlink_to("/dev/zero")
    assert peek_state(home.state_file("node"), NODE_KIND, NODE_VERSION) is None


def test_a_state_folder_that_is_a_link_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.state_folder.symlink_to(elsewhere)
    with pytest.raises(StateError, match=r"state is a symbolic link"):
        home.prepare()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_log_is_for_its_owner_only_under_any_umask(umask: int, home: Home) -> None:
    before = os.umask(umask)
    try:
        keep_log(home)
        assert stat.S_IMODE(home.log_file.stat().st_mode) == 0o600
        home.log_file.chmod(0o644)  # as earlier versions made it
        keep_log(home)
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.log_file.stat().st_mode) == 0o600
    assert home.log_file.read_text().count("a line") == 2


def test_what_is_replaced_takes_the_place_of_a_link(home: Home, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("dear to somebody")
    model = home.model_file("model.safetensors")
    model.symlink_to(victim)
    atomic_write(model, b"a model")
    assert victim.read_text() == "dear to somebody"
    assert model.read_bytes() == b"a model"
    assert not model.is_symlink()


def test_init_writes_no_configuration_through_a_link(home: Home, tmp_path: Path) -> None:
    from openfl_cli import main

    (home.config_file).symlink_to(tmp_path / "victim")
    assert main.run(["init", "--home", str(home.root)]) == 0
    assert not (tmp_path / "victim").exists()
    assert home.config_file.is_file()


# --- the rule -----------------------------------------------------------------------------------


def test_nothing_in_the_library_opens_a_file_by_another_way() -> None:
    """Writers make new files (O_EXCL, mkstemp) and folders are opened as such; readers use
    openfl.core.files, but for what comes with the package itself (`importlib.resources`)."""
    other_ways = re.compile(
        r"""(?<![\w.])open\(|\.open\((["']|encoding|mode|newline|\))"""
        r"|\.(read|write)_(text|bytes)\("
    )
    package = Path(openfl.__file__).parent
    found = [
        f"{path.relative_to(package)}:{number}: {line.strip()}"
        for path in sorted(package.rglob("*.py"))
        if path.name != "files.py" and path.parent.name != "page"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if other_ways.search(line) and "def open(" not in line
    ]
    assert found == []


# --- whose home -----------------------------------------------------------------------------------


def test_what_is_ours_or_roots_is_used_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert owner_problem(1000) is None
    assert owner_problem(0) is None  # a volume that Kubernetes mounts
    refused = owner_problem(NOBODY)
    assert refused is not None
    assert f"belongs to uid {NOBODY}, not to" in refused
    assert "chown" in refused


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("folder", ["", "state"])
def test_root_writes_nothing_into_somebody_elses_home(folder: str, tmp_path: Path) -> None:
    from openfl_cli import exit_codes, main

    root = tmp_path / "home"
    (root / "state").mkdir(parents=True)
    os.chown(root / folder, NOBODY, -1)
    with pytest.raises(StateError, match=f"belongs to uid {NOBODY}, not to root"):
        Home(root).prepare()
    commands = [["init"]] if folder else [["init"], ["status"], ["id"], ["start"], ["stop"]]
    for command in commands:
        assert main.run([*command, "--home", str(root)]) == exit_codes.STATE
    assert [path.name for path in root.rglob("*")] == ["state"]


def test_what_is_opened_is_asked_after_it_is_open(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was exchanged between a look at the name and the opening is seen."""
    home.lock_file.touch()
    real_open = os.open

    def exchanged(path: Path, flags: int, mode: int) -> int:
        path.unlink()
        make_fifo(path)
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", exchanged)
    with pytest.raises(OSError, match="not a file"):
        open_own(home.lock_file, os.O_RDWR)


def test_a_tilde_of_nobody_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert expanded("~/data.csv") == Path("/home/ann/data.csv")
    assert expanded(Path("~nobody-is-called-so/x")) == Path("~nobody-is-called-so/x")
