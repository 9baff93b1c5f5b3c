"""What a node checks before it starts: nobody else may change its home or use its socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from openfl.app.control_socket import serve_control
from openfl.core.errors import StateError
from openfl.storage.home import Home


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770])
def test_a_home_that_only_its_owner_and_group_can_change_is_fine(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    Home(home).prepare()
    assert Home(home).state_folder.is_dir()


@pytest.mark.parametrize("mode", [0o777, 0o702])
def test_a_home_that_everybody_can_change_is_refused_with_what_to_do(
    tmp_path: Path, mode: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    with pytest.raises(StateError, match=r"changed by everybody .*chmod o-w"):
        Home(home).prepare()


def test_a_shared_folder_where_nobody_can_replace_files_of_others_is_fine(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o1777)
    Home(home).prepare()


async def test_a_control_socket_that_others_could_use_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(command: str, arguments: Mapping[str, Any]) -> Any:
        return None

    async with serve_control(tmp_path, answer):
        pass
    # A file system without permissions: asking for them changes nothing.
    before = os.umask(0o022)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: 0o022)
        with pytest.raises(StateError, match="can be used by others"):
            async with serve_control(tmp_path, answer):
                pass
    finally:
        monkeypatch.undo()
        os.umask(before)
