"""Two real nodes learn from plays together, and refuse a group of ratings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.process_rig import PATIENCE_SECONDS, RunningNode, deal_homes, ending, openfl_node, until

pytestmark = pytest.mark.slow

IMPLICIT = ("--set", "task.kind=implicit", "--set", "data.min_strength=3.5")
LEARNED = 0.8
"""Trained in one place the loss is 0.72, with a standard error of 0.02 over a node's listeners;
of a model that has learned nothing it is 0.98."""
SMALL = (*IMPLICIT, "--set", "task.factors=4", "--group", "likes")


def test_two_nodes_learn_from_likes_together_and_rank(tmp_path: Path) -> None:
    homes = deal_homes(tmp_path, "abc")
    nodes: list[RunningNode] = []
    with ending(nodes):
        nodes.append(RunningNode(homes[0], *SMALL))
        address = nodes[0].address
        nodes.append(RunningNode(homes[1], *SMALL, "--bootstrap", address))
        until(lambda: all(node.ask("status")["members"] == 2 for node in nodes), "two members")
        until(lambda: all(node.ask("status")["round"] >= 8 for node in nodes), "eight rounds")
        until(
            lambda: all(node.ask("status")["metrics"]["alone_ndcg_loss"] for node in nodes),
            "the comparison",
        )
        for node in nodes:
            status = node.ask("status")
            assert status["group"]["task"] == "implicit"
            metrics = status["metrics"]
            assert metrics["metric"] == "ndcg_loss"
            assert 0 < metrics["validation_ndcg_loss"] < LEARNED
        assert "held-out ndcg loss" in openfl_node("status", "--home", str(homes[0]))
        (group,) = nodes[1].ask("groups")
        assert (group["task"], group["fit_metric"]) == ("implicit", "ndcg_loss")

        # A node that learns ratings cannot join, and is told why.
        refused = openfl_node(
            *("start", "--home", str(homes[2]), "--data", str(homes[2] / "ratings.csv")),
            *("--listen", "/ip4/127.0.0.1/tcp/0", "--bootstrap", address, "--group", "likes"),
            *("--no-view", "--rounds", "1"),
            code=8,
        )
        assert "listening" in refused

        with (homes[0] / "ratings.csv").open() as file:
            user = next(csv.DictReader(file))["user_id"]
        asked = ("recommend", "--home", str(homes[0]), "--user", user, "--json")
        running = json.loads(openfl_node(*asked))
        assert {item["head"] for item in running} == {"implicit"}
        openfl_node("stop", "--home", str(homes[0]))
        assert nodes[0].process.wait(PATIENCE_SECONDS) == 0
        saved = json.loads(openfl_node(*asked, *IMPLICIT))
        assert len(saved) == len(running) == 5
        report = json.loads(openfl_node("evaluate", "--home", str(homes[0]), *IMPLICIT, "--json"))
        assert report["head"] == "implicit"
        assert report["ndcg"] > 0.05

        # Started again without options it goes on as what it was.
        again = RunningNode(homes[0])
        nodes.append(again)
        again.wait_for("resumed")
        until(lambda: again.ask("status")["round"] > 8, "a round after the restart")
        assert again.ask("status")["group"]["task"] == "implicit"
