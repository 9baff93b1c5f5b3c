from __future__ import annotations

import io
import math
import sys

import pytest

from openfl_cli import text
from openfl_cli.sparkline import sparkline


def test_a_name_that_would_steer_the_terminal_is_made_harmless() -> None:
    assert text.clean("a\x1b[31mb\u202ec\x07") == "a\ufffd[31mb\ufffdc\ufffd"


def test_what_shows_nothing_and_stacked_marks_are_made_harmless() -> None:
    assert text.clean("mu\u3164sic\u2800") == "mu\ufffdsic\ufffd"
    assert text.clean("a" + "\u0301" * 50) == "a" + "\u0301" * 4
    assert text.clean("\u2764\ufe0f") == "\u2764"


def test_an_honest_name_in_any_script_is_left_alone() -> None:
    assert text.clean("Dvořák: Rusalka 夜曲 🎵") == "Dvořák: Rusalka 夜曲 🎵"


def test_line_breaks_become_spaces_so_that_one_event_is_one_line() -> None:
    assert text.clean("a\nb\tc") == "a b c"


def test_an_endless_name_is_cut() -> None:
    assert len(text.clean("x" * 10_000, limit=50)) == 50


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (999_949, "999.9 KB"),
        (999_999, "1.0 MB"),
        (4_000_000_000, "4.0 GB"),
        (5e12, "5.0 TB"),
    ],
)
def test_bytes_are_readable(count: float, shown: str) -> None:
    assert text.human_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "now"), (59.4, "59 s"), (59.6, "1 min"), (3600, "1 h"), (23.6 * 3600, "1 d")],
)
def test_ages_are_readable(seconds: float, shown: str) -> None:
    assert text.human_age(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (65, "1:05"), (3_723, "1:02:03"), (-5, "0:00")]
)
def test_durations_are_readable(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_a_metric_that_is_not_known_or_not_finite_is_a_dash() -> None:
    assert [text.metric_value(value) for value in (None, math.nan, math.inf)] == ["-"] * 3
    assert text.metric_value(0.81234) == "0.8123"


def test_a_change_says_its_sign_and_zero_has_none() -> None:
    shown = [text.signed_percent(value) for value in (-9.87, 0.3, -0.04, None)]
    assert shown == ["-9.9 %", "+0.3 %", "0.0 %", "-"]


def test_a_change_from_nothing_is_not_a_number() -> None:
    assert text.change_percent(1.0, None) is None
    assert text.change_percent(1.0, 0.0) is None
    assert text.change_percent(0.9, 1.0) == pytest.approx(-10.0)


def test_peer_ids_are_told_apart_by_their_ends() -> None:
    first, second = "12D3KooWHdiAxVd8uMQR1hGWAAAAAA", "12D3KooWHdiAxVd8uMQR1hGWBBBBBB"
    assert text.short_peer(first) == "12D3…AAAAAA"
    assert text.short_peer(first) != text.short_peer(second)


def test_a_falling_course_falls() -> None:
    assert sparkline([3.0, 2.0, 1.0], 10) == "█▅▁"


def test_a_long_course_is_thinned_to_the_width_and_keeps_its_ends() -> None:
    line = sparkline([float(value) for value in range(100)], 8)
    assert len(line) == 8
    assert (line[0], line[-1]) == ("▁", "█")


def test_a_flat_course_an_empty_one_and_one_with_gaps_are_drawn() -> None:
    assert sparkline([2.0, 2.0], 5) == "▁▁"
    assert sparkline([], 5) == ""
    assert sparkline([1.0, math.nan, 2.0], 5) == "▁█"
    assert sparkline([1.0], 0) == ""


def test_without_block_characters_the_course_is_ascii() -> None:
    assert sparkline([1.0, 2.0, 3.0], 5, ascii_only=True).isascii()


def test_json_loses_nothing_where_the_encoding_of_the_output_has_not_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "iso-8859-1", "replace"))
    assert text.to_json({"title": "Dvořák"}) == '{"title": "Dvo\\u0159\\u00e1k"}'
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert text.to_json({"title": "Dvořák"}) == '{"title": "Dvořák"}'
