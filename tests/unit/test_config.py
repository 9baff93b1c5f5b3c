"""Loading, checking, writing and documenting the configuration."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.config import (
    RESERVED_ENV,
    SECTIONS,
    Config,
    all_settings,
    effective_values,
    env_name,
    load_config,
    reference_markdown,
    to_toml,
    toml_value,
    value_of,
)
from openfl.config.kinds import FactorizationTask, RatingData
from openfl.config.settings import Problem, Setting
from openfl.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "config.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def problems(file: Path | None, environ: dict[str, str], overrides: dict[str, Any]) -> list[str]:
    """The lines of the ConfigError, with the folder of the file cut off."""
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ, overrides)
    folder = f"{file.parent}/" if file else "//"
    return [line.removeprefix(folder) for line in str(caught.value).splitlines()]


# --- layers ------------------------------------------------------------------------------------


def test_without_file_environment_and_options_everything_is_at_its_default() -> None:
    config = load_config(None, {"PATH": "/bin", "OPENFL_HOME": "/x"}, {"training.rounds": None})
    assert config == Config()
    assert config.provenance == {}
    assert str(config.origin("training.rounds")) == "default"


def test_command_line_wins_over_environment_over_file_over_default(write: Write) -> None:
    file = write("[training]\nrounds = 1\ninterval_seconds = 1\nalone_rounds = 1\n")
    environ = {"OPENFL_TRAINING_ROUNDS": "2", "OPENFL_TRAINING_INTERVAL_SECONDS": "2"}
    config = load_config(file, environ, {"training.rounds": 3})
    assert config.training.rounds == 3
    assert config.training.interval_seconds == 2.0
    assert config.training.alone_rounds == 1
    assert config.training.min_row_evidence == 1
    assert {key: str(origin) for key, origin in config.provenance.items()} == {
        "training.rounds": "command line",
        "training.interval_seconds": "environment OPENFL_TRAINING_INTERVAL_SECONDS",
        "training.alone_rounds": f"file {file}",
    }


def test_provenance_takes_no_part_in_equality(write: Write) -> None:
    assert load_config(write("[group]\nname = 'music'\n"), {}, {}) == Config()


def test_values_come_from_the_environment_in_every_type() -> None:
    environ = {
        "OPENFL_NETWORK_TLS": "Off",
        "OPENFL_NETWORK_PORT": " 4001 ",
        "OPENFL_TASK_DAMPING": "2",
        "OPENFL_GROUP_NAME": "jazz, blues",
        "OPENFL_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/0, /ip6/::1/tcp/0,",
    }
    config = load_config(None, environ, {})
    assert config.network.tls is False
    assert config.network.port == 4001
    assert config.own(FactorizationTask).damping == 2.0
    assert isinstance(config.own(FactorizationTask).damping, float)
    assert config.group.name == "jazz, blues"
    assert config.network.listen == ("/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0")


def test_overrides_may_be_typed_or_text() -> None:
    typed = load_config(None, {}, {"training.rounds": 5, "network.announce": ["/dns4/a/tcp/1"]})
    text = load_config(None, {}, {"training.rounds": "5", "network.announce": "/dns4/a/tcp/1"})
    assert typed == text
    assert typed.network.announce == ("/dns4/a/tcp/1",)


def test_relative_paths_are_taken_from_the_file_or_the_working_folder(
    write: Write, tmp_path: Path
) -> None:
    file = write("[data]\nratings_file = 'mine.csv'\ncatalogue_file = '/abs/songs.csv'\n")
    from_file = load_config(file, {}, {}, cwd=Path("/elsewhere"))
    assert from_file.data.ratings_file == str(tmp_path / "mine.csv")
    assert from_file.data.catalogue_file == "/abs/songs.csv"
    environ = {"OPENFL_DATA_RATINGS_FILE": "mine.csv"}
    assert load_config(file, environ, {}, cwd=Path("/here")).data.ratings_file == "/here/mine.csv"
    option = {"data.ratings_file": "sub/mine.csv"}
    assert load_config(None, {}, option, cwd=Path("/here")).data.ratings_file == (
        "/here/sub/mine.csv"
    )


def test_a_relative_config_file_is_itself_taken_from_the_working_folder(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("[data]\nratings_file = 'mine.csv'\n")
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("config.toml"), {}, {})
    assert config.data.ratings_file == str(tmp_path / "mine.csv")


def test_a_tilde_stands_for_the_home_of_the_user(write: Write) -> None:
    file = write("[data]\nratings_file = '~/mine.csv'\n")
    assert load_config(file, {"HOME": "/home/ann"}, {}).data.ratings_file == "/home/ann/mine.csv"


def test_an_empty_path_stays_empty(write: Write) -> None:
    assert load_config(write("[data]\nratings_file = ''\n"), {}, {}).data.ratings_file == ""


def test_a_byte_order_mark_is_no_problem(write: Write) -> None:
    assert load_config(write(b"\xef\xbb\xbf[training]\nrounds = 1\n"), {}, {}).training.rounds == 1


# --- problems ----------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once_one_a_line(write: Write) -> None:
    file = write(
        """
        [training]
        rounds = -3
        interval = 2
        [trainin]
        rounds = 1
        [network]
        port = "4001"
        """
    )
    environ = {"OPENFL_GOSSIP_ROW_FRACTION": "0", "OPENFL_TRAINING_ROUND": "3"}
    assert problems(file, environ, {"log.level": "loud", "log.colour": 1}) == [
        "config.toml: training.rounds: must be >= 0, got -3",
        "config.toml: training.interval: unknown key (did you mean training.interval_seconds?)",
        "config.toml: trainin: unknown section (did you mean training?)",
        "config.toml: network.port: must be a whole number, got '4001'",
        "OPENFL_GOSSIP_ROW_FRACTION: must be > 0, got 0",
        "OPENFL_TRAINING_ROUND: unknown environment variable"
        " (did you mean OPENFL_TRAINING_ROUNDS?)",
        'command line: log.level: must be "debug" or "info" or "warning" or "error", got \'loud\'',
        "command line: log.colour: unknown key",
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("training.rounds = true", "training.rounds: must be a whole number, got true"),
        ("training.rounds = 1.0", "training.rounds: must be a whole number, got 1.0"),
        ("training.rounds = 1_000_000_001", "must be <= 1000000000, got 1000000001"),
        ("training.interval_seconds = nan", "must be a finite number, got nan"),
        ("training.interval_seconds = inf", "must be a finite number, got inf"),
        ("training.interval_seconds = 0", "must be >= 0.01, got 0"),
        ("training.interval_seconds = 'x'", "must be a number, got 'x'"),
        ("training.interval_seconds = false", "must be a number, got false"),
        (f"task.prior = 1{'0' * 400}", "must be a finite number"),
        ("task.bias_prior = 0", "must be > 0, got 0"),
        (
            "task.kind = 'plays'",
            'must be "rating" or "implicit" or "classification", got \'plays\'',
        ),
        ("network.tls = 1", "must be true or false, got 1"),
        ("network.host = 'localhost'", "must be an IP address"),
        ("network.listen = '/ip4/0.0.0.0/tcp/1'", "must be a list of texts"),
        ("network.listen = [1]", "must be a list of texts, got the entry 1"),
        ("network.listen = ['tcp/1']", "must be a multiaddr"),
        ("network.listen = ['/ip4//tcp/1']", "must be a multiaddr"),
        ("network.bootstrap = ['/ip4/192.0.2.7/tcp/1']", "ending in a peer id"),
        ("network.port = {x = 1}", "must be a whole number, got a table"),
        ("group.name = ' '", "must not be empty"),
        ("group.name = ' jazz'", "must not be empty or begin or end with a space"),
        (f"group.name = '{'ü' * 33}'", "must be at most 64 bytes"),
        ('group.name = "a\\nb"', "must not hold control characters"),
        ("data.rating_scale = '5-1'", 'must be "auto" or LOWEST-HIGHEST'),
        ("data.rating_scale = '1 to 5'", 'must be "auto" or LOWEST-HIGHEST'),
        ("data.rating_scale = 5", "must be text in quotes, got 5"),
        ("model.file = 'model.pkl'", "must end in .safetensors"),
        ("recommend.user = 42", "must be text in quotes, got 42"),
        ("network = 5", "network: must be a section [network], got 5"),
        ("rounds = 5", "rounds: unknown key (did you mean training.rounds?)"),
        ("network.peers = []", "network.peers: unknown key (did you mean network.bootstrap?)"),
        ("gossip.rounds = 5", "gossip.rounds: unknown key (did you mean training.rounds?)"),
        ("training.auto-start = true", "(did you mean training.auto_start?)"),
        ("training.zzzz = true", "training.zzzz: unknown key"),
        ("zzzz.y = 1", "zzzz: unknown section"),
    ],
)
def test_a_wrong_line_is_named_with_what_it_must_be(
    write: Write, line: str, complaint: str
) -> None:
    found = problems(write(line), {}, {})
    assert len(found) == 1
    assert found[0].startswith("config.toml: ")
    assert complaint in found[0]


@pytest.mark.parametrize(
    "line",
    [
        "training.rounds = 1",
        "training.rounds = 1_000_000_000",
        "training.interval_seconds = 0.01",
        "task.prior = 1",
        "network.host = '::1'",
        "network.listen = ['/ip4/0.0.0.0/tcp/1']",
        "network.bootstrap = ['/dns4/a.example/tcp/1/p2p/12D3KooWabc']",
        "group.name = 'hard bop'",
        "data.rating_scale = '-1.5-1.5'",
        "model.file = 'deep/other.safetensors'",
    ],
)
def test_the_right_twins_of_those_lines_load(write: Write, line: str) -> None:
    load_config(write(line), {}, {})


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("OPENFL_TRAINING_ROUNDS", "three", "must be a whole number, got 'three'"),
        ("OPENFL_TRAINING_ROUNDS", "", "must be a whole number, got ''"),
        ("OPENFL_TRAINING_ROUNDS", "-1", "must be >= 0, got -1"),
        ("OPENFL_NETWORK_TLS", "maybe", "must be true or false, got 'maybe'"),
        ("OPENFL_TASK_PRIOR", "nan", "must be a finite number, got nan"),
        ("OPENFL_GROUP_NAME", "jazz\udcff", "must be valid UTF-8 text"),
        ("OPENFL_DEBUG", "1", "unknown environment variable"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, complaint: str) -> None:
    assert problems(None, {variable: text}, {}) == [f"{variable}: {complaint}"]


SERVICE_VARIABLES = {
    "OPENFL_NODE_SERVICE_HOST": "10.96.7.1",
    "OPENFL_NODE_SERVICE_PORT": "4001",
    "OPENFL_NODE_SERVICE_PORT_LIBP2P": "4001",
    "OPENFL_NODE_PORT": "tcp://10.96.7.1:4001",
    "OPENFL_NODE_PORT_4001_TCP": "tcp://10.96.7.1:4001",
    "OPENFL_NODE_PORT_4001_TCP_PROTO": "tcp",
    "OPENFL_NODE_PORT_4001_TCP_PORT": "4001",
    "OPENFL_NODE_PORT_4001_TCP_ADDR": "10.96.7.1",
    "OPENFL_NODE_PORT_5353_UDP": "udp://[fd00::1]:5353",
    "OPENFL_NODE_PORT_5353_UDP_PROTO": "udp",
    "OPENFL_NODE_PORT_5353_UDP_PORT": "5353",
    "OPENFL_NODE_PORT_5353_UDP_ADDR": "fd00::1",
    "OPENFL_NETWORK_PORT": "tcp://10.96.7.2:4001",
    "OPENFL_NETWORK_SERVICE_HOST": "10.96.7.2",
    "OPENFL_PORT": "tcp://10.96.7.3:80",
    "OPENFL_SERVICE_HOST": "10.96.7.3",
    "OPENFL_SERVICE_PORT": "80",
    "OPENFL_PORT_80_TCP": "tcp://10.96.7.3:80",
}
"""As Kubernetes sets them for services called openfl-node, openfl-network and openfl."""


def test_what_kubernetes_says_of_services_is_no_setting() -> None:
    assert load_config(None, SERVICE_VARIABLES, {}) == Config()


def test_a_setting_that_is_called_like_a_service_is_still_one() -> None:
    assert load_config(None, {"OPENFL_NETWORK_PORT": "4001"}, {}).network.port == 4001


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENFL_NETWORK_PORT", "http://10.96.7.2"),
        ("OPENFL_NODE_PORT", "4001"),
        ("OPENFL_NODE_SERVICE_HOST", "everywhere"),
        ("OPENFL_NODE_PORT_4001_TCP_ADDR", ""),
        ("OPENFL_NODE_PORT_X_TCP", "tcp://10.96.7.1:4001"),
        ("OPENFL_NODE_HOST", "10.96.7.1"),
    ],
)
def test_anything_else_is_as_wrong_as_before(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_config(None, {name: value}, {})


@pytest.mark.parametrize("name", RESERVED_ENV)
def test_reserved_variables_are_not_settings(name: str) -> None:
    assert load_config(None, {name: "anything"}, {}) == Config()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("[training]\nrounds = \n", "config.toml:2: not valid TOML: Invalid value"),
        ("[training]\nrounds = 1\nrounds = 2\n", "config.toml:3: not valid TOML: Cannot overwrite"),
        ("a = [1,\n", "config.toml:2: not valid TOML: "),
        (b"# ok\n# \xff\n", "config.toml:2: not UTF-8 text"),
        ("a = " + "[" * 3000, "config.toml: not a configuration: nested too deeply"),
        ("a = " + "9" * 5000, "config.toml: not a configuration: a number of thousands of digits"),
    ],
)
def test_a_file_that_is_not_toml_is_named_with_its_line(
    write: Write, text: str | bytes, start: str
) -> None:
    found = problems(write(text), {}, {})
    assert len(found) == 1
    assert found[0].startswith(start)


def test_a_missing_file_is_a_problem_not_a_default(tmp_path: Path) -> None:
    assert problems(tmp_path / "config.toml", {}, {}) == ["config.toml: no such file"]


def test_a_folder_in_place_of_the_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    assert problems(tmp_path / "config.toml", {}, {}) == [
        "config.toml: cannot be read: Is a directory"
    ]


@pytest.mark.parametrize(
    ("bad", "good", "words"),
    [
        (
            {"network.max_peers": 3},
            {"network.max_peers": 6},
            "network.dial_members must not exceed network.max_peers, got 6 and 3",
        ),
        (
            {"data.validation_fraction": 0.4, "data.test_fraction": 0.5},
            {"data.validation_fraction": 0.4, "data.test_fraction": 0.4},
            "must leave at least 0.2 to train on, got 0.4 and 0.5",
        ),
        (
            {"gossip.member_ttl_seconds": 5},
            {"gossip.member_ttl_seconds": 6},
            "must be at least three times gossip.heartbeat_seconds, got 5 and 2",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_reported(
    bad: dict[str, Any], good: dict[str, Any], words: str
) -> None:
    load_config(None, {}, good)
    (line,) = problems(None, {}, bad)
    assert line.startswith("command line: ")
    assert words in line


def test_a_constraint_blames_the_layer_that_was_set_most_deliberately(write: Write) -> None:
    file = write("[network]\nmax_peers = 3\n")
    assert problems(file, {}, {})[0].startswith("config.toml: network.dial_members must")
    by_variable = problems(file, {"OPENFL_NETWORK_DIAL_MEMBERS": "4"}, {})
    assert by_variable[0].startswith("OPENFL_NETWORK_DIAL_MEMBERS: network.dial_members must")


def test_a_constraint_says_nothing_of_a_key_that_is_wrong_by_itself() -> None:
    overrides = {"network.max_peers": 3, "network.dial_members": 0}
    assert problems(None, {}, overrides) == [
        "command line: network.dial_members: must be >= 1, got 0"
    ]


def test_a_long_value_is_cut_in_the_error() -> None:
    (line,) = problems(None, {"OPENFL_TRAINING_ROUNDS": "9x" * 5000}, {})
    assert len(line) < 200


# --- the settings themselves -------------------------------------------------------------------


@pytest.mark.parametrize("key", all_settings())
def test_every_setting_is_explained_and_its_default_is_allowed(key: str) -> None:
    setting = all_settings()[key]
    assert setting.meaning.endswith(".")
    assert setting.check(setting.default) == setting.default
    assert value_of(Config(), key) == setting.default
    if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
        assert setting.range_text
    if key.endswith(("_seconds", "_bytes")):
        assert setting.unit == key.rpartition("_")[2]


def test_no_two_settings_share_an_environment_variable() -> None:
    names = [env_name(key) for key in all_settings()]
    assert len(set(names)) == len(names)
    assert not set(names) & set(RESERVED_ENV)


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().training.rounds = 5  # type: ignore[misc]


def test_an_unknown_key_has_no_value() -> None:
    with pytest.raises(KeyError):
        value_of(Config(), "training.nothing")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (Setting(1, "", minimum=0, maximum=5), "0 to 5"),
        (Setting(1, "", minimum=0), "0 or more"),
        (Setting(1, "", maximum=5), "up to 5"),
        (Setting(1.0, "", minimum=0, above_minimum=True), "above 0"),
        (Setting(1.0, "", minimum=0, maximum=0.5, above_minimum=True), "above 0, up to 0.5"),
        (Setting("a", "", choices=("a", "b")), '"a" or "b"'),
        (Setting(True, ""), ""),
    ],
)
def test_ranges_in_words(setting: Setting, words: str) -> None:
    assert setting.range_text == words


def test_the_rating_scale_in_numbers() -> None:
    assert Config().own(RatingData).rating_bounds is None
    config = load_config(None, {}, {"data.rating_scale": "0.5-5"})
    assert config.own(RatingData).rating_bounds == (0.5, 5.0)


# --- writing -----------------------------------------------------------------------------------

EVERYTHING_CHANGED: dict[str, Any] = {
    "network.host": "127.0.0.1",
    "network.port": 4001,
    "network.listen": ["/ip4/127.0.0.1/tcp/0"],
    "network.bootstrap": ["/ip4/192.0.2.7/tcp/1/p2p/12D3", "/ip4/192.0.2.8/tcp/1/p2p/12D4"],
    "network.announce": ["/dns4/a.example/tcp/1"],
    "network.bootstrap_timeout_seconds": 60.0,
    "network.tls": False,
    "network.max_peers": 8,
    "network.dial_members": 3,
    "network.reachability": "private",
    "network.relay": True,
    "network.hole_punching": False,
    "network.mdns": True,
    "network.upnp": True,
    "network.psk_file": "/a b/swarm.key",
    "network.allow_peers": ["12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"],
    "network.deny_peers": ["12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"],
    "group.name": 'quotes " and \\ and ü',
    "group.closed": True,
    "group.invitation_files": ["/a b/one.invitation", "/a b/two.invitation"],
    "data.ratings_file": "/a b/c.csv",
    "data.catalogue_file": "/a b/d.csv",
    "data.rating_scale": "0.5-5",
    "data.label_column": "species",
    "data.feature_columns": ["width", "height"],
    "data.validation_fraction": 0.2,
    "data.test_fraction": 0.0,
    "data.split_seed": 7,
    "task.kind": "implicit",
    "task.alpha": 2.0,
    "task.plays_limit": 5.0,
    "data.min_strength": 4.0,
    "data.max_plays": 1e6,
    "data.skip_bad_rows": True,
    "data.format": "table",
    "data.separator": ";",
    "data.encoding": "cp1252",
    "data.columns.user": "who",
    "data.columns.item": "what",
    "data.columns.rating": "stars",
    "data.columns.plays": "heard",
    "data.columns.time": "when",
    "data.columns.title": "name",
    "data.columns.artist": "by",
    "task.factors": 4,
    "task.damping": 2.25,
    "task.prior": 1e-05,
    "task.prior_per_evidence": 0.1,
    "task.bias_prior": 3.0,
    "task.user_prior": 0.0,
    "task.relevance": 20.0,
    "task.weight_prior": 0.5,
    "task.items": "music",
    "task.encoding": "int4",
    "task.seed": 9,
    "training.auto_start": False,
    "training.rounds": 20,
    "training.interval_seconds": 0.5,
    "training.wait_for_members": 4,
    "training.when_done": "serve",
    "training.alone_rounds": 3,
    "training.min_row_evidence": 2,
    "gossip.inline_limit_bytes": 2048,
    "gossip.heartbeat_seconds": 1.0,
    "gossip.member_ttl_seconds": 60.0,
    "gossip.row_fraction": 0.3,
    "gossip.refresh_fraction": 0.2,
    "gossip.target_publishers": 8,
    "gossip.max_members": 16,
    "privacy.tell_labels": False,
    "privacy.enabled": True,
    "privacy.epsilon": 2.5,
    "privacy.delta": 1e-6,
    "privacy.rounds": 20,
    "privacy.noise_multiplier": 1.5,
    "privacy.clip": 4.0,
    "privacy.users": 30,
    "gossip.max_rows": 5000,
    "gossip.max_bytes": 2 << 20,
    "aggregation.rule": "median",
    "aggregation.norm_factor": 4.0,
    "aggregation.influence": False,
    "aggregation.hostile_fraction": 0.1,
    "switching.auto": False,
    "switching.founding": False,
    "switching.found_min_members": 3,
    "switching.look_probability": 0.25,
    "switching.dwell_rounds": 4.0,
    "switching.max_candidates": 3,
    "switching.bytes_per_group": 1_000_000,
    "switching.bytes_per_minute": 2_000_000,
    "recommend.auto": False,
    "recommend.user": "ann",
    "recommend.count": 3,
    "http.listen": "[::1]:8010",
    "http.web": True,
    "http.cert_file": "/somewhere/cert.pem",
    "http.key_file": "/somewhere/key.pem",
    "model.file": "other.safetensors",
    "log.level": "debug",
    "log.format": "json",
    "log.file_megabytes": 1.0,
    "log.files": 7,
    "view.enabled": False,
}


@pytest.mark.parametrize("commented", [True, False])
@pytest.mark.parametrize("overrides", [{}, EVERYTHING_CHANGED])
def test_a_written_file_loads_as_what_was_written(
    write: Write, commented: bool, overrides: dict[str, Any]
) -> None:
    config = load_config(None, {}, overrides)
    assert load_config(write(to_toml(config, commented)), {}, {}) == config


def test_the_round_trip_above_changes_every_writable_setting() -> None:
    config = load_config(None, {}, EVERYTHING_CHANGED)
    unchanged = {
        key for key in all_settings() if value_of(config, key) == all_settings()[key].default
    }
    assert unchanged == set()


def keys_in(document: dict[str, Any], within: str = "") -> Iterator[str]:
    """The settings in a configuration file: `section.key`, and `section.table.key`."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from keys_in(value, f"{within}{name}.")
        else:
            yield f"{within}{name}"


