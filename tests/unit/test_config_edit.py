"""One setting of a configuration file changed, in whatever form its owner keeps it."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from openfl.app import config_file
from openfl.app.config_file import change_config
from openfl.config import Config, load_config, parse_value, to_toml
from openfl.config.edit import SHORT_HEAD, with_setting, without_setting
from openfl.core.errors import ConfigError, StateError

OWN = """\
# mine
[network]   # where
host = "192.0.2.7" # the second card
port = 1

# what I listen to
[data]
columns.user = "who"
"""


def test_a_value_is_changed_where_it_stands_and_comments_and_order_stay() -> None:
    changed = with_setting(OWN, "network.host", "192.0.2.8")
    assert changed == OWN.replace("192.0.2.7", "192.0.2.8")


def test_a_new_setting_comes_to_the_end_of_its_section() -> None:
    changed = with_setting(OWN, "network.mdns", True)
    assert changed == OWN.replace("port = 1\n", "port = 1\nmdns = true\n")


def test_in_the_commented_file_it_takes_the_place_of_its_default_and_gives_it_back() -> None:
    full = to_toml(Config())
    changed = with_setting(full, "network.port", 4001)
    assert changed == full.replace("#port = 0\n", "port = 4001\n", 1)
    assert without_setting(changed, "network.port") == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        OWN,
        SHORT_HEAD,
        "network = {port = 3, tls = true}\n",
        "network.port = 3\n",
        "[data.columns]\nuser = 'x'\n[network]\n",
        "[data]\r\nformat = 'table'\r\n",
        'data.format = """\n[network]\n#port = 0\n"""\n',
        "[network]\nbootstrap = [\n  # a friend\n  '/ip4/1/tcp/1/p2p/x',\n]",
    ],
)
@pytest.mark.parametrize(
    ("key", "value"),
    [("network.port", 4001), ("data.columns.item", "song"), ("network.announce", ("/a/b", "/c/d"))],
)
def test_whatever_the_form_only_that_setting_changes(
    text: str, key: str, value: int | str | tuple[str, ...]
) -> None:
    changed = with_setting(text, key, value)
    wanted = tomllib.loads(text)
    table = wanted
    *tables, name = key.split(".")
    for each in tables:
        table = table.setdefault(each, {})
    table[name] = list(value) if isinstance(value, tuple) else value
    assert tomllib.loads(changed) == wanted
    for comment in ("# mine", "# where", "# the second card", "# what I listen to", "# a friend"):
        assert (comment in changed) == (comment in text)
    table.pop(name)
    left = tomllib.loads(without_setting(changed, key))
    for each in tables:
        left = left.get(each, {})
    assert left == table


def test_what_cannot_be_seen_is_written_so_that_it_can() -> None:
    changed = with_setting("", "recommend.user", 'an"n\u200b\\')
    assert "\u200b" not in changed
    assert tomllib.loads(changed) == {"recommend": {"user": 'an"n\u200b\\'}}


def test_a_file_is_only_written_when_the_loader_would_take_it(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[network]\nmax_peers = 8\n")
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="must not exceed"):
        change_config(file, {"network.dial_members": 9}, {})
    assert file.read_text() == "[network]\nmax_peers = 8\n"
    change_config(file, {"network.dial_members": 9, "network.max_peers": 9}, {})
    assert load_config(file, {}, {}).network.dial_members == 9
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("network = 3\n", "network.port"),
        ("[[network]]\nport = 1\n", "network.port"),
        ("data = {columns = 1}\n", "data.columns.user"),
        ("[network\n", "network.port"),
        ("[network]\nport = 1\nport = 2\n", "network.port"),
        (f"a = {'[' * 2000}{']' * 2000}\n", "network.port"),
    ],
)
def test_a_file_of_no_form_of_ours_is_refused_and_stays(
    text: str, key: str, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    for value in (2, None):
        with pytest.raises(ConfigError):
            change_config(file, {key: value}, {})
    assert file.read_text() == text


def test_a_host_and_port_in_the_file_is_told_how_to_become_an_address(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with pytest.raises(ConfigError, match="bootstrap add"):
        change_config(file, {"network.bootstrap": ("localhost:4001",)}, {})


def test_a_file_that_is_wrong_already_can_be_mended_step_by_step(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[network]\nport = -1\nprot = 2\n")
    changed = change_config(file, {"network.prot": None}, {})
    assert len(changed.still_wrong) == 1
    assert change_config(file, {"network.port": 4001}, {}).still_wrong == ()


def test_a_link_stays_a_link_and_a_byte_order_mark_stays_in_front(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "config.toml"
    real.write_bytes(b"\xef\xbb\xbf[network]\r\nport = 1\r\n")
    link.symlink_to(real)
    change_config(link, {"network.port": 2, "network.tls": False}, {})
    assert link.is_symlink()
    assert real.read_bytes() == b"\xef\xbb\xbf[network]\r\nport = 2\r\ntls = false\r\n"


def test_what_another_program_writes_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[network]\nport = 1\n")
    theirs = "[network]\nport = 1\ntls = false\n"

    def checks(*_: object) -> list[str]:
        file.write_text(theirs)
        return []

    monkeypatch.setattr("openfl.app.config_file.problems_of", checks)
    with pytest.raises(StateError, match="was changed by another program meanwhile; try again"):
        change_config(file, {"network.port": 2}, {})
    assert file.read_text() == theirs


def test_two_commands_do_not_change_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    with config_file._alone(file):
        monkeypatch.setattr("openfl.app.config_file._PAUSE_SECONDS", 0)
        with pytest.raises(StateError, match="another command is changing it; try again"):
            change_config(file, {"network.port": 2}, {})
    change_config(file, {"network.port": 2}, {})
    assert "port = 2" in file.read_text()


@pytest.mark.parametrize(
    ("key", "texts", "value"),
    [
        ("network.port", ["4001"], 4001),
        ("view.enabled", ["off"], False),
        ("network.listen", ["/a/b,/c/d"], ("/a/b", "/c/d")),
        ("group.invitation_files", ["a,b", "c"], ("/there/a,b", "/there/c")),
        ("data.ratings_file", ["mine.csv"], "/there/mine.csv"),
        ("data.ratings_file", ["~/mine.csv"], "/home/ann/mine.csv"),
    ],
)
def test_values_are_taken_as_typed(key: str, texts: list[str], value: object) -> None:
    assert parse_value(key, texts, {"HOME": "/home/ann"}, cwd=Path("/there")) == value


@pytest.mark.parametrize(
    ("key", "texts", "said"),
    [
        ("network.prot", ["1"], "did you mean network.port"),
        ("network.port", ["x"], "must be a whole number"),
        ("network.port", ["1", "2"], "must be one value, got 2"),
    ],
)
def test_values_that_will_not_do_are_told(key: str, texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_value(key, texts, {})
