"""Two nodes as processes: doctor finds nothing while they are well, ping and netcheck ask them, and
peers give addresses that a third could start with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.process_rig import RunningNode, deal_homes, ending, openfl_node


def told(home: Path, *argv: str, code: int = 0) -> Any:
    return json.loads(openfl_node(*argv, "--home", str(home), "--json", code=code))


def amiss(home: Path, code: int = 0) -> list[tuple[str, str]]:
    findings = told(home, "doctor", code=code)["findings"]
    return [(f["kind"], f["what"]) for f in findings if f["severity"] != "fine"]


def test_doctor_ping_and_netcheck_with_and_without_the_node(tmp_path: Path) -> None:
    first, second = deal_homes(tmp_path, "ab")
    # Rare rounds: no machine is too slow for them, which doctor would tell.
    one = RunningNode(first, interval="20")
    with ending([one]):
        address = one.address
        config = f'[network]\nhost = "127.0.0.1"\nbootstrap = ["{address}"]\n'
        (second / "config.toml").write_text(config)
        two = RunningNode(second, interval="20")
        with ending([two]):
            two.wait_for("useful")
            two.wait_for("items-known")
            assert amiss(second) == []
            other = address.rpartition("/")[2]
            trip = told(second, "ping", other[-6:], "-c", "2", "--interval", "0.01")
            assert (trip["peer_id"], trip["answered"]) == (other, 2)

            report = told(second, "netcheck")
            assert report["running"]
            assert [each["problem"] for each in report["bootstrap"]] == [""]
            assert report["reach"]["listening"][0].startswith("/ip4/127.0.0.1/tcp/")
            assert [seen["peer_id"] for seen in report["reach"]["seen"]] == [other]
            assert abs(report["reach"]["clocks"].get(other, 0.0)) < 3600  # one machine, one clock

            (given,) = openfl_node("peers", "--home", str(second), "--addresses").splitlines()
            assert given == address
            openfl_node("stop", "--home", str(second))
        assert amiss(second) == []
        trip = told(second, "ping", address, "-c", "1")
        assert (trip["answered"], trip["peer_id"]) == (1, other)
    # Now nobody answers there: the one fault, by its name.
    findings = amiss(second, code=10)
    assert [kind for kind, _ in findings] == ["bootstrap-refused"]