def test_settings_in_a_table_of_their_own_are_settings(write: Write) -> None:
    for text in ('[data]\ncolumns.user = "who"', '[data.columns]\nuser = "who"'):
        assert load_config(write(text), {}, {}).data.columns__user == "who"
    found = load_config(None, {"OPENFL_DATA_COLUMNS_USER": "who"}, {"data.columns.item": "2"})
    assert (found.data.columns__user, found.data.columns__item) == ("who", "2")
    with pytest.raises(ConfigError, match=r"data\.columns\.usr: unknown key .*data\.columns\.user"):
        load_config(write('[data.columns]\nusr = "who"'), {}, {})
    with pytest.raises(ConfigError, match=r"data\.columns: unknown key"):
        load_config(write("[data]\ncolumns = 3"), {}, {})


def test_the_commented_file_activates_only_what_was_changed(write: Write) -> None:
    text = to_toml(load_config(None, {}, {"training.rounds": 20}))
    active = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert active == ["rounds = 20"]
    everything = [
        line.removeprefix("#") if line.startswith("#") and line[1:2] != " " else line
        for line in text.splitlines()
    ]
    document = tomllib.loads("\n".join(everything))
    assert set(keys_in(document)) == set(all_settings())
    assert max(map(len, text.splitlines())) <= 100


