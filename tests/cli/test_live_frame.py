"""Only what has changed is written, and a terminal shows it as meant."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from openfl_cli.live.frame import CLEAR, SYNC_BEGIN, SYNC_END, Painter, changes
from openfl_cli.live.news import NewsDesk
from openfl_cli.live.picture import Whole

from cli_fakes import T0, make_snapshot  # isort: skip


def painter(**options: object) -> Painter:
    console = Console(file=io.StringIO(), force_terminal=True, _environ={}, **options)  # type: ignore[arg-type]
    return Painter(console)


def test_a_picture_that_has_not_changed_writes_nothing() -> None:
    assert changes(("a", "b"), ("a", "b")) == ""


def test_a_changed_line_alone_is_written_where_it_stands() -> None:
    text = changes(("a", "b", "c"), ("a", "x", "c"))
    assert text == f"{SYNC_BEGIN}\x1b[2;1Hx{SYNC_END}"


def test_without_a_picture_before_the_screen_is_cleared_first() -> None:
    text = changes(None, ("a", None))
    assert text == f"{SYNC_BEGIN}{CLEAR}\x1b[1;1Ha{SYNC_END}"


def test_a_line_erases_what_stood_behind_it_unless_it_is_full() -> None:
    rows = painter(color_system=None).encode([Text("abc"), Text("abcde"), Text()], 5)
    assert rows == ("abc\x1b[K", "abcde", "\x1b[K")


def test_what_is_whole_takes_the_rows_below_it_along() -> None:
    rows = painter(color_system=None).encode([Whole("abcdefg"), None, Whole("abcdefghij")], 5)
    assert rows == ("abcdefg\x1b[K", None, "abcdefghij")


def test_colours_are_those_of_the_terminal() -> None:
    line = Text("x", "bold red")
    assert painter(color_system=None).encode([line], 5)[0] == "x\x1b[K"
    assert painter(color_system="standard").encode([line], 5)[0] == "\x1b[1;31mx\x1b[0m\x1b[K"
    plain = painter(color_system="standard", no_color=True).encode([line], 5)[0]
    assert plain == "\x1b[1mx\x1b[0m\x1b[K"


def test_rates_are_known_after_a_second_and_follow_the_last_ten() -> None:
    desk = NewsDesk()
    assert desk.heard(make_snapshot(time=T0, bytes_sent=0)).sent is None
    assert desk.heard(make_snapshot(time=T0 + 0.5, bytes_sent=100)).sent is None
    assert desk.heard(make_snapshot(time=T0 + 2, bytes_sent=400)).sent == 200
    for second in range(3, 40):
        news = desk.heard(make_snapshot(time=T0 + second, bytes_sent=400))
    assert news.sent == 0
    assert desk.heard(make_snapshot(time=T0 - 50, bytes_sent=500)).sent is None


def test_a_fault_is_told_for_a_minute_when_it_comes_and_those_from_before_are_not() -> None:
    desk = NewsDesk()
    assert desk.heard(make_snapshot(time=T0, faults={"dht-slow": 7})).survived == ""
    assert desk.heard(make_snapshot(time=T0 + 1, faults={"dht-slow": 7})).survived == ""
    both = {"dht-slow": 8, "identify-failed": 1}
    words = "a peer left while it introduced itself"
    assert desk.heard(make_snapshot(time=T0 + 2, faults=both)).survived == words
    assert desk.heard(make_snapshot(time=T0 + 60, faults=both)).survived == words
    assert desk.heard(make_snapshot(time=T0 + 63, faults=both)).survived == ""
