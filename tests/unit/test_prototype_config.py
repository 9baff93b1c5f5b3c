"""The config.json of the first prototype: eleven keys, each a setting now, or told why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openfl.config import all_settings
from openfl.config.prototype import KEYS, read_prototype
from openfl.config.render import _PROTOTYPE_TABLE
from openfl.core.errors import ConfigError

ADDRESS = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
ALL = {
    "host": "127.0.0.1",
    "port": 8001,
    "peers": [ADDRESS],
    "data_file": "ratings.csv",
    "model_file": "mine.safetensors",
    "gossip_rounds": 20,
    "gossip_interval": 5,
    "auto_start_training": False,
    "auto_predict_after_training": False,
    "test_user": 17,
    "num_recommendations": 10,
}


def written(folder: Path, content: object) -> Path:
    file = folder / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_all_eleven_keys_become_settings(tmp_path: Path) -> None:
    found = read_prototype(written(tmp_path, ALL), {})
    assert found.left == {}
    assert dict(found.taken.values()) == {
        "network.host": "127.0.0.1",
        "network.port": 8001,
        "network.bootstrap": (ADDRESS,),
        "data.ratings_file": str(tmp_path / "ratings.csv"),
        "model.file": "mine.safetensors",
        "training.rounds": 20,
        "training.interval_seconds": 5.0,
        "training.auto_start": False,
        "recommend.auto": False,
        "recommend.user": "17",
        "recommend.count": 10,
    }


def test_the_keys_are_those_of_the_table_in_the_documents() -> None:
    assert list(KEYS.values()) == [key for _, key, _ in _PROTOTYPE_TABLE]
    assert set(KEYS.values()) <= all_settings().keys()
    assert len(KEYS) == 11


def test_keys_are_known_in_the_words_of_the_table_too(tmp_path: Path) -> None:
    words = {old: value for (old, _, _), value in zip(_PROTOTYPE_TABLE, ALL.values(), strict=True)}
    assert read_prototype(written(tmp_path, words), {}).left == {}
    found = read_prototype(written(tmp_path, {"gossipRounds": 3}), {})
    assert found.taken == {"gossipRounds": ("training.rounds", 3)}


def test_what_is_not_taken_is_told_with_the_reason(tmp_path: Path) -> None:
    content = {
        "peers": ["192.0.2.7:8001", {"host": "10.0.0.2", "port": 8002}, ["10.0.0.3", 1], ADDRESS],
        "model_file": "model.pkl",
        "gossip_rounds": 0,
        "port": -1,
        "host": "LocalHost",
        "colour": "blue",
    }
    found = read_prototype(written(tmp_path, content), {})
    assert found.addresses == ("192.0.2.7:8001", "10.0.0.2:8002", "10.0.0.3:1")
    assert found.taken["peers"] == ("network.bootstrap", (ADDRESS,))
    assert found.taken["host"] == ("network.host", "127.0.0.1")
    assert "until the node is stopped" in found.remarks["gossip_rounds"]
    assert "pickled" in found.left["model_file"]
    assert "0 to 65535" in found.left["port"] or ">= 0" in found.left["port"]
    assert "no key of the prototype" in found.left["colour"]
    assert "not who is there" in found.left["peers"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be one object"),
        ('{"colour": 1}', "none of its keys"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "not valid JSON"),
        ("\xff" * (1 << 21), "larger than any"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_prototype(written(tmp_path, content), {})
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prototype(tmp_path / "other.json", {})


@pytest.mark.parametrize("peers", ["x", [1], ["/ip4/1.2.3.4/tcp/1"], [{"port": 3}], [["a b", 1]]])
def test_peers_of_another_form_are_left_and_told(tmp_path: Path, peers: object) -> None:
    found = read_prototype(written(tmp_path, {"port": 1, "peers": peers}), {})
    assert found.left.keys() == {"peers"}