def test_every_setting_in_the_commented_file_has_its_explanation_above() -> None:
    blocks = to_toml(Config()).rstrip().split("\n\n")
    # The first block is the head of the file, and each section begins with one of its own.
    explained = [block for block in blocks[1:] if not block.rpartition("\n")[2].startswith("[")]
    assert len(explained) == len(all_settings())
    for block, (key, setting) in zip(explained, all_settings().items(), strict=True):
        explanation, _, line = block.rpartition("\n")
        assert line == f"#{key.partition('.')[2]} = {toml_value(setting.default)}"
        assert explanation.removeprefix("# ").replace("\n# ", " ").startswith(setting.meaning)


def test_the_bare_file_has_a_line_for_every_setting() -> None:
    text = to_toml(Config(), commented=False)
    assert "#" not in text
    document = tomllib.loads(text)
    assert list(document) == list(SECTIONS)
    assert list(keys_in(document)) == list(all_settings())


@given(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers()))
def test_any_value_survives_toml(value: str | float | int) -> None:
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


@given(st.sampled_from(sorted(all_settings())), st.text(max_size=20))
def test_any_text_in_a_variable_is_a_value_or_a_problem(key: str, text: str) -> None:
    complaint = ""
    try:
        value = all_settings()[key].parse(text)
        assert type(value) is type(all_settings()[key].default)
        assert all_settings()[key].check(value) == value
    except Problem as problem:
        complaint = str(problem)
    assert "\n" not in complaint


