"""Lines are shared out among panes, and cells among columns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from openfl_cli.live.layout import (
    LEAST_ROWS,
    Column,
    Wanted,
    cut,
    in_columns,
    keys_that_fit,
    share,
)
from openfl_cli.live.state import PANES, Pane

HEADINGS = {"members": 1, "events": 0, "groups": 1, "traffic": 1}
rows_wanted = st.fixed_dictionaries({pane: st.integers(0, 60) for pane in PANES})


def wanted_of(rows: dict[Pane, int]) -> dict[Pane, Wanted]:
    return {pane: Wanted(count, HEADINGS[pane]) for pane, count in rows.items()}


def lines(rows: dict[Pane, int]) -> int:
    return sum(1 + count + (HEADINGS[pane] if count else 0) for pane, count in rows.items())


@given(rows=rows_wanted, room=st.integers(4, 80), focus=st.sampled_from(PANES))
def test_the_panes_fit_the_room_and_get_no_more_than_they_want(
    rows: dict[Pane, int], room: int, focus: Pane
) -> None:
    got = share(room, wanted_of(rows), focus)
    assert got.keys() == rows.keys()
    assert lines(got) <= room
    assert all(0 <= got[pane] <= rows[pane] for pane in PANES)


@given(rows=rows_wanted, focus=st.sampled_from(PANES))
def test_with_room_enough_nothing_is_left_out(rows: dict[Pane, int], focus: Pane) -> None:
    assert share(lines(rows), wanted_of(rows), focus) == rows


@given(rows=rows_wanted, focus=st.sampled_from(PANES))
def test_members_and_events_are_seen_on_the_smallest_screen(
    rows: dict[Pane, int], focus: Pane
) -> None:
    # Of 20 lines: 3 on top, one for what is wrong, the address and the keys.
    got = share(20 - 6, wanted_of(rows), focus)
    for pane in ("members", "events"):
        assert got[pane] >= min(rows[pane], LEAST_ROWS[pane])
    assert got[focus] >= min(rows[focus], 2)


def test_the_pane_that_has_the_keys_gets_most() -> None:
    many = wanted_of(dict.fromkeys(PANES, 50))
    for focus in PANES:
        got = share(40, many, focus)
        assert got[focus] == max(got.values())


def test_columns_are_as_wide_as_they_have_to_be_and_flexible_ones_give_way() -> None:
    columns = [Column("peer"), Column("rows", right=True), Column("why", flexible=True)]
    rows = [["a", "1", "short"], ["bbbbbb", "1,000", "a long reason"]]
    heading, shown = in_columns(columns, rows, 80)
    assert [heading, *shown] == [
        "peer     rows  why",
        "a           1  short",
        "bbbbbb  1,000  a long reason",
    ]
    _, narrow = in_columns(columns, rows, 22)
    assert narrow[1] == "bbbbbb  1,000  a long…"
    assert in_columns(columns, [], 80) == ("peer  rows  why", [])


@given(st.text(max_size=30), st.integers(0, 20))
def test_a_text_is_cut_to_cells_not_characters(text: str, cells: int) -> None:
    assert cell_len(cut(text, cells)) <= max(cells, 0) or cell_len(text) <= cells
    if cell_len(text) <= cells:
        assert cut(text, cells) == text


def test_wide_letters_take_two_cells() -> None:
    assert cut("音楽の集まり", 7) == "音楽の…"


def test_keys_that_do_not_fit_are_left_out_from_the_last_on() -> None:
    keys = [("q", "quit"), ("?", "help"), ("Tab", "pane")]
    assert keys_that_fit(keys, 80) == keys
    assert keys_that_fit(keys, len("q quit  ? help")) == keys[:2]
    assert keys_that_fit(keys, 3) == []
