"""node.log: what peers and files had to say ends no line and steers nobody who reads it; it stays
as large as it may be, and `logs` tells all that is in it."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeRecommendations

from openfl.core.errors import NetworkError
from openfl.core.names import is_unseen
from openfl.core.telemetry import NodeEvent
from openfl.storage.home import Home
from openfl_cli import exit_codes, main
from openfl_cli.commands.logs import since_when
from openfl_cli.log_reading import LIBRARY, Entry, LogReader, parse
from openfl_cli.logs import log_to_file


def test_what_others_wrote_is_one_harmless_line(tmp_path: Path) -> None:
    hostile = "group \u202emusic\x1b[31m\n2026-01-01 ERROR forged"
    with log_to_file(tmp_path, "info") as log:
        log.event(NodeEvent(0.0, "info", "joined", hostile))
        try:
            raise ValueError(hostile)
        except ValueError:
            logging.getLogger("openfl.x").exception("from %s", hostile)
    text = Home(tmp_path).log_file.read_text()
    assert not [c for c in text.replace("\t{}\n", "\n") if c != "\n" and is_unseen(c)]
    lines = text.splitlines()
    assert "Traceback" in lines[2]
    assert not [line for line in lines if line.startswith("2026-01-01 ERROR")]
    assert "2026-01-01 ERROR forged" in lines[0]


def event(number: int, kind: str = "round", level: Any = "info") -> NodeEvent:
    return NodeEvent(0.0, level, kind, f"round {number}: RMSE 0.8", {"round": number})


def write(home: Path, first: int, last: int, megabytes: float = 5.0, files: int = 3) -> None:
    with log_to_file(home, "info", megabytes, files) as log:
        for number in range(first, last):
            log.event(event(number))


def rounds(entries: list[Entry]) -> list[int]:
    return [entry.data["round"] for entry in entries]


SMALL = 0.002
"""Megabytes: some twenty lines."""


def test_a_full_log_is_put_aside_and_no_more_are_kept_than_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 0, 400, SMALL, files=3)
    pieces = sorted(path.name for path in tmp_path.glob("node.log*"))
    assert pieces == ["node.log", "node.log.1", "node.log.2"]
    assert all(path.stat().st_size <= SMALL * 1e6 for path in tmp_path.glob("node.log*"))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("node.log*"))
    reader = LogReader(tmp_path)
    told = rounds(reader.last(None, None))
    assert told == list(range(told[0], 400))
    assert len(told) > 30
    reader.close()
    write(tmp_path, 400, 401, SMALL, files=2)  # less is kept from now on
    assert not (tmp_path / "node.log.2").exists()


def test_a_record_is_read_as_it_was_told(tmp_path: Path) -> None:
    before = time.time()
    data = {"multiaddrs": ["/ip4/192.0.2.7/tcp/1"], "text": "a\tb \u202e", "nan": math.nan}
    with log_to_file(tmp_path, "warning") as log:
        log.event(NodeEvent(0.0, "warning", "waiting", "for\tsomebody: far\naway", data))
        log.event(event(1))  # below the level
        log.event(event(2, "listening"))  # told at every level
        log.recommendations({"user": "ann", "items": []})  # below the level
        logging.getLogger("some.library").warning("a stream: reset")
    reader = LogReader(tmp_path)
    waiting, listening, library = reader.last(None, None)
    reader.close()
    assert (waiting.kind, waiting.level) == ("waiting", "warning")
    assert waiting.message == "for somebody: far away"
    assert waiting.data == {**data, "nan": None}
    assert before - 0.001 <= waiting.time <= time.time()
    assert listening.data == {"round": 2}
    assert (library.kind, library.message) == (LIBRARY, "a stream: reset")
    assert library.data == {"logger": "some.library"}


def test_lines_of_version_0_1_0_are_read_too() -> None:
    old = "2026-11-24 10:00:00,250 INFO openfl.node joined: joined group music: by 2 members"
    entry = parse(old)
    assert entry is not None
    assert (entry.kind, entry.message) == ("joined", "joined group music: by 2 members")
    assert datetime.fromtimestamp(entry.time) == datetime(2026, 11, 24, 10, 0, 0, 250_000)
    library = parse("2026-11-24 10:00:00,250 WARNING libp2p.x stream: reset")
    assert library is not None
    assert (library.kind, library.message) == (LIBRARY, "stream: reset")


@pytest.mark.parametrize("text", ["", "garbage", "2026-99-99 10:00:00.000+00:00 INFO a b", "  x"])
def test_what_is_no_record_is_no_entry(text: str) -> None:
    assert parse(text) is None


def test_what_ends_the_node_is_in_its_log(tmp_path: Path) -> None:
    for error in (NetworkError("port 4001 is in use"), ZeroDivisionError("a bug"), SystemExit()):
        with pytest.raises(type(error)), log_to_file(tmp_path, "info"):
            raise error
    reader = LogReader(tmp_path)
    mine, bug = reader.last(None, None)
    reader.close()
    assert (mine.level, mine.message) == ("error", "ended: port 4001 is in use")
    assert bug.message.splitlines()[0] == "ended: by a bug"
    assert "Traceback (most recent call last):" in bug.message
    assert bug.message.splitlines()[-1] == "ZeroDivisionError: a bug"


def test_the_last_entries_come_from_as_many_files_as_it_takes(tmp_path: Path) -> None:
    write(tmp_path, 0, 100, SMALL, files=10)
    for most in (0, 1, 30, 100, 1000):
        reader = LogReader(tmp_path)
        assert rounds(reader.last(most, None)) == list(range(max(0, 100 - most), 100))
        reader.close()


def test_entries_since_a_time_are_told_and_no_older_ones(tmp_path: Path) -> None:
    write(tmp_path, 0, 60, SMALL, files=10)
    reader = LogReader(tmp_path)
    times = [entry.time for entry in reader.last(None, None)]
    reader.close()
    for place in (0, 17, 59):
        reader = LogReader(tmp_path)
        expected = [number for number in range(60) if times[number] >= times[place]]
        assert rounds(reader.last(None, times[place])) == expected
        reader.close()


def test_following_goes_on_through_rotations_and_restarts(tmp_path: Path) -> None:
    write(tmp_path, 0, 5, SMALL, files=20)
    reader = LogReader(tmp_path)
    told = rounds(reader.last(2, None))
    assert told == [3, 4]
    assert reader.more() == []
    for first, last in ((5, 6), (6, 150), (150, 151), (151, 152)):  # rotates several times
        write(tmp_path, first, last, SMALL, files=20)
        told += rounds(reader.more())
    told += rounds(reader.more())
    assert told == list(range(3, 152))
    assert reader.more() == []
    (tmp_path / "node.log").write_bytes(b"")  # somebody empties it
    assert reader.more() == []
    write(tmp_path, 152, 153)
    told += rounds(reader.more() + reader.more())
    assert told[-1] == 152
    reader.close()


def test_following_tells_half_a_line_once_it_is_whole(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    line = (tmp_path / "node.log").read_bytes()
    reader = LogReader(tmp_path)
    assert rounds(reader.last(None, None)) == [0]
    with (tmp_path / "node.log").open("ab") as file:
        file.write(line[:30])
        file.flush()
        assert reader.more() + reader.more() == []
        file.write(line[30:])
    assert rounds(reader.more() + reader.more()) == [0]
    reader.close()


def test_what_is_written_into_a_log_that_was_emptied_is_told(tmp_path: Path) -> None:
    write(tmp_path, 0, 30)
    log = Home(tmp_path).log_file
    with log.open("a") as opened:
        opened.write("2026-11-28 half a line")
    reader = LogReader(tmp_path)
    assert len(reader.last(5, None)) == 5
    log.write_text("")
    write(tmp_path, 30, 32)
    assert rounds([*reader.more(), *reader.more()]) == [30, 31]
    reader.close()


def test_what_follows_a_traceback_does_not_tear_it_apart(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    reader = LogReader(tmp_path)
    reader.last(None, None)
    start = (tmp_path / "node.log").read_text().replace("round 0: RMSE 0.8", "x").split("\t")[0]
    with (tmp_path / "node.log").open("a") as file:
        file.write(f"{start}\n  Traceback\n")
        file.flush()
        assert reader.more() == []
        file.write("  ZeroDivisionError\n")
        file.flush()
    assert [entry.message for entry in reader.more() + reader.more()] == ["x"]
    reader.close()


def test_a_home_without_a_log_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["logs", "--home", str(tmp_path)]) == exit_codes.NOT_RUNNING
    assert "there is no log" in capsys.readouterr().err


def test_the_command_shows_what_start_shows_with_its_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to_file(tmp_path, "info") as log:
        addresses = {"multiaddrs": ["/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.8/tcp/1"]}
        log.event(NodeEvent(0.0, "info", "listening", "listening on all of them", addresses))
        log.event(event(1, level="warning"))
        log.recommendations(FakeRecommendations("ann", 2).to_plain())
        logging.getLogger("some.library").warning("a stream was reset")
    assert main.run(["logs", "--home", str(tmp_path)]) == exit_codes.SUCCESS
    lines = capsys.readouterr().out.splitlines()
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf"{date} listening      listening on", lines[0])
    assert lines[1:3] == ["  /ip4/192.0.2.7/tcp/1", "  /ip4/192.0.2.8/tcp/1"]
    assert re.fullmatch(rf"{date} round          warning: round 1: RMSE 0.8", lines[3])
    assert "For ann:" in lines
    assert re.fullmatch(rf"{date} some.library   warning: a stream was reset", lines[-1])
    assert main.run(["logs", "--home", str(tmp_path), "--json", "-n", "3"]) == exit_codes.SUCCESS
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in told] == ["round", "recommendations", "library"]
    assert all(set(line) == {"time", "level", "event", "message", "data"} for line in told)
    assert told[1]["data"]["items"][0]["title"] == "Song 1"


def test_a_log_that_somebody_has_written_into_steers_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, 0, 1)
    line = (tmp_path / "node.log").read_text()
    evil = line.replace("RMSE", "\x1b[2J").replace('"round"', '"\\u001b[2J"')
    (tmp_path / "node.log").write_text(evil)
    for options in ([], ["--json"]):
        assert main.run(["logs", "--home", str(tmp_path), *options]) == exit_codes.SUCCESS
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800), ("1w", 604_800)],
)
def test_a_time_ago_counts_from_now(text: str, seconds: float) -> None:
    assert since_when(text, 1_000_000.0) == 1_000_000.0 - seconds


def test_a_date_is_local_unless_it_says_otherwise() -> None:
    assert since_when("2026-11-28T20:00", 0.0) == datetime(2026, 11, 28, 20).timestamp()
    assert since_when("2026-11-28", 0.0) == datetime(2026, 11, 28).timestamp()
    assert since_when("2026-11-28T20:00+00:00", 0.0) == 1_795_896_000.0


@pytest.mark.parametrize("options", [["--since", "yesterday"], ["-n", "-1"], ["-n", "few"]])
def test_what_cannot_be_meant_is_refused(options: list[str], tmp_path: Path) -> None:
    assert main.run(["logs", "--home", str(tmp_path), *options]) == exit_codes.USAGE
