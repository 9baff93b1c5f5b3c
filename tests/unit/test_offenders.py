"""When a peer is refused for repeated faults, as a function of the times of its faults."""

from __future__ import annotations

import pytest

from openfl.core.contribution import PeerId
from openfl.network import offenders
from openfl.network.offenders import REFUSAL_SECONDS, Offenders

PEER, OTHER = PeerId("peer"), PeerId("other")


def faults_until_refused(interval_seconds: float, most: int = 1000) -> int | None:
    known = Offenders()
    for number in range(1, most + 1):
        if known.add(PEER, number * interval_seconds):
            return number
    return None


@pytest.mark.parametrize(("interval", "faults"), [(0.0, 8), (0.1, 8), (5.0, 10)])
def test_faults_in_quick_succession_end_in_refusal(interval: float, faults: int) -> None:
    assert faults_until_refused(interval) == faults


@pytest.mark.parametrize("interval", [15.0, 60.0, 3600.0])
def test_occasional_faults_are_forgiven(interval: float) -> None:
    assert faults_until_refused(interval) is None


def test_a_refused_peer_is_admitted_again_after_a_while() -> None:
    known = Offenders()
    for _ in range(8):
        known.add(PEER, 100.0)
    assert known.is_refused(PEER, 100.0)
    assert known.is_refused(PEER, 100.0 + REFUSAL_SECONDS - 1)
    assert not known.is_refused(PEER, 100.0 + REFUSAL_SECONDS)
    assert not known.is_refused(OTHER, 100.0)


def test_the_memory_of_offenders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offenders, "MAX_OFFENDERS", 10)
    known = Offenders()
    for _ in range(8):
        known.add(PEER, 0.0)
    for number in range(9):
        known.add(PeerId(str(number)), 0.0)
    assert known.is_refused(PEER, 1.0)
    known.add(PeerId("one more"), 0.0)
    assert not known.is_refused(PEER, 1.0)
