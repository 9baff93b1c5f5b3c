"""What each key does, by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cli_fakes import GROUP, OTHER_GROUP

from openfl_cli.live.keys import Pasted
from openfl_cli.live.state import PANES, SORTS, Order, Question, Sight, ViewState, press

UNFIT = replace(OTHER_GROUP, id="cd" * 16, name="films", compatible=False, reason="other ratings")
SIGHT = Sight(
    most={"members": 20, "events": 30, "groups": 2, "traffic": 0, "help": 4, "why": 0},
    page=6,
    groups=(GROUP, OTHER_GROUP, UNFIT),
    group_name="music",
    others=3,
    addresses=("/ip4/192.0.2.7/tcp/1/p2p/a", "/ip4/192.0.2.8/tcp/1/p2p/a"),
)
ALONE = replace(SIGHT, others=0)
TOP = replace(SIGHT, ends_node=False)


def pressed(
    *keys: str, state: ViewState | None = None, sight: Sight = SIGHT
) -> tuple[ViewState, list[Order]]:
    state, orders = state or ViewState(), []
    for key in keys:
        state, order = press(state, key, sight)
        if order is not None:
            orders.append(order)
    return state, orders


def after(*keys: str, sight: Sight = SIGHT) -> ViewState:
    state, orders = pressed(*keys, sight=sight)
    assert orders == []
    return state


def test_tab_goes_through_the_panes_and_back() -> None:
    assert [after(*["tab"] * n).focus for n in range(5)] == [*PANES, "members"]
    assert after("backtab").focus == "traffic"
    assert after("right").focus == "events"


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["down"], 1),
        (["j", "j"], 2),
        (["down", "up"], 0),
        (["up"], 0),
        (["k"], 0),
        (["pagedown"], 5),
        (["pagedown", "pageup"], 0),
        (["wheel-down"], 3),
        (["wheel-down", "wheel-up"], 0),
        (["end"], 20),
        (["end", "down"], 20),
        (["end", "home"], 0),
    ],
)
def test_members_scroll(keys: list[str], place: int) -> None:
    assert after(*keys).at.get("members", 0) == place


@pytest.mark.parametrize(
    ("keys", "back"),
    [
        (["up"], 1),
        (["down"], 0),
        (["pageup"], 5),
        (["wheel-up"], 3),
        (["home"], 30),
        (["home", "end"], 0),
    ],
)
def test_events_scroll_back_from_the_newest(keys: list[str], back: int) -> None:
    assert after("tab", *keys).at["events"] == back


def test_events_with_the_newest_on_top_scroll_down() -> None:
    assert after("tab", "s", "down").at["events"] == 1
    assert after("tab", "s", "end").at["events"] == 30


def test_a_list_that_has_become_shorter_is_scrolled_from_its_end() -> None:
    state = replace(ViewState(), at={"members": 99})
    assert press(state, "up", SIGHT)[0].at["members"] == 19


def test_what_does_not_scroll_stays() -> None:
    assert after("tab", "tab", "tab", "down", "pagedown", "end").at["traffic"] == 0


def test_help_and_why_open_scroll_and_close() -> None:
    assert after("?").over == "help"
    assert after("?", "down", "down").at["help"] == 2
    assert after("?", "end").at["help"] == 4
    assert after("?", "?").over == ""
    assert after("?", "esc").over == ""
    assert after("w").over == "why"
    assert after("?", "w").over == "why"
    assert after("?", "down", "esc", "?").at["help"] == 0
    assert after("?", "tab").focus == "members"


def test_enter_shows_a_pane_alone_and_esc_all_again() -> None:
    assert after("enter").zoomed
    assert not after("enter", "enter").zoomed
    assert not after("enter", "esc").zoomed
    assert after("enter", "tab").focus == "events"


def test_p_holds_the_picture_and_lets_it_go() -> None:
    assert after("p").paused
    assert not after("p", "p").paused


@pytest.mark.parametrize("pane", PANES)
def test_s_sorts_the_pane_that_has_the_keys(pane: str) -> None:
    tabs = ["tab"] * PANES.index(pane)  # type: ignore[arg-type]
    sorts = SORTS[pane]  # type: ignore[index]
    state = after(*tabs, "down", "s")
    assert state.sort_of(pane) == sorts[1]  # type: ignore[arg-type]
    assert state.at[pane] == 0
    assert state.said == f"{pane}: {sorts[1]}"
    again = after(*tabs, *["s"] * len(sorts))
    assert again.sort_of(pane) == sorts[0]  # type: ignore[arg-type]
    assert press(state, "tab", SIGHT)[0].said == ""


def test_a_filter_is_typed_kept_and_given_up() -> None:
    state = after("/", "q", "1", "?", "backspace")
    assert state.typing is not None
    assert state.filter_of("members") == "q1"
    kept = press(state, "enter", SIGHT)[0]
    assert (kept.typing, kept.filter_of("members")) == (None, "q1")
    assert after("/", "q", "esc").filter_of("members") == ""
    changed, _ = pressed("/", "x", "esc", state=kept)
    assert changed.filter_of("members") == "q1"
    assert pressed("/", "clear", "enter", state=kept)[0].filter_of("members") == ""
    assert press(kept, "esc", SIGHT)[0].filter_of("members") == ""
    assert kept.filter_of("events") == ""
    both, _ = pressed("enter", "esc", state=kept)
    assert (both.filter_of("members"), both.zoomed) == ("", True)


def test_a_filter_is_bounded_and_takes_what_is_pasted() -> None:
    assert after("/", Pasted("jazz trio")).filter_of("members") == "jazz trio"
    assert len(after("/", *["x"] * 500).filter_of("members")) == 60
    assert after("/", "up", "tab", "f1").filter_of("members") == ""


def test_what_is_pasted_elsewhere_does_nothing() -> None:
    assert after(Pasted("q")) == ViewState()
    assert pressed("q", Pasted("y"))[1] == []


def test_g_shows_the_groups_and_has_them_asked_for() -> None:
    state, orders = pressed("g")
    assert (state.focus, state.zoomed) == ("groups", True)
    assert orders == [Order("groups")]


def in_groups(*keys: str, sight: Sight = SIGHT) -> tuple[ViewState, list[Order]]:
    state, orders = pressed("g", *keys, sight=sight)
    return state, orders[1:]


def test_a_group_is_tried() -> None:
    state, orders = in_groups("down", "enter")
    assert orders == []
    assert state.question is not None
    assert "jazz" in state.question.text
    for key in ("t", "enter"):
        answered, order = press(state, key, SIGHT)
        assert order == Order("try", OTHER_GROUP.id, "jazz")
        assert answered.question is None


def test_a_group_is_switched_to_after_a_question() -> None:
    state, orders = in_groups("down", "enter", "s")
    assert orders == []
    assert state.question is not None
    assert state.question.text == "Leave music and switch to jazz? y/n"
    assert press(state, "y", SIGHT)[1] == Order("switch", OTHER_GROUP.id, "jazz")
    for key in ("n", "esc", "q"):
        refused, order = press(state, key, SIGHT)
        assert (refused.question, order) == (None, None)
    for key in ("s", "x", "enter", "tab", "down"):
        assert press(state, key, SIGHT) == (state, None)


def test_the_group_that_is_asked_about_is_the_one_that_was_seen() -> None:
    state, _ = in_groups("down", "enter")
    moved = replace(SIGHT, groups=(GROUP, UNFIT, OTHER_GROUP))
    assert press(state, "t", moved)[1] == Order("try", OTHER_GROUP.id, "jazz")


def test_the_own_group_an_unfit_one_and_none_are_explained() -> None:
    assert in_groups("enter")[0].said == "this node is in music"
    assert in_groups("end", "enter")[0].said == "films: other ratings"
    assert in_groups("enter", sight=replace(SIGHT, groups=()))[0].said == "no group is listed"


def test_one_thing_at_a_time_is_done_with_groups() -> None:
    asked, _ = in_groups("down", "enter")
    busy = replace(asked, busy="trying jazz")
    for key in ("t", "s"):
        state, order = press(busy, key, SIGHT)
        assert order is None
        assert state.said == "trying jazz: one thing at a time"


def test_quitting_asks_only_when_others_use_the_node() -> None:
    state, orders = pressed("q")
    assert orders == []
    assert state.question is not None
    assert "3 other nodes use it" in state.question.text
    assert pressed("q", "y")[1] == [Order("stop")]
    assert pressed("q", "n") == (ViewState(), [])
    assert pressed("q", "q") == (ViewState(), [])
    assert pressed("q", sight=ALONE)[1] == [Order("stop")]


def test_q_closes_what_lies_over_the_panes_and_ends_nothing() -> None:
    for key in ("?", "w"):
        for sight in (SIGHT, ALONE, TOP):
            assert pressed(key, "q", sight=sight)[1] == []
            assert pressed(key, "q", sight=sight)[0].over == ""


def test_leaving_the_view_of_another_process_ends_no_node() -> None:
    assert pressed("q", sight=TOP)[1] == [Order("leave")]


@pytest.mark.parametrize("sight", [SIGHT, ALONE, TOP])
def test_ending_the_node_always_asks(sight: Sight) -> None:
    assert pressed("x", sight=sight)[1] == []
    assert pressed("x", "enter", sight=sight)[1] == []
    assert pressed("x", "y", sight=sight)[1] == [Order("stop")]


def test_c_copies_the_first_address_then_the_others() -> None:
    state, orders = pressed("c")
    assert state.over == "address"
    assert [order.text for order in orders] == [SIGHT.addresses[0]]
    assert [order.text for order in pressed("c", "c", "c")[1]] == [*SIGHT.addresses, orders[0].text]
    assert [order.text for order in pressed("c", "c", "esc", "c")[1]][-1] == SIGHT.addresses[0]
    assert after("c", sight=Sight()).said == "this node has no address yet"


def test_on_a_screen_that_is_too_small_no_key_asks_what_nobody_sees() -> None:
    for key in ("q", "x", "g", "?", "/", "y", "enter", "tab"):
        assert pressed(key, sight=replace(ALONE, small=True)) == (ViewState(), [])
    assert pressed("q", sight=replace(TOP, small=True))[1] == [Order("leave")]


def test_ctrl_l_draws_everything_anew_whatever_is_open() -> None:
    asked = ViewState(question=Question("stop", "End?"))
    for state in (ViewState(), ViewState(typing=""), ViewState(over="help"), asked):
        assert press(state, "redraw", SIGHT) == (state, Order("redraw"))


@pytest.mark.parametrize("key", ["z", "é", "delete", "1", "y", "t"])
def test_a_key_that_means_nothing_changes_nothing(key: str) -> None:
    for state in (ViewState(), ViewState(over="help"), ViewState(focus="groups", zoomed=True)):
        assert press(state, key, SIGHT) == (state, None)
