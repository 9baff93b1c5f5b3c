"""What is wrong with a node's situation is shown for as long as it lasts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import openfl
from openfl.discovery.discovery import Absence
from openfl.node.event_log import EventLog
from openfl.node.notices import LASTING, Notices
from openfl.node.peers import tell_of_other_versions


class FakeDiscovery:
    def __init__(self) -> None:
        self.nobody: Absence | None = None

    def absence(self) -> Absence | None:
        return self.nobody


def notices() -> tuple[Notices, EventLog, FakeDiscovery]:
    log = EventLog(lambda: 0.0, lambda _: None)
    discovery: Any = FakeDiscovery()
    return Notices(discovery, log), log, discovery


@pytest.mark.parametrize(("begins", "ends"), LASTING.items())
def test_a_notice_begins_and_ends_with_its_events(begins: str, ends: str) -> None:
    watched, log, _ = notices()
    log.tell("info", "round", "round 1")
    assert watched.now(0.0) == ()
    log.tell("warning", begins, "something is wrong", {"peer": "x"})
    log.tell("warning", begins, "something is wrong", {"peer": "x"})
    (notice,) = watched.now(0.0)
    assert (notice.kind, notice.text, notice.data) == (begins, "something is wrong", {"peer": "x"})
    if ends:
        log.tell("info", ends, "all is well")
        assert watched.now(0.0) == ()


def test_every_event_named_in_the_table_is_told_somewhere() -> None:
    sources = [p for p in Path(openfl.__file__).parent.rglob("*.py") if p.name != "notices.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for kind in {*LASTING, *LASTING.values()} - {""}:
        assert re.search(rf'^(?!.*`{kind}`).*"{kind}"', text, re.MULTILINE), kind


def test_in_another_group_what_was_wrong_in_the_one_before_is_over() -> None:
    watched, log, _ = notices()
    for kind in ("deaf", "duplicate-identity"):
        log.tell("warning", kind, kind)
    log.tell("info", "switched", "moved")
    assert [notice.kind for notice in watched.now(0.0)] == ["duplicate-identity"]


@pytest.mark.parametrize(
    ("absence", "text"),
    [
        (
            Absence(1, True, ("connection refused",), 108.2),
            "waiting for 1 bootstrap address: connection refused, next try in 8 s",
        ),
        (
            Absence(3, True, ("connection refused", "no answer"), 99.0),
            "waiting for 3 bootstrap addresses: connection refused, no answer, trying again",
        ),
        (
            Absence(2, False, ("no answer in time",), 101.0),
            "waiting for 2 known peers: no answer in time, next try in 1 s",
        ),
    ],
)
def test_whom_it_waits_for_is_one_steady_line(absence: Absence, text: str) -> None:
    watched, _, discovery = notices()
    discovery.nobody = absence
    (notice,) = watched.now(100.0)
    assert notice.text == text


async def test_another_protocol_version_is_told_once(autojump_clock: MockClock) -> None:
    watched, log, _ = notices()
    faults: dict[str, int] = {"card-rate": 3}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_of_other_versions, lambda: faults, log)
        await trio.sleep(60.0)
        assert watched.now(60.0) == ()
        faults["card-version"] = 1
    assert [notice.kind for notice in watched.now(60.0)] == ["other-version"]
