"""`doctor`, `ping`, `netcheck`, `bugreport` and `peers --addresses` as people type them; what they
look at is tested in tests/unit/test_doctor.py and tests/libp2p/test_diagnosis.py."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import PEER_IDS, FakeControl, make_snapshot

from openfl.app.doctor.examine import CHECKS
from openfl.core.errors import NetworkError, UsageError
from openfl_cli import exit_codes, main

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def home(clean_environment: Path, tmp_path: Path) -> Path:
    data = tmp_path / "ratings.csv"
    data.write_text(
        "user_id,song_id,rating\n" + "".join(f"u{n % 5},s{n % 7},{1 + n % 5}\n" for n in range(35))
    )
    assert main.run(["init", "--data", str(data)]) == 0
    return clean_environment


def printed(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main.run(list(argv)) == code
    return capsys.readouterr().out


# --- doctor ---------------------------------------------------------------------------------------


def test_doctor_finds_nothing_on_a_healthy_node(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(printed(capsys, "doctor", "--json"))
    assert (told["healthy"], told["running"], told["home"]) == (True, False, str(home))
    assert (told["faults"], told["warnings"]) == (0, 0)
    assert {finding["severity"] for finding in told["findings"]} == {"fine"}
    assert "0 faults and 0 warnings" in printed(capsys, "doctor")


def test_a_fault_comes_first_with_what_to_do_and_is_exit_code_10(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "ratings.csv").unlink()
    text = printed(capsys, "doctor", code=exit_codes.UNMET)
    assert text.startswith("fault    data       there is no such file\n")
    assert str(tmp_path / "ratings.csv") in text.splitlines()[1]
    assert "-> name it anew" in text.splitlines()[2]
    assert "1 fault and 0 warnings" in text
    told = json.loads(printed(capsys, "doctor", "--json", code=exit_codes.UNMET))
    assert [f["kind"] for f in told["findings"] if f["severity"] == "fault"] == ["data-missing"]
    # A warning alone is no reason for a script to stop.
    (home / "state" / "node.state.corrupt-1").write_text("")
    assert "1 warning" in printed(capsys, "doctor", "--only", "state")


def test_a_broken_configuration_is_a_finding_and_the_rest_is_still_looked_at(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text("[network]\nprt = 1\n")
    told = json.loads(printed(capsys, "doctor", "--json", code=exit_codes.UNMET))
    assert {f["check"] for f in told["findings"]} == {check.name for check in CHECKS}
    assert [f["kind"] for f in told["findings"] if f["severity"] == "fault"] == ["config-unknown"]


def test_only_the_check_that_is_asked_for_is_made(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(printed(capsys, "doctor", "--only", "clock", "--only", "disk", "--json"))
    assert [finding["check"] for finding in told["findings"]] == ["disk", "clock"]
    assert main.run(["doctor", "--only", "weather"]) == exit_codes.USAGE
    assert "clock" in capsys.readouterr().err


def test_a_home_that_this_user_may_not_look_into_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    assert main.run(["doctor"]) == exit_codes.STATE
    assert f"{home}: cannot be looked into: Permission denied" in capsys.readouterr().err


def test_every_check_and_kind_of_finding_is_documented() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    assert [check.name for check in CHECKS if f"`{check.name}`" not in text] == []
    import re

    root = Path(__file__).parents[2] / "openfl" / "app" / "doctor"
    source = "".join(file.read_text(encoding="utf-8") for file in root.glob("*.py"))
    kinds = set(re.findall(r"(?:fault|warning|tell)\(\s*\"([a-z-]+)\"", source))
    kinds |= set(re.findall(r"\(\"(disk-[a-z-]+)\"", source))
    kinds |= set(re.findall(r"return \"(data-[a-z-]+)\"", source))
    assert len(kinds) > 30
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in text] == []


# --- ping -----------------------------------------------------------------------------------------

TRIP = {
    "peer_id": PEER_IDS[1],
    "address": "/ip4/192.0.2.1/tcp/4001",
    "relayed": False,
    "seconds": 0.0125,
    "connect_seconds": 0.0,
}


def test_ping_asks_the_running_node_and_adds_up(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([0.010, 0.020, 0.1234])
    control.answers["ping"] = lambda peer: {**TRIP, "seconds": next(times)}
    text = printed(capsys, "ping", PEER_IDS[1][-6:], "-c", "3", "--interval", "0.001")
    assert text.splitlines()[0].split() == ["1", "10.0", "ms", "direct", TRIP["address"]]
    assert text.splitlines()[-1] == (
        "3 of 3 answered; round trip min 10.0 ms, avg 51.1 ms, max 123 ms"
    )
    assert {call[2]["peer"] for call in control.calls} == {PEER_IDS[1][-6:]}


def test_ping_without_any_answer_is_exit_code_5(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    control.answers["ping"] = NetworkError("no answer from 12D3 within 10 s")
    argv = ("ping", "12D3", "-c", "2", "--interval", "0.001")
    assert "0 of 2 answered" in printed(capsys, *argv, code=exit_codes.NETWORK)
    told = json.loads(printed(capsys, *argv, "--json", code=exit_codes.NETWORK))
    assert (told["sent"], told["answered"], told["average_seconds"]) == (2, 0, None)
    control.answers["ping"] = UsageError("no peer called '12D3' is known here")
    assert main.run(list(argv)) == exit_codes.USAGE


def test_one_answer_of_several_is_a_success(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    came: list[Any] = [NetworkError("no answer"), TRIP]
    control.answers["ping"] = lambda peer: came.pop(0)
    told = json.loads(printed(capsys, "ping", "x", "-c", "2", "--interval", "0.001", "--json"))
    assert (told["sent"], told["answered"], told["problems"]) == (2, 1, ["no answer"])
    assert (told["min_seconds"], told["max_seconds"]) == (0.0125, 0.0125)


def test_a_broken_configuration_is_told_before_anything_is_pinged_or_checked(
    home: Path, control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text("[network]\nprt = 1\n")
    for argv in (["ping", PEER_IDS[1]], ["netcheck"]):
        assert main.run(argv) == exit_codes.CONFIG
        assert "network.prt: unknown key" in capsys.readouterr().err


# --- the others -----------------------------------------------------------------------------------


def test_peers_gives_addresses_that_a_bootstrap_option_takes(
    control: FakeControl, capsys: pytest.CaptureFixture[str]
) -> None:
    from openfl.core.telemetry import PeerView
    from openfl.network.libp2p.addresses import parse_peer_multiaddr
    from openfl.network.libp2p.envelope import identity_from_seed, peer_id_of

    peer, through = (peer_id_of(identity_from_seed(bytes([n]) * 32)) for n in (1, 2))
    relay = f"/ip4/192.0.2.9/tcp/1/p2p/{through}/p2p-circuit"
    peers = (
        PeerView(peer, ("/ip4/192.168.100.100/tcp/41001", relay), ("music",), True),
        PeerView(PEER_IDS[2], (), ("music",), False),
    )
    control.answers["snapshot"] = make_snapshot(peers=peers).to_plain()
    told = printed(capsys, "peers", "--addresses").splitlines()
    assert told == [
        f"/ip4/192.168.100.100/tcp/41001/p2p/{peer}",
        f"{relay}/p2p/{peer}",
    ]
    assert [parse_peer_multiaddr(each).peer_id for each in told] == [peer] * 2
    as_json = json.loads(printed(capsys, "peers", "--json"))
    assert [peer["addresses"] for peer in as_json] == [told, []]


def test_the_addresses_of_id_are_whole_lines_on_a_narrow_terminal(
    control: FakeControl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    address = f"/ip4/192.168.100.100/tcp/41001/p2p/{PEER_IDS[0]}"
    assert len(address) > 80
    control.answers["snapshot"] = make_snapshot(multiaddrs=(address,)).to_plain()
    assert printed(capsys, "id").splitlines() == [PEER_IDS[0], address]


def test_bugreport_says_what_is_in_it_and_what_is_not(
    home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    archive = tmp_path / "report.tar.gz"
    text = printed(capsys, "bugreport", str(archive))
    assert f"wrote {archive}" in text
    assert "left out:" in text
    with tarfile.open(archive) as opened:
        readme = opened.extractfile("openfl-bugreport/README.txt")
        assert readme is not None
        assert b"Left out:" in readme.read()
    assert main.run(["bugreport", str(archive)]) == exit_codes.STATE
    assert "exists already" in capsys.readouterr().err
