"""`import openfl` has no effects; every public name is there; a node sets up its lazy imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import openfl
from openfl.core import errors

HEAVY = ("cbor2", "libp2p", "msgspec", "numpy", "scipy", "trio")
TORCH = {"TorchModel", "TorchSettings", "TorchTask", "torch_charter", "torch_problem"}


def loaded_by(code: str) -> set[str]:
    """What is in `sys.modules` of a fresh interpreter after `code`, and was not before."""
    program = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_the_package_and_nothing_else() -> None:
    assert loaded_by("import openfl") == {"openfl"}


@pytest.mark.parametrize("room", ["network.base", "learning.task", "node", "app.open_node"])
def test_importing_a_room_puts_nothing_in_the_place_of_libp2p(room: str) -> None:
    loaded = loaded_by(f"import openfl.{room}")
    assert f"openfl.{room}" in loaded
    assert not [name for name in loaded if name.split(".")[0] == "libp2p"]


def test_a_command_that_uses_libp2p_has_not_loaded_what_no_node_uses(tmp_path: Path) -> None:
    run = (
        f"from openfl_cli import main; assert main.run(['init', '--home', {str(tmp_path)!r}]) == 0"
    )
    loaded = loaded_by(run)
    assert "libp2p.peer.id" in loaded
    assert not loaded & {"requests", "httpx", "zeroconf"}


@pytest.mark.parametrize("name", sorted({*openfl.__all__} - TORCH))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(openfl, name).__name__ in (name, "NewType") or name in ("PeerId", "GroupId")
    assert name in dir(openfl)


def test_names_that_need_pytorch_are_there_with_it() -> None:
    pytest.importorskip("torch", reason='needs PyTorch: pip install "openfl-node[torch]"')
    assert all(getattr(openfl, name).__name__ == name for name in TORCH)


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Replica'"):
        openfl.Replica  # noqa: B018
    with pytest.raises(ImportError):
        from openfl import Replica  # noqa: F401


def test_every_error_that_the_owner_can_mend_is_public() -> None:
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.UserError)
    }
    assert found <= {*openfl.__all__}
    assert len(found) > 5


def test_what_opens_a_node_is_imported_without_what_a_node_needs() -> None:
    loaded = loaded_by("from openfl import load_config, open_node, ConfigError")
    assert {name.split(".")[0] for name in loaded} & {*HEAVY} == {"trio"}


def test_a_running_node_has_not_loaded_what_no_node_uses(tmp_path: Path) -> None:
    data = tmp_path / "ratings.csv"
    data.write_text("user_id,song_id,rating\nann,one,4\nann,two,3\n")
    program = (
        "import pathlib, trio, openfl\n"
        "async def main():\n"
        f"    settings = {{'data.ratings_file': {str(data)!r}, 'network.host': '127.0.0.1'}}\n"
        f"    home = pathlib.Path({str(tmp_path / 'home')!r})\n"
        "    config = openfl.load_config(settings)\n"
        "    async with openfl.open_node(config, home, lambda event: None) as node:\n"
        "        while not node.snapshot().round: await trio.sleep(0.05)\n"
        "trio.run(main)"
    )
    loaded = loaded_by(program)
    assert {"libp2p.host.basic_host", "scipy.sparse"} <= loaded
    unused = {"requests", "httpx", "zeroconf", "numpy.f2py", "numpy.testing"}
    assert not loaded & unused


# --- load_config ----------------------------------------------------------------------------------


def test_settings_by_key_and_by_section_are_the_same() -> None:
    one = openfl.load_config({"training.rounds": 7, "group.name": "jazz"})
    other = openfl.load_config({"training": {"rounds": 7}, "group": {"name": "jazz"}})
    assert one == other
    assert (one.training.rounds, one.group.name) == (7, "jazz")


def test_settings_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[training]\nrounds = 1\ninterval_seconds = 2.0\n[group]\nname = "file"\n')
    config = openfl.load_config(
        {"training.rounds": 3},
        file=str(file),
        environ={"OPENFL_TRAINING_ROUNDS": "2", "OPENFL_TRAINING_INTERVAL_SECONDS": "4"},
    )
    assert (config.training.rounds, config.training.interval_seconds) == (3, 4.0)
    assert config.group.name == "file"


def test_every_problem_is_told_with_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[training]\nrounds = -1\n")
    with pytest.raises(openfl.ConfigError) as caught:
        openfl.load_config({"training.round": 3, "network": {"max_peers": "many"}}, file=file)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(file), "settings", "settings"]
    assert "did you mean training.rounds?" in str(caught.value)
