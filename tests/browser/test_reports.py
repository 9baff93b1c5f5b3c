"""Reports: the page frozen in one file, opened from the disk."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openfl.app.http.page import frozen
from openfl_cli import exit_codes, main
from tests.browser.browser_rig import Browser, browsing

EVIL = (
    "</script><img src=x onerror=\"document.title='taken'\"><!-- \u2028 \u202e & 'x' \"y\" \ud800"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def node_page() -> dict[str, Any]:
    """The document of a node that has moved twice, knows groups, and leaves somebody out."""
    now, peers = 1_790_000_000.0, [f"12D3KooW{letter * 44}" for letter in "ABCDEF"]
    groups = ["red"] * 12 + ["green"] * 10 + ["blue"] * 20
    points = [
        {
            "time": now - 600 + 14 * n,
            "round": n + 1,
            "group": group,
            "validation": 0.9 - 0.006 * n - (0.05 if group == "blue" else 0),
            "alone": 0.82 if n > 2 else None,
            "members": {"red": 3, "green": 5, "blue": 6}[group],
            "bytes_sent": 9_000 * (n + 1),
            "bytes_received": 21_000 * (n + 1),
        }
        for n, group in enumerate(groups)
    ]
    moves = [
        {
            "time": points[at]["time"] - 1,
            "round": at,
            "from": left,
            "to": to,
            "action": action,
            "why": why,
        }
        for at, left, to, action, why in (
            (0, None, "red", "joined", "the group that was asked for"),
            (12, "red", "green", "switch", "the owner asked for it"),
            (22, "green", "blue", "move", "moved from green to blue: blue should be 8.1 % better"),
        )
    ]
    events = [
        {"time": now - 60 + n, "level": level, "kind": kind, "message": message, "data": {}}
        for n, (level, kind, message) in enumerate(
            (
                ("info", "round", "round 41 is over"),
                ("warning", "left-out", "a member is left out: it does harm"),
                ("error", "not-saved", "the disk takes nothing"),
            )
        )
    ]
    member = {"round": 41, "fit": 0.6, "rows": 120, "age_seconds": 3.0, "me": False}
    snapshot = {
        "time": now,
        "started_at": now - 700,
        "phase": "learning",
        "peer_id": peers[0],
        "multiaddrs": ["/ip4/127.0.0.1/tcp/4001/p2p/" + peers[0]],
        "home": "/home/me/.local/share/openfl-node",
        "group_id": "a" * 32,
        "group_name": "blue",
        "task": "rating",
        "metric": "rmse",
        "peers": [
            {
                "peer_id": peer,
                "multiaddrs": ["/ip4/192.0.2.7/tcp/4001"],
                "groups": ["blue"],
                "in_mesh": n == 0,
                "relayed": n == 2,
            }
            for n, peer in enumerate(peers[1:4])
        ],
        "members": [
            {**member, "peer_id": peers[0], "me": True, "left_out": "", "history": None},
            *(
                {
                    **member,
                    "peer_id": peer,
                    "rows": 0 if n == 4 else 120,
                    "left_out": "it does harm: without it the error is 4.0 % lower"
                    if n == 3
                    else "",
                    "history": n != 2,
                }
                for n, peer in enumerate(peers[1:])
            ),
        ],
        "round": 42,
        "rounds": 0,
        "train_examples": 1234,
        "model_rows": 300,
        "validation": points[-1]["validation"],
        "alone": 0.82,
        "test": None,
        "alone_test": None,
        "history": [point["validation"] for point in points],
        "bytes_sent": 378_000,
        "bytes_received": 882_000,
        "published_bytes": 120_000,
        "deltas_merged": 188,
        "faults": {"too-late": 3},
        "events": events,
        "privacy": None,
        "switching": {
            "auto": True,
            "pinned": False,
            "moves": 1,
            "dwell_rounds": 0,
            "why": "nothing that was tried is better than blue",
            "decisions": [],
        },
        "resources": None,
        "notices": [{"kind": "deaf", "text": "nothing is heard of 2 members", "data": {}}],
        "directory": {"asked": 0, "answered": 0, "refused": 0},
        "items": None,
        "skipped_rows": 0,
        "useful_after": 2.0,
        "interval_seconds": 14.0,
    }
    group = {
        "task": "rating",
        "fit_metric": "rmse",
        "fit_best": 0.6,
        "fit_median": 0.7,
        "age_seconds": 4.0,
        "compatible": True,
        "reason": "",
        "gain_error": 0.01,
        "tried_rounds_ago": 2,
    }
    return {
        "format": 1,
        "kind": "node",
        "title": "Node ..AAAAAA in blue",
        "made_at": now,
        "version": "0.1.0",
        "snapshot": snapshot,
        "course": {"points": points, "moves": moves},
        "groups": [
            {**group, "id": "a" * 32, "name": "blue", "members": 6, "mine": True, "gain": None},
            {**group, "id": "b" * 32, "name": "green", "members": 5, "mine": False, "gain": -0.08},
            {**group, "id": "c" * 32, "name": "gold", "members": 9, "mine": False, "gain": None},
        ],
        "recommendations": {
            "user": "me",
            "kind": "known",
            "head": "rating",
            "items": [
                {
                    "song_id": f"s{n}",
                    "title": f"Song {n}",
                    "artist": "Somebody",
                    "score": 4.5 - n / 10,
                    "evidence": 12.0,
                    "why": [
                        {"song_id": "s99", "title": "Old song", "artist": "X", "influence": 0.4}
                    ],
                }
                for n in range(5)
            ],
            "notes": ["12 songs of the group have no name here"],
        },
    }


def opened(browser: Browser, path: Path, document: dict[str, Any]) -> str:
    """Write the report, open it, and return its address."""
    path.write_text(frozen(document), encoding="utf-8")
    return shown(browser, path)


def shown(browser: Browser, path: Path) -> str:
    browser.listen()
    browser.asked.clear()
    browser.complaints.clear()
    browser.resize("wide")
    browser.open(path.as_uri())
    return path.as_uri()


def poisoned(value: Any, key: str = "") -> Any:
    """Every text of the document that anybody else may have written, replaced."""
    if isinstance(value, dict):
        return {name: poisoned(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [poisoned(entry, key) for entry in value]
    kept = ("kind", "phase", "level", "action", "metric", "task", "key")
    return EVIL if isinstance(value, str) and key not in kept else value


def test_the_report_of_a_node_says_what_it_learned_and_why_it_moved(
    browser: Browser, tmp_path: Path
) -> None:
    address = opened(browser, tmp_path / "node.html", node_page())
    text = browser.text()
    for told in (
        "Node ..AAAAAA in blue",
        "26 % better than alone",
        "this page does not change",
        "You sent it from red to green",
        "Moved from green to blue. Why: blue should be 8.1 % better.",
        "Why it is where it is: Nothing that was tried is better than blue.",
        "left out: it does harm: without it the error is 4.0 % lower",
        "nothing is heard of 2 members",
        "Because of Old song",
        "8.0 % worse",
        "The disk takes nothing",
    ):
        assert told.lower() in text.lower(), told
    assert browser.find_all("#recommendations form") == []
    browser.look("report")
    assert browser.asked_elsewhere(address) == []
    assert browser.complaints == []


def test_what_strangers_wrote_stays_text_wherever_it_stands(
    browser: Browser, tmp_path: Path
) -> None:
    page = poisoned(node_page())
    address = opened(browser, tmp_path / "evil.html", page)
    assert browser.find_all("#now"), "the page is drawn all the same"
    assert "onerror" in browser.text("#groups")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert "taken" not in browser.driver.title.replace(EVIL, "").replace("title='taken'", "")
    assert browser.run("return document.documentElement.textContent").count("\u202e") == 0
    assert browser.violations() == []
    browser.resize("narrow")
    assert browser.too_wide() == []
    assert browser.asked_elsewhere(address) == []
    assert browser.complaints == []


def test_a_script_that_is_not_the_pages_own_does_not_run(browser: Browser, tmp_path: Path) -> None:
    html = frozen(node_page()).replace("</body>", "<script>document.title='taken'</script></body>")
    path = tmp_path / "changed.html"
    path.write_text(html, encoding="utf-8")
    shown(browser, path)
    assert browser.find_all("#now")
    assert browser.driver.title != "taken"
    browser.listen()
    assert any("Content Security Policy" in told for told in browser.complaints)


@pytest.fixture(scope="module")
def communities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nodes of three tastes in mixed groups, which sort themselves out; with two seeds."""
    path = tmp_path_factory.mktemp("report") / "communities.html"
    arguments = ("--nodes", "12", "--rounds", "12", "--seeds", "2", "--set", "data.users=120")
    assert main.run(["simulate", "communities", *arguments, "--html", str(path)]) == (
        exit_codes.SUCCESS
    )
    return path


