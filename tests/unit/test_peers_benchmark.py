"""The comparison with other projects (benchmarks/peers): what follows from what was seen, that the
tensors its peers average say what OpenFL's merge rule needs, and that nothing is left behind."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import psutil
import pytest

from openfl.learning.central import merge
from openfl.learning.rating.charter import ITEMS

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(PEERS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(PEERS))


figures, report, confined = load("figures"), load("report"), load("confined")
dense, environments = load("dense"), load("environments")


def journal(event: str, number: int, value: float | None, time: float = 1.0) -> str:
    data = {"round": number, "validation": value}
    return json.dumps({"time": time, "event": event, "data": data})


def rounds(*seen: tuple[float, int, float]) -> list[object]:
    """Of (time, node, validation), numbered as they come."""
    return [figures.Round(t, node, n, value) for n, (t, node, value) in enumerate(seen)]


def test_rounds_are_read_once_each_and_nothing_else_is() -> None:
    lines = [
        "no JSON",
        "[1]",
        journal("joined", 1, 0.5),
        journal("round", 1, 0.5, 3.0),
        journal("round", 1, 0.4, 4.0),
        journal("round", 2, None),
        '{"event": "round", "time": 5, "data": {"round": 3, "validation": NaN}}',
        journal("round", 4, 0.25, 6.0),
    ]
    assert figures.read_rounds(lines, 7) == [
        figures.Round(3.0, 7, 1, 0.5),
        figures.Round(6.0, 7, 4, 0.25),
    ]


def test_an_error_is_reached_by_everybody_together() -> None:
    seen = rounds((1.0, 0, 1.0), (2.0, 0, 0.1), (3.0, 1, 2.0), (4.0, 1, 1.0))
    # At 4: sqrt((3 * 0.01 + 1) / 4) = 0.507.
    assert figures.reached(seen, [3, 1], 0.51) == 4.0
    assert figures.reached(seen, [3, 1], 0.50) is None
    assert figures.reached(seen, [3, 1], 1.01) == 3.0
    assert figures.reached(seen[:2], [3, 1], 9.0) is None, "the other has no model yet"
    assert figures.reached(reversed(seen), [3, 1], 0.51) == 4.0


def test_costs_are_of_the_settled_time_alone() -> None:
    samples = [figures.Sample(t, 2.0 * t, 1000 * int(t)) for t in (0.0, 10.0, 20.0)]
    seen = rounds(*((float(t), node, 1.0) for t in range(1, 11) for node in (0, 1)))
    cost = figures.settled(seen, samples, 2, skip=3)
    # From 3 to 10: seven rounds of two nodes, 14 s of processor, 7,000 bytes.
    assert cost == figures.Settled(1000.0, 0.5, 1.0)
    assert figures.settled(seen[:6], samples, 2, skip=3) is None
    assert figures.settled(seen, [], 2) is None
    unknown = [figures.Sample(s.time, s.processor, None) for s in samples]
    assert figures.settled(seen, unknown, 2) == figures.Settled(1000.0, None, 1.0)


def test_who_stops_after_a_kill_has_waited_until_the_end() -> None:
    goes_on = rounds(*((float(t), 0, 1.0) for t in range(10)))
    hangs = rounds(*((float(t), 1, 1.0) for t in range(5)))
    seen = figures.waited([*goes_on, *hangs], [0, 1], killed=4.5, until=104.0, wanted=3)
    assert seen == figures.Waited(100.0, 1.0, False)
    seen = figures.waited(goes_on, [0], killed=4.5, until=104.0, wanted=3)
    assert seen == figures.Waited(1.0, 1.0, True)


def test_nodes_that_went_through_their_rounds_alone_are_told_apart() -> None:
    assert figures.parted([12, 1000, 11])
    assert figures.parted([0, 11])
    assert not figures.parted([10, 12, 30])


def test_a_spread_says_how_many_repetitions_it_is_of() -> None:
    assert figures.Spread.over([3.0, 1.0, 2.0]).text() == "2.0 (1.0-3.0)"
    assert figures.Spread.over([3.0, None, float("nan")]).text(".0f") == "3, 1 of 3"
    assert figures.Spread.over([None]).text() == "-"


def test_bytes_are_those_sent_over_loopback() -> None:
    text = (
        "Inter-|   Receive                |  Transmit\n"
        " face |bytes    packets errs\n"
        "  eth0: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n"
        "    lo: 10 2 0 0 0 0 0 0 77 2 0 0 0 0 0 0\n"
    )
    assert confined.loopback_bytes(text) == 77
    assert confined.loopback_bytes("nothing of the kind") is None


def result(system: str, **changed: object) -> dict[str, object]:
    told: dict[str, object] = {"system": system, "version": "1", "nodes": 2, "status": "ok"}
    told |= {"seconds": 4.0, "processor_until_then": 3.0, "seconds_a_round": 1.0}
    return told | {"milliseconds_a_round": 80.0, "kilobytes_a_round": None, "kill": None} | changed


def test_failures_are_counted_in_the_table_and_told_below_it() -> None:
    failed = result("b", status="crashed | on line 1", seconds=None, processor_until_then=None)
    rows = report.together_rows([result("a"), failed, failed, result("a", seconds=6.0)])
    assert rows == [
        ["2", "a 1", "5.0 (4.0-6.0)", "1.0 (1.0-1.0)", "80 (80-80)", "-", "1.5 (1.5-1.5)", "none"],
        ["2", "b 1", "-", "1.0 (1.0-1.0)", "80 (80-80)", "-", "-", "2 of 2"],
    ]
    assert report.failure_lines([result("a"), failed, failed]) == [
        "- b, 2 processes, 2 x crashed | on line 1"
    ]
    lines = report.table(report.TOGETHER, rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1


def test_of_kills_only_runs_with_one_count() -> None:
    kill = {"longest": 300.0, "usual": 3.0, "everybody": False}
    rows = report.kill_rows([result("a", kill=kill), result("a"), result("b")])
    assert rows == [["2", "a", "300.0", "3.0", "0 of 1"]]


@pytest.mark.parametrize("name", environments.PACKAGES)
def test_every_environment_has_exact_pins(name: str) -> None:
    lines = (PEERS / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in pins)
    assert environments.pinned_version(name)


def learners(folder: Path, nodes: int) -> list[object]:
    """Made-up ratings of ten users a node."""
    rng = np.random.default_rng(5)
    songs = tuple(f"song {n}" for n in range(12))
    dense.write_job(folder / "job.json", songs, (1.0, 5.0), 3)
    made = []
    for node in range(nodes):
        lines = ["user_id,song_id,rating"]
        for user in range(10):
            chosen = rng.permutation(12)[:8]
            lines += [f"{node}-{user},{songs[s]},{rng.integers(1, 6)}" for s in chosen]
        path = folder / f"{node}.csv"
        path.write_text("\n".join(lines) + "\n")
        made.append(dense.DenseLearner(folder / "job.json", path, nodes))
    return made


def test_averaged_tensors_merge_as_contributions_do(tmp_path: Path) -> None:
    (alone,) = learners(tmp_path, 1)
    for _ in range(3):
        contribution = alone.task.local_step(alone.model, np.random.default_rng(0))
        expected = merge(alone.charter, [contribution])
        alone.take(alone.tensors(contribution))
        for schema in alone.charter.tables:
            keys = expected.keys(schema.name)
            assert (alone.model.keys(schema.name) == keys).all()
            found, right = (m.rows(schema.name, keys) for m in (alone.model, expected))
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_members_with_more_ratings_of_a_song_count_for_more(tmp_path: Path) -> None:
    members = learners(tmp_path, 3)
    taught = [member.task.local_step(member.model, np.random.default_rng(0)) for member in members]
    expected = merge(members[0].charter, taught)
    tensors = [m.tensors(c) for m, c in zip(members, taught, strict=True)]
    members[0].take([np.mean(column, axis=0) for column in zip(*tensors, strict=True)])
    keys = expected.keys(ITEMS)
    found = members[0].model
    np.testing.assert_allclose(found.evidence(ITEMS, keys), expected.evidence(ITEMS, keys))
    # Each member's curvature was replaced by the mean of all: close, not equal.
    difference = np.abs(found.rows(ITEMS, keys) - expected.rows(ITEMS, keys))
    assert difference.max() < 0.05 * np.abs(expected.rows(ITEMS, keys)).max()


@pytest.mark.parametrize("namespaces", [True, False])
def test_what_a_measurement_started_ends_with_it(
    namespaces: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if namespaces and not confined.can_confine():
        pytest.skip("needs namespaces of its own")
    monkeypatch.setattr(confined, "can_confine", lambda: namespaces)
    mark = f"left-behind-{tmp_path.name}-{namespaces}"
    sleeper = "import time; time.sleep(600)"
    script = (
        "import subprocess, sys;"
        f"subprocess.Popen([sys.executable, '-c', {sleeper!r}, {mark!r}]);"
        "print('started')"
    )
    log = tmp_path / "log"
    code = confined.run_confined([sys.executable, "-c", script], {}, log, timeout=60)
    assert (code, log.read_text()) == (0, "started\n")
    left = [p for p in psutil.process_iter(["cmdline"]) if mark in (p.info["cmdline"] or ())]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive
