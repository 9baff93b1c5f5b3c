"""The report of several real nodes, made of the courses that they kept."""

from __future__ import annotations

from typing import Any

import pytest

from openfl_cli.report.nodes import About, Seen, nodes_document

ABOUT = About("Demo", "nodes", "rmse", ((1_010.0, "let go"),))


def point(time: float, group: str, validation: float | None, alone: float | None = 0.9) -> Any:
    return {
        "time": time,
        "round": int(time - 1_000),
        "group": group,
        "validation": validation,
        "alone": alone,
        "members": 2,
        "bytes_sent": int(100 * (time - 1_000)),
        "bytes_received": 0,
    }


def move(time: float, left: str | None, to: str, action: str = "move") -> Any:
    return {
        "time": time,
        "round": 1,
        "from": left,
        "to": to,
        "action": action,
        "why": f"{to} is better",
    }


STAYS = Seen(
    "node-1",
    {
        "points": [point(1_000.0 + n, "red", 0.8 - 0.01 * n) for n in range(21)],
        "moves": [move(999.0, None, "red", "joined")],
    },
    community=0,
)
MOVES = Seen(
    "node-2",
    {
        "points": [
            *(point(1_002.0 + n, "red", 0.9) for n in range(10)),
            *(point(1_012.0 + n, "blue", 0.5) for n in range(9)),
        ],
        "moves": [move(1_001.0, None, "red", "joined"), move(1_012.0, "red", "blue")],
    },
    community=1,
)


def test_courses_are_put_together_over_seconds() -> None:
    page = nodes_document(ABOUT, [STAYS, MOVES], 2_000.0, "1")
    (run,) = page["runs"]
    assert page["scenario"]["rounds"] == 20
    assert [record["round"] for record in run["rounds"]] == list(range(21))
    assert run["nodes"][0]["path"] == [(0, "red"), (0, "red")]
    assert run["nodes"][1]["path"] == [(0, "red"), (1, "red"), (12, "blue")]
    assert run["moves"] == [
        {
            "round": 12,
            "node": 1,
            "from": "red",
            "to": "blue",
            "action": "move",
            "why": "blue is better",
        }
    ]
    assert page["events"] == [{"round": 10, "what": "event", "text": "let go"}]
    assert page["references"] == [
        {"key": "alone", "name": "each alone", "value": pytest.approx(0.9)}
    ]


def test_a_mean_is_of_all_nodes_or_of_none() -> None:
    (run,) = nodes_document(ABOUT, [STAYS, MOVES], 2_000.0, "1")["runs"]
    by_second = {record["round"]: record for record in run["rounds"]}
    assert by_second[1]["test"]["mean"] is None
    assert by_second[1]["members"] == 1
    assert by_second[2]["test"]["mean"] == pytest.approx((0.78 + 0.9) / 2)
    assert by_second[20]["test"]["worst"] == pytest.approx(0.6)
    assert run["nodes"][1]["values"][:3] == [None, None, 0.9]


def test_purity_follows_the_moves() -> None:
    (run,) = nodes_document(ABOUT, [STAYS, MOVES], 2_000.0, "1")["runs"]
    by_second = {record["round"]: record["purity"] for record in run["rounds"]}
    assert (by_second[11], by_second[12]) == (0.5, 1.0)
    strangers = [Seen(node.name, node.course) for node in (STAYS, MOVES)]
    (run,) = nodes_document(ABOUT, strangers, 2_000.0, "1")["runs"]
    assert {record["purity"] for record in run["rounds"]} == {None}


def test_a_long_life_has_few_moments() -> None:
    long = Seen("node-1", {"points": [point(0.0, "red", 0.8), point(9e4, "red", 0.7)], "moves": []})
    page = nodes_document(ABOUT, [long], 2_000.0, "1")
    assert len(page["runs"][0]["rounds"]) <= 102
    assert page["runs"][0]["rounds"][-1]["round"] == 90_000
    assert page["scenario"]["step"] == 900


def test_nodes_without_a_round_have_no_report() -> None:
    with pytest.raises(ValueError, match="no node has done a round"):
        nodes_document(ABOUT, [Seen("node-1", {"points": [], "moves": []})], 2_000.0, "1")
