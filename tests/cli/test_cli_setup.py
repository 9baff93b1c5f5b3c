"""`config get, set, unset, import`, `bootstrap`, `start --host` and `--bootstrap HOST:PORT`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_fakes import PEER_IDS, FakeControl, FakeRuntime, make_snapshot

from openfl.app import home_folder, who_is_there
from openfl.app.who_is_there import Place, place_of
from openfl.config import load_config
from openfl.core.errors import NetworkError
from openfl.core.fingerprints import fingerprint
from openfl_cli import bootstraps, exit_codes, main

PEER = "12D3KooWJYsvoYTmg5yktGeG1kmgCCToy7NTmnFgEuRXuEwqvk9n"
OTHER = "12D3KooWHdiAxVd8uMQR1hGWXccidmfCwLqcMpGwR6QcTP6QRMuD"
ADDRESS = f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}"

pytestmark = pytest.mark.usefixtures("control")


@pytest.fixture
def home(clean_environment: Path) -> Path:
    return clean_environment


def output_of(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert main.run(argv) == code, capsys.readouterr()
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


# --- config ---------------------------------------------------------------------------------------


def test_a_setting_is_set_shown_and_put_back(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    file = home / "config.toml"
    assert output_of(capsys, "config", "set", "network.port", "4001") == (
        f"network.port = 4001\nwritten  {file}\n"
    )
    assert output_of(capsys, "config", "get", "network.port") == "4001\n"
    assert json.loads(output_of(capsys, "config", "get", "network.port", "--json")) == {
        "key": "network.port",
        "value": 4001,
        "from": f"file {file}",
    }
    output_of(capsys, "config", "unset", "network.port")
    assert output_of(capsys, "config", "get", "network.port") == "0\n"


def test_settings_that_need_each_other_are_set_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = output_of(capsys, "config", "set", "http.cert_file", "c.pem", code=exit_codes.CONFIG)
    assert "only used together" in said
    output_of(capsys, "config", "set", "http.cert_file=c.pem", "http.key_file=k.pem")
    assert output_of(capsys, "config", "get", "http.key_file") == f"{tmp_path}/k.pem\n"


def test_lists_and_booleans_are_printed_as_scripts_read_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output_of(capsys, "config", "set", "network.listen", "/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/2")
    shown = output_of(capsys, "config", "get", "network.listen")
    assert shown == "/ip4/1.2.3.4/tcp/1\n/ip4/1.2.3.4/tcp/2\n"
    assert output_of(capsys, "config", "get", "view.enabled") == "true\n"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["config", "set", "network.prot", "1"], 3, "did you mean network.port"),
        (["config", "get", "network.prot"], 3, "did you mean network.port"),
        (["config", "set", "network.port", "70000"], 3, "70000"),
        (["config", "set", "network.port"], 2, "config unset"),
        (["config", "set", "network.port=1", "x"], 2, "SECTION.KEY=VALUE"),
        (["config", "unset", "network.port"], 3, "is not set in"),
        (["config", "import", "nowhere.json"], 3, "cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    shown = output_of(capsys, *argv, code=code)
    assert said in shown
    assert len(shown.splitlines()) == 1
    assert not (home / "config.toml").exists()


def test_what_hides_a_setting_and_when_it_counts_is_said(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENFL_NETWORK_PORT", "5000")
    folder = home_folder.Home(home)
    folder.prepare()
    with folder.lock():
        assert main.run(["config", "set", "network.port", "4001"]) == 0
    said = capsys.readouterr().err
    assert "OPENFL_NETWORK_PORT is set, and wins over the file" in said
    assert "goes on as it was started, until: openfl-node restart" in said


def test_the_reference_is_a_file_that_changes_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "reference.toml"
    file.write_text(output_of(capsys, "config", "reference"))
    assert load_config(file, {}, {}) == load_config(None, {}, {})
    assert "#port = 0" in file.read_text()


def test_the_prototypes_file_is_taken_over_and_what_is_not_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "config.json"
    content = {"port": 0, "peers": ["192.0.2.9:8001"], "gossip_rounds": 9, "model_file": "m.pkl"}
    file.write_text(json.dumps(content))
    assert main.run(["config", "import", str(file)]) == 0
    said = capsys.readouterr().err
    assert "peers is not taken" in said
    assert "openfl-node bootstrap add 192.0.2.9:8001" in said
    assert "model_file is not taken: models are safetensors files now" in said
    assert "port: 0 picks a free port now" in said
    assert load_config(home / "config.toml", {}, {}).training.rounds == 9


# --- bootstrap ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:4001", "/dns/localhost/tcp/4001"),
        ("192.0.2.7:4001", "/ip4/192.0.2.7/tcp/4001"),
        ("[::1]:4001", "/ip6/::1/tcp/4001"),
        ("a-b.example.org:65535", "/dns/a-b.example.org/tcp/65535"),
        ("localhost", None),
        ("localhost:0", None),
        ("localhost:65536", None),
        ("::1:4001", None),
        ("a/b:1", None),
        ("-a:1", None),
        ("a b:1", None),
        (ADDRESS, None),
    ],
)
def test_what_is_a_host_and_a_port(text: str, address: str | None) -> None:
    place = place_of(text)
    assert (None if place is None else place.address) == address
    assert place is None or str(place) == text


def answering(monkeypatch: pytest.MonkeyPatch, peer_id: str | None = PEER) -> list[Place]:
    """At every place answers this peer, or nobody. Returns what was asked."""
    asked: list[Place] = []

    def ask(place: Place, network_key: bytes | None = None) -> str:
        asked.append(place)
        if peer_id is None:
            raise NetworkError(f"nothing answers at {place}: connection refused")
        return peer_id

    monkeypatch.setattr(who_is_there, "ask_who_is_there", ask)
    return asked


def typed(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Somebody is there, and answers so."""
    monkeypatch.setattr(bootstraps, "can_ask", lambda: True)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer, raising=False)


