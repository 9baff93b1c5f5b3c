"""What can be done with a home folder in which no node runs."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openfl.app import home_folder
from openfl.core.errors import GroupError, StateError

UNLOCK = fcntl.LOCK_UN


def test_an_identity_is_made_once_and_only_when_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert home_folder.peer_id(home) is None
    assert not home.exists()
    made = home_folder.make_peer_id(home)
    assert made.startswith("12D3KooW")
    assert home_folder.make_peer_id(home) == made
    assert home_folder.peer_id(home) == made


def test_whoever_looks_whether_a_node_runs_keeps_none_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_folder.Home(tmp_path)
    home.lock_file.touch()
    looks = os.open(home.lock_file, os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)  # as `is_locked` does, for a moment
    monkeypatch.setattr("openfl.storage.home.time.sleep", lambda _: fcntl.flock(looks, UNLOCK))
    with home.lock():
        assert home_folder.is_locked(tmp_path)
    os.close(looks)


def test_a_lock_that_is_no_file_of_ours_is_said_to_be_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/etc/passwd")
    with pytest.raises(StateError, match=r"lock: is a symbolic link"):
        home_folder.is_locked(tmp_path)


def test_whoever_is_in_no_group_cannot_invite(tmp_path: Path) -> None:
    guest = home_folder.make_peer_id(tmp_path / "guest")
    home_folder.make_peer_id(tmp_path / "host")
    with pytest.raises(GroupError, match="is in no group yet"):
        home_folder.invite(tmp_path / "host", guest, unix_now=1.0, days=1)


def test_a_network_key_is_for_its_owner_only_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "swarm.key"
    home_folder.write_network_key(path)
    written = path.read_text()
    assert written.startswith("/key/swarm/psk/1.0.0/")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StateError, match="exists already"):
        home_folder.write_network_key(path)
    assert path.read_text() == written
    with pytest.raises(StateError, match="cannot be written"):
        home_folder.write_network_key(tmp_path / "nowhere" / "swarm.key")


def test_finding_the_home_folder_loads_nothing_heavy() -> None:
    program = (
        "import sys, openfl.app.home_folder;"
        "print(sorted({'numpy', 'scipy', 'libp2p', 'trio'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr
