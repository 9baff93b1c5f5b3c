"""/metrics: what Prometheus reads there, and the dashboard and alerts made for it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openfl import __version__
from openfl.app.http.metrics import METRICS, metrics_text
from openfl.core.telemetry import NodeSnapshot, Notice, PrivacyView, SwitchingView
from tests.cli.cli_fakes import PEER_IDS, make_snapshot

ROOT = Path(__file__).resolve().parents[2]


def read(snapshot: NodeSnapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """(name, labels) -> value, as Prometheus' own parser has it."""
    text = metrics_text(snapshot.to_plain())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def test_a_nodes_numbers_are_read_by_prometheus_own_parser() -> None:
    found = read(
        make_snapshot(
            faults={"gossip-rejected": 3},
            notices=(Notice("waiting", "nobody is there"),),
            switching=SwitchingView(moves=2, pinned=True),
            privacy=PrivacyView(0.5, 2.0, 1e-5, 1.0, 1.0, 3, 9),
            useful_after=1.5,
        )
    )
    assert value(found, "openfl_info", version=__version__) == 1
    assert value(found, "openfl_round") == 7
    assert value(found, "openfl_validation", metric="rmse") == 0.8123
    assert value(found, "openfl_alone", metric="rmse") == 0.9011
    assert value(found, "openfl_members") == 4
    assert value(found, "openfl_peers") == 3
    assert value(found, "openfl_deltas_merged_total") == 34
    assert value(found, "openfl_faults_total", kind="gossip-rejected") == 3
    assert value(found, "openfl_moves_total") == 2
    assert value(found, "openfl_pinned") == 1
    assert value(found, "openfl_bytes_total", direction="sent") == 1_234_567
    assert value(found, "openfl_bytes_total", direction="received") == 3_456_789
    assert value(found, "openfl_notices", kind="waiting") == 1
    assert value(found, "openfl_phase", phase="learning") == 1
    assert value(found, "openfl_phase", phase="joining") == 0
    assert value(found, "openfl_privacy_epsilon_spent") == 0.5
    assert value(found, "openfl_useful_after_seconds") == 1.5
    assert value(found, "process_resident_memory_bytes") == 121_000_000
    assert value(found, "process_open_fds") == 20
    assert value(found, "process_cpu_seconds_total") > 0


def test_what_is_not_known_is_left_out() -> None:
    names = {
        name
        for name, _ in read(
            make_snapshot(validation=None, alone=math.nan, resources=None, metric="rmse")
        )
    }
    assert not names & {
        "openfl_validation",
        "openfl_alone",
        "openfl_privacy_epsilon",
        "openfl_useful_after_seconds",
        "process_open_fds",
        "openfl_notices",
    }
    assert read(make_snapshot(metric="", validation=None)), "a node that is in no group yet"


def test_no_peer_group_or_other_word_of_strangers_is_a_label() -> None:
    snapshot = make_snapshot(members=40, group_name='evil"} 1\nopenfl_round 99')
    odd = dataclasses.replace(
        snapshot, metric='rmse"} 1\n', faults={"ok": 1, 'a"b\n': 2, PEER_IDS[0]: 3}
    )
    for shot in (snapshot, odd):
        text = metrics_text(shot.to_plain())
        assert "12D3KooW" not in text
        assert snapshot.group_id not in text
        assert "evil" not in text
        assert value(read(shot), "openfl_round") == 7
    assert value(read(odd), "openfl_faults_total", kind="ok") == 1
    assert [name for name, _ in read(odd)].count("openfl_faults_total") == 1


def test_names_are_as_prometheus_wants_them() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"(openfl|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.text.endswith(".")


# --- what is made for it --------------------------------------------------------------------------


def expressions() -> list[str]:
    """Of all panels and alerts that come with OpenFL."""
    dashboard = json.loads((ROOT / "packaging/grafana/openfl.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    rules = (ROOT / "packaging/prometheus/openfl-rules.yml").read_text()
    return [*found, *re.findall(r"^\s+expr: (.+)$", rules, re.MULTILINE)]


@pytest.mark.parametrize("expression", expressions())
def test_each_panel_and_alert_asks_for_what_there_is(expression: str) -> None:
    asked = re.findall(r"\b(?:openfl|process)_[a-z_]+", expression)
    assert asked
    assert set(asked) <= {metric.name for metric in METRICS}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    dashboard = json.loads((ROOT / "packaging/grafana/openfl.json").read_text())
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["uid"] == "openfl-node"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another"
        taken |= cells
        assert panel["title"]
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


def test_every_metric_is_told_in_the_document() -> None:
    text = (ROOT / "docs/metrics.md").read_text()
    for metric in METRICS:
        assert f"`{metric.name}" in text