def of_file(home: Path) -> tuple[str, ...]:
    return load_config(home / "config.toml", {}, {}).network.bootstrap


def test_addresses_are_added_listed_and_removed(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert "no address is set" in output_of(capsys, "bootstrap", "list")
    assert output_of(capsys, "bootstrap", "add", ADDRESS) == f"added    {ADDRESS}\n"
    output_of(capsys, "bootstrap", "add", ADDRESS)
    assert of_file(home) == (ADDRESS,)
    assert output_of(capsys, "bootstrap", "list") == f"{'-':<15}{ADDRESS}\n"
    said = output_of(capsys, "bootstrap", "remove", OTHER, code=exit_codes.USAGE)
    assert "no such address" in said
    assert output_of(capsys, "bootstrap", "remove", "192.0.2.7:4001") == f"removed  {ADDRESS}\n"
    assert of_file(home) == ()


@pytest.mark.parametrize("what", [ADDRESS, PEER, "192.0.2.7:4001"])
def test_an_address_is_removed_by_any_of_its_names(
    what: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    output_of(capsys, "bootstrap", "add", ADDRESS)
    output_of(capsys, "bootstrap", "remove", what)
    assert of_file(home) == ()


@pytest.mark.parametrize(
    "text", ["/ip4/192.0.2.7/tcp/4001", f"/ip4/192.0.2.7/udp/1/p2p/{PEER}", "nonsense"]
)
def test_what_nobody_can_dial_is_not_added(
    text: str, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    output_of(capsys, "bootstrap", "add", text, code=exit_codes.CONFIG)
    assert not (home / "config.toml").exists()


def test_a_running_node_says_to_whom_it_is_connected(
    capsys: pytest.CaptureFixture[str], control: FakeControl
) -> None:
    control.answers["snapshot"] = make_snapshot().to_plain()
    other = ADDRESS.replace(PEER, PEER_IDS[1])
    output_of(capsys, "config", "set", "network.bootstrap", ADDRESS, other)
    rows = json.loads(output_of(capsys, "bootstrap", "list", "--json"))
    assert [row["connected"] for row in rows] == [False, True]
    assert [row["answers"] for row in rows] == [None, None]


def test_host_and_port_are_confirmed_by_whoever_is_there_and_remembered(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch)
    typed(monkeypatch, "y\n")
    assert main.run(["bootstrap", "add", "localhost:4001"]) == 0
    captured = capsys.readouterr()
    whole = f"/dns/localhost/tcp/4001/p2p/{PEER}"
    assert captured.out == f"added    {whole}\n"
    assert PEER in captured.err
    assert fingerprint(PEER) in captured.err
    assert of_file(home) == (whole,)
    # From then on it is known, and nobody is asked.
    main.run(["bootstrap", "add", "localhost:4001"])
    assert "is known already" in capsys.readouterr().err
    assert len(asked) == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "nonsense\n"])
def test_whoever_is_not_confirmed_is_not_taken(
    answer: str, capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    typed(monkeypatch, answer)
    said = output_of(capsys, "bootstrap", "add", "localhost:4001", code=exit_codes.NETWORK)
    assert "not taken" in said
    assert not (home / "config.toml").exists()


def test_without_a_terminal_the_whole_address_is_named_or_trust_is_an_option(
    capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    monkeypatch.setattr(bootstraps, "can_ask", lambda: False)
    whole = f"/dns/localhost/tcp/4001/p2p/{PEER}"
    said = output_of(capsys, "bootstrap", "add", "localhost:4001", code=exit_codes.USAGE)
    assert whole in said
    assert "--trust-on-first-use" in said
    assert len(said.splitlines()) == 1
    assert not (home / "config.toml").exists()
    output_of(capsys, "bootstrap", "add", "localhost:4001", "--trust-on-first-use")
    assert of_file(home) == (whole,)


def test_start_takes_host_and_port_and_remembers_who_is_there(
    capsys: pytest.CaptureFixture[str],
    home: Path,
    runtime: FakeRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answering(monkeypatch)
    whole = f"/dns/localhost/tcp/4001/p2p/{PEER}"
    argv = ["start", "--rounds", "1", "--user", "a", "--bootstrap", "localhost:4001"]
    assert main.run([*argv, "--trust-on-first-use"]) == 0
    assert f"remembered in {home}/config.toml: {whole}" in capsys.readouterr().err
    # Another node there would not be taken for it: it is not even asked.
    answering(monkeypatch, OTHER)
    assert main.run(argv) == 0
    assert [node.config.network.bootstrap for node in runtime.nodes] == [(whole,), (whole,)]
    assert asked == [Place("localhost", 4001)]


def test_start_says_that_nothing_answers_there(
    capsys: pytest.CaptureFixture[str], runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, None)
    said = output_of(capsys, "start", "--bootstrap", "localhost:4001", code=exit_codes.NETWORK)
    assert "nothing answers at localhost:4001: connection refused" in said
    assert runtime.nodes == []


def test_a_file_that_was_named_is_not_written_to_by_start(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch)
    file = tmp_path / "shared.toml"
    file.write_text("[network]\n")
    argv = ["start", "--rounds", "1", "--user", "a", "--config", str(file)]
    assert main.run([*argv, "--bootstrap", "localhost:4001", "--trust-on-first-use"]) == 0
    assert "to have it remembered: openfl-node bootstrap add" in capsys.readouterr().err
    assert file.read_text() == "[network]\n"


# --- start --host ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "127.0.0.1", 0),
        ("localhost:4001", "127.0.0.1", 4001),
        ("0.0.0.0:4001", "0.0.0.0", 4001),
        ("[::1]:4001", "::1", 4001),
        ("::1", "::1", 0),
    ],
)
def test_start_listens_where_host_says(
    text: str, host: str, port: int, home: Path, runtime: FakeRuntime
) -> None:
    home.mkdir()
    (home / "config.toml").write_text("[network]\nlisten = ['/ip4/192.0.2.7/tcp/1']\n")
    assert main.run(["start", "--rounds", "1", "--user", "a", "--host", text]) == 0
    network = runtime.nodes[0].config.network
    assert (network.host, network.port, network.listen) == (host, port, ())


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--host", "nowhere.invalid"], exit_codes.NETWORK),
        (["--host", "local host"], exit_codes.USAGE),
        (["--host", "localhost:99999"], exit_codes.USAGE),
        (["--host", "localhost", "--listen", "/ip4/127.0.0.1/tcp/0"], exit_codes.USAGE),
    ],
)
def test_a_host_that_makes_no_sense_is_one_line(
    argv: list[str], code: int, capsys: pytest.CaptureFixture[str], runtime: FakeRuntime
) -> None:
    said = output_of(capsys, "start", *argv, code=code)
    assert len(said.splitlines()) == 1
    assert runtime.nodes == []


