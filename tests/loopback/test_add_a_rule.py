"""A rule of aggregation of one's own: a function and a line. It works wherever rules do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openfl.aggregation.robust import Matrix, Stack
from openfl.aggregation.rules import RULES, by_centre, register_rule, unregister_rule
from openfl.app.open_node import open_node
from openfl.config import load_config
from openfl.core.errors import ConfigError
from openfl.core.rule_names import RULE_NAMES
from openfl.group.screening import AggregationSettings
from openfl_cli import exit_codes, main

# --- the whole of it ------------------------------------------------------------------------------

asked: list[int] = []
"""How many members had proposals, each time the rule was asked: for the tests."""


def midrange(stack: Stack, hostile_fraction: float) -> Matrix:
    """Halfway between the lowest and the highest proposal for each number of a row."""
    asked.append(len(stack.values))
    there = stack.present[:, :, None]
    lowest = np.where(there, stack.values, np.inf).min(axis=0)
    highest = np.where(there, stack.values, -np.inf).max(axis=0)
    return (lowest + highest) / 2


MIDRANGE = by_centre("midrange", midrange)

# --- where it works -------------------------------------------------------------------------------

RATINGS = "user_id,song_id,rating\n" + "".join(
    f"u{user},s{song},{1 + (user * song) % 5}\n" for user in range(10) for song in range(12)
)
BY_RULE = ("--set", "aggregation.rule=midrange", "--set", "network.host=127.0.0.1")
SMALL = ("--nodes", "4", "--rounds", "3", "--set", "data.source=synthetic", "--json")
SMALL += ("--set", "data.users=40", "--set", "data.items=40", "--set", "data.ratings_per_user=15")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    asked.clear()
    register_rule(MIDRANGE)
    yield
    unregister_rule("midrange")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "ratings.csv"
    file.write_text(RATINGS)
    return file


async def test_nodes_aggregate_by_it(data: Path, tmp_path: Path) -> None:
    settings = {
        "aggregation.rule": "midrange",
        "data.ratings_file": str(data),
        "network.host": "127.0.0.1",
        "training.rounds": 3,
        "training.wait_for_members": 2,
        "training.interval_seconds": 0.1,
        "training.when_done": "serve",
    }
    async with open_node(load_config(None, {}, settings), tmp_path / "1", print) as first:
        settings["network.bootstrap"] = first.snapshot().multiaddrs[:1]
        async with open_node(load_config(None, {}, settings), tmp_path / "2", print) as second:
            await first.wait_done()
            await second.wait_done()
    assert max(asked) == 2


def test_the_command_starts_a_node_by_it(data: Path, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path / "home"))
    rounds = ("--rounds", "2", "--interval", "0.1", "--no-view")
    assert main.run(["start", *home, "--data", str(data), *rounds, *BY_RULE]) == exit_codes.SUCCESS
    assert set(asked) == {1}


def test_the_simulator_runs_it(capsys: pytest.CaptureFixture[str]) -> None:
    finals = []
    for rule in ("midrange", "mean"):
        chosen = ("--set", f"training.rule={rule}")
        assert main.run(["simulate", "quick", *SMALL, *chosen]) == exit_codes.SUCCESS
        finals.append(json.loads(capsys.readouterr().out.splitlines()[-1])["final"])
    assert max(asked) == 4
    assert finals[0] != finals[1]


# --- names ----------------------------------------------------------------------------------------


def test_an_unknown_rule_is_an_error_that_lists_the_known_ones() -> None:
    for ask in (
        lambda: load_config(None, {}, {"aggregation.rule": "medain"}),
        lambda: AggregationSettings(rule="medain"),
    ):
        with pytest.raises(ConfigError) as caught:
            ask()
        (line,) = str(caught.value).splitlines()
        assert "medain" in line
        assert all(name in line for name in (*RULES, "midrange", "trimmed-mean"))


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="already"):
        register_rule(by_centre("median", midrange))


def test_what_may_be_configured_is_what_there_is() -> None:
    assert list(RULE_NAMES) == list(RULES)