# --- config show and the reference -------------------------------------------------------------


def test_effective_values_name_every_setting_and_its_origin() -> None:
    shown = effective_values(load_config(None, {}, {"training.rounds": 20}))
    assert [line.key for line in shown] == list(all_settings())
    by_key = {line.key: (line.value, str(line.origin)) for line in shown}
    assert by_key["training.rounds"] == (20, "command line")
    assert by_key["group.name"] == ("music", "default")


def test_the_reference_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == reference_markdown(), "run `make docs-config`"


def test_the_reference_names_every_setting_and_reserved_variable() -> None:
    text = reference_markdown()
    for key, setting in all_settings().items():
        assert f"| `{key.partition('.')[2]}` |" in text
        assert setting.meaning in text
    for name in RESERVED_ENV:
        assert f"`{name}`" in text


def test_the_prototype_table_leads_to_settings_that_exist() -> None:
    table = reference_markdown().partition("## Coming from the first prototype")[2]
    rows = [line for line in table.splitlines() if line.startswith("|") and "`" in line]
    targets = [row.split("|")[2].strip(" `") for row in rows]
    assert len(targets) >= 11
    assert set(targets) <= set(all_settings())


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_configuration_is_valid_and_explained(path: Path) -> None:
    config = load_config(path, {}, {})
    assert config.provenance, "an example that sets nothing shows nothing"
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_there_are_example_configurations() -> None:
    assert len(list((ROOT / "configs").glob("*.toml"))) >= 3