# --- id and home ----------------------------------------------------------------------------------


def test_both_sides_see_one_fingerprint(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    peer_id = str(home_folder.make_peer_id(home))
    shown = output_of(capsys, "id", "--fingerprint").strip()
    assert shown == fingerprint(peer_id)
    assert [len(part) for part in shown.split("-")] == [4, 4, 4, 4]
    assert json.loads(output_of(capsys, "id", "--json"))["fingerprint"] == shown
    assert fingerprint(OTHER) != fingerprint(PEER)


def test_a_home_is_exported_moved_and_started_only_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Path, runtime: FakeRuntime
) -> None:
    peer_id = home_folder.make_peer_id(home)
    file = tmp_path / "node.zip"
    shown = output_of(capsys, "home", "export", "--move", str(file))
    assert f"rests    {home}" in shown
    said = output_of(capsys, "start", code=exit_codes.STATE)
    assert len(said.splitlines()) == 1
    assert "home undo-move" in said
    assert runtime.nodes == []
    new = tmp_path / "new"
    shown = output_of(capsys, "--home", str(new), "home", "import", str(file))
    assert f"node     {peer_id}" in shown
    assert f"openfl-node start --home {new}" in shown
    output_of(capsys, "home", "undo-move")
    assert main.run(["start", "--rounds", "1", "--user", "a"]) == 0