def test_of_communities_one_sees_who_learned_from_whom_and_why_they_moved(
    browser: Browser, communities: Path
) -> None:
    address = shown(browser, communities)
    assert "better than each alone" in browser.text("#now .big").replace("\n", " ")
    assert "of their own taste" in browser.text("#now")
    inlined = browser.run("return document.getElementById('document').textContent")
    runs = json.loads(inlined)["runs"]
    assert [run["seed"] for run in runs] == [0, 1]
    assert len(browser.find_all("#groups .river .stream")) == 12
    assert "for each community" in browser.text("#learning .legend")
    move = runs[0]["moves"][0]
    assert move["why"]
    assert move["why"].lower()[:40] in browser.text("#groups").lower()
    from selenium.webdriver.support.ui import Select

    Select(browser.find("#node")).select_by_value(str(move["node"]))
    story = browser.text("#groups .chosen")
    assert f"in round {move['round']} it" in story
    assert "It learned most from node-" in story
    assert "Why: " in story
    Select(browser.find("#run")).select_by_value("1")
    assert browser.text("#groups .chosen") == ""
    browser.look("communities")
    assert browser.asked_elsewhere(address) == []
    assert browser.complaints == []


def test_runs_without_groups_show_what_happened_to_them(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "churn.html"
    small = ("--nodes", "12", "--set", "data.users=80", "--set", "data.source=synthetic")
    assert main.run(["simulate", "churn", *small, "--html", str(path)]) == exit_codes.SUCCESS
    address = shown(browser, path)
    told = browser.text()
    for words in ("one place, all data", "each alone", "6 join", "4 crash", "cut into 2", "healed"):
        assert words in told, words
    browser.glance("churn")
    assert browser.asked_elsewhere(address) == []
    assert browser.complaints == []


def test_a_document_with_nothing_in_it_yet_is_a_page_too(browser: Browser, tmp_path: Path) -> None:
    page = copy.deepcopy(node_page())
    page["course"] = {"points": [], "moves": []}
    page["groups"], page["recommendations"] = [], None
    page["snapshot"] |= {
        "members": [],
        "peers": [],
        "events": [],
        "notices": [],
        "history": [],
        "validation": None,
        "alone": None,
        "multiaddrs": [],
        "phase": "joining",
        "group_name": "",
    }
    opened(browser, tmp_path / "empty.html", page)
    assert "It has not judged its model yet." in browser.text()
    browser.glance("empty")
    browser.listen()
    assert browser.complaints == []
