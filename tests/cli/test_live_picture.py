"""The live view drawn at four sizes, in every state, and whatever a node may hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cli_fakes import GROUP, OTHER_GROUP, PEER_IDS, T0, make_event, make_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from syrupy.assertion import SnapshotAssertion

from openfl.core.telemetry import (
    DecisionView,
    GroupView,
    ItemsView,
    NodeEvent,
    NodeSnapshot,
    Notice,
    SwitchingView,
)
from openfl_cli.live.news import News
from openfl_cli.live.picture import Picture, Scene, Whole, draw
from openfl_cli.live.state import Question, ViewState, press

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
TRIED = replace(OTHER_GROUP, gain=0.042, gain_error=0.011, tried_rounds_ago=3)
UNFIT = replace(
    OTHER_GROUP,
    id="cd" * 16,
    name="films",
    members=2,
    fit_median=None,
    compatible=False,
    reason="its ratings go from 0 to 100",
)
GROUPS = (GROUP, TRIED, UNFIT)
MANY_ADDRESSES = (
    f"/ip4/192.0.2.7/tcp/41001/p2p/{PEER_IDS[0]}",
    f"/ip6/2001:db8:85a3::8a2e:370:7334/tcp/41001/p2p/{PEER_IDS[0]}",
)
SWITCHING = SwitchingView(
    auto=True,
    moves=1,
    why="stayed in music: jazz (9 members) is 4.2 % worse here",
    decisions=(
        DecisionView(T0 + 20, "move", "moved from films to music: 6.1 % better"),
        DecisionView(T0 + 80, "stay", "stayed in music: jazz (9 members) is 4.2 % worse here"),
    ),
)
SHOT = make_snapshot(
    members=12,
    events=30,
    multiaddrs=MANY_ADDRESSES,
    faults={"identify-failed": 3, "gossip-rate": 1},
    switching=SWITCHING,
    items=ItemsView("songs", 300, 120, 301, named=290),
)
SCENE = Scene(SHOT, GROUPS, News(1200.0, 34_500.0, "a peer left while it introduced itself"))
STATES = {
    "main": ViewState(),
    "members": ViewState(focus="members", zoomed=True, sorts={"members": 1}),
    "events": ViewState(focus="events", zoomed=True, at={"events": 4}),
    "groups": ViewState(focus="groups", zoomed=True, at={"groups": 1}),
    "traffic": ViewState(focus="traffic", zoomed=True),
    "help": ViewState(over="help"),
    "why": ViewState(over="why"),
    "address": ViewState(over="address"),
    "filter": ViewState(typing="", filters={"members": "00"}),
    "question": ViewState(
        focus="groups",
        zoomed=True,
        question=Question("switch", "Leave music and switch to jazz? y/n", "ab", "jazz"),
    ),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Wall-clock times in the pictures do not depend on where the tests run."""
    import time

    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def lines_of(picture: Picture, width: int) -> list[str]:
    """As a terminal shows it: what is whole goes on in the next lines."""
    lines: list[str] = []
    rest = ""
    for line in picture.lines:
        text = rest if line is None else line.text if isinstance(line, Whole) else line.plain
        lines.append(text[:width].rstrip())
        rest = text[width:] if not isinstance(line, type(picture.lines[0])) else ""
    return lines


def screen(
    width: int,
    height: int,
    state: ViewState | None = None,
    scene: Scene = SCENE,
    ascii_only: bool = False,
) -> str:
    picture = draw(scene, state or ViewState(), width, height, ascii_only)
    assert len(picture.lines) == height
    return "\n".join(lines_of(picture, width))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize(("width", "height"), SIZES, ids=[f"{w}x{h}" for w, h in SIZES])
def test_the_view(width: int, height: int, state: ViewState, snapshot: SnapshotAssertion) -> None:
    assert screen(width, height, state) == snapshot


@pytest.mark.parametrize(("width", "height"), [(30, 8), (59, 20), (60, 19), (5, 1), (1, 1)])
def test_too_small_a_screen_says_how_large_it_has_to_be(width: int, height: int) -> None:
    for state in STATES.values():
        picture = draw(SCENE, state, width, height, False)
        assert len(picture.lines) == height
        assert max(cell_len(line) for line in lines_of(picture, 999)) <= width
        assert picture.sight.small
    if width >= 30:
        assert "too small: 60x20 at least" in screen(width, height)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("members", [1, 4, 400])
def test_what_matters_most_is_seen_at_every_size(width: int, height: int, members: int) -> None:
    shot = make_snapshot(
        members=min(members, len(PEER_IDS)),
        events=50,
        multiaddrs=MANY_ADDRESSES,
        notices=tuple(Notice("waiting", f"something is wrong, {n}", {}) for n in range(5)),
    )
    seen = screen(width, height, scene=Scene(shot, GROUPS))
    for text in (
        *("0.8123 together", "0.9011 alone", "-9.9 %", "course", "this node"),
        *("something is wrong, 0", "members", "round 49: RMSE 0.8049", "3 groups"),
        *("in the mesh", "address /ip4/192.0.2.7/tcp/41001/p2p/12D3…6QR000", "q quit"),
    ):
        if text != "members" or members > 1:
            assert text in seen, text
    assert ("w: " in seen) is (height < 30), "what else is wrong is one key away"


def test_a_name_a_reason_and_an_event_cannot_steer_the_terminal() -> None:
    nasty = "\x1b[2J\x1b]52;c;aGk=\x07\u202e[bold red]big[/]\nsecond"
    shot = replace(
        SHOT,
        group_name=nasty,
        events=(NodeEvent(T0, "warning", "round", nasty, {}),),
        notices=(Notice("waiting", nasty, {}),),
        faults={f"penalized-{nasty}": 1},
        switching=SwitchingView(why=nasty, decisions=(DecisionView(T0 + 90, "move", nasty),)),
        members=tuple(replace(m, left_out=nasty) for m in SHOT.members),
        peers=tuple(replace(p, groups=(nasty,)) for p in SHOT.peers),
        phase=nasty,
        metric=nasty,
        multiaddrs=(f"/dns4/{nasty}/tcp/1/p2p/{nasty}",),
    )
    group = replace(UNFIT, name=nasty, reason=nasty, id=nasty)
    scene = Scene(shot, (GROUP, replace(TRIED, name=nasty), group), News(survived=""))
    for state in STATES.values():
        seen = screen(120, 40, state, scene)
        assert not any(ord(character) < 32 for character in seen.replace("\n", ""))
        assert "\u202e" not in seen
    asked = ViewState(focus="groups", zoomed=True, at={"groups": 1})
    asked, _ = press(asked, "enter", draw(scene, asked, 80, 24, False).sight)
    assert asked.question is not None
    assert "\x1b" not in screen(80, 24, asked, scene)


@given(
    width=st.integers(1, 220),
    height=st.integers(1, 70),
    members=st.integers(0, 40),
    events=st.integers(0, 50),
    groups=st.integers(0, 9),
    notices=st.integers(0, 9),
    state=st.sampled_from([*STATES]),
    ascii_only=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_no_line_is_longer_than_the_screen_and_none_is_missing(
    width: int,
    height: int,
    members: int,
    events: int,
    groups: int,
    notices: int,
    state: str,
    ascii_only: bool,
) -> None:
    shot = make_snapshot(
        members=members,
        events=events,
        notices=tuple(Notice("waiting", "wrong " * 30, {}) for _ in range(notices)),
        history=(1.0, 0.9),
    )
    scene = Scene(shot, tuple(replace(OTHER_GROUP, id=f"{n:032x}") for n in range(groups)))
    picture = draw(scene, STATES[state], width, height, ascii_only)
    assert len(picture.lines) == height
    rows = 0
    for line in picture.lines:
        if isinstance(line, Whole):
            rows = -(-cell_len(line.text) // width)
        elif line is None:
            assert rows > 1, "a row that goes on stands below one that does"
            rows -= 1
        else:
            assert cell_len(line.plain) <= width
            assert "\n" not in line.plain
    if ascii_only and width >= 60 and height >= 20 and state == "main":
        assert "─" not in "".join(lines_of(picture, width))


def at(picture: Picture, place: int) -> str:
    return lines_of(picture, 200)[place]


def rows_below(seen: str, title: str, count: int) -> list[str]:
    lines = seen.splitlines()
    (place,) = (n for n, line in enumerate(lines) if title in line)
    return lines[place + 1 : place + 1 + count]


def test_events_follow_the_newest_until_they_are_scrolled() -> None:
    newest = rows_below(screen(80, 24, ViewState(focus="events")), "30 events", 20)
    assert any("round 29" in line for line in newest)
    back = ViewState(focus="events", zoomed=True, at={"events": 10})
    assert "round 19" in screen(80, 24, back)
    assert "round 20" not in screen(80, 24, back)
    first = ViewState(focus="events", zoomed=True, sorts={"events": 1})
    assert "round 29" in rows_below(screen(80, 24, first), "30 events", 1)[0]


def test_events_worst_first_begin_with_errors() -> None:
    events = (make_event(1), make_event(2, "error"), make_event(3, "warning"), make_event(4))
    scene = Scene(replace(SHOT, events=events), GROUPS)
    state = ViewState(focus="events", zoomed=True, sorts={"events": 2})
    seen = rows_below(screen(80, 24, state, scene), "4 events", 4)
    assert [line[9:].split(":")[0] for line in seen] == ["error", "warning", "round 4", "round 1"]


@pytest.mark.parametrize(
    ("sort", "first"),
    [(0, "QR001"), (1, "QR002"), (2, "QR001"), (3, "QR011"), (4, "QR001")],
)
def test_members_are_sorted_behind_this_node(sort: int, first: str) -> None:
    state = ViewState(focus="members", zoomed=True, sorts={"members": sort})
    rows = rows_below(screen(80, 24, state), "12 members", 3)
    assert "this node" in rows[1]
    assert rows[2].startswith(f"12D3…6{first}")


def test_groups_found_better_come_before_those_not_tried_and_those_found_worse() -> None:
    def group(name: str, gain: float | None, members: int = 5) -> GroupView:
        return replace(
            OTHER_GROUP, id=name * 16, name=name, gain=gain, gain_error=0.01, members=members
        )

    groups = (
        *(group("ee", -0.1), group("aa", 0.01), group("cc", None, 9), group("dd", None, 2)),
        *(group("bb", 0.2), GROUP, UNFIT),
    )
    state = ViewState(focus="groups", zoomed=True)
    seen = rows_below(screen(80, 24, state, Scene(SHOT, groups)), "7 groups", 8)
    names = [line[3:].split()[0] for line in seen[1:]]
    assert names == ["music", "bb", "aa", "cc", "dd", "ee", "films"]


def test_the_chosen_group_is_in_sight_and_marked_without_colour() -> None:
    groups = tuple(replace(OTHER_GROUP, id=f"{n:032x}", name=f"g{n:02d}") for n in range(40))
    for place in (0, 7, 39):
        state = ViewState(focus="groups", zoomed=True, at={"groups": place})
        picture = draw(Scene(SHOT, groups), state, 80, 24, False)
        marked = [line for line in lines_of(picture, 80) if line.startswith("▸  g")]
        assert [line.split()[1] for line in marked] == [picture.sight.groups[place].name]


def test_a_filter_hides_rows_of_its_pane_alone() -> None:
    state = ViewState(filters={"members": "qr003", "events": "round 7"})
    seen = screen(120, 40, state)
    assert "1 of 12 members" in seen
    assert "1 of 30 events" in seen
    assert "11 peers" in seen


def test_what_can_be_scrolled_is_known_to_the_keys() -> None:
    picture = draw(SCENE, ViewState(), 80, 24, False)
    sight = picture.sight
    assert sight.most["members"] > 0
    assert sight.most["groups"] == 2
    assert [group.name for group in sight.groups] == ["music", "jazz", "films"]
    assert (sight.others, sight.ends_node) == (11, True)
    assert draw(SCENE, ViewState(over="help"), 80, 24, False).sight.most == {"help": 0}
    assert draw(SCENE, ViewState(over="help"), 60, 20, False).sight.most["help"] > 0
    assert not sight.small


def test_a_node_that_has_nothing_yet_is_drawn() -> None:
    bare = NodeSnapshot.from_plain(
        replace(
            make_snapshot(members=0, events=0),
            multiaddrs=(),
            group_name="",
            phase="starting",
            validation=None,
            alone=None,
            history=(),
            metric="",
            round=0,
            rounds=0,
        ).to_plain()
    )
    seen = screen(60, 20, scene=Scene(bare))
    for text in ("opening the network", "nothing is measured yet", "no round is over yet"):
        assert text in seen
    assert "address" not in seen
    for state in STATES.values():
        screen(60, 20, state, Scene(bare))


def test_an_address_is_one_text_so_that_it_is_copied_unbroken() -> None:
    picture = draw(SCENE, ViewState(over="address"), 60, 20, False)
    whole = [line.text for line in picture.lines if isinstance(line, Whole)]
    assert whole == [*MANY_ADDRESSES]
    many = replace(SHOT, multiaddrs=MANY_ADDRESSES * 9)
    picture = draw(Scene(many), ViewState(over="address"), 60, 20, False)
    assert picture.lines[-2] is None or not isinstance(picture.lines[-2], Whole)
    for place, line in enumerate(picture.lines):
        if isinstance(line, Whole):
            rows = -(-len(line.text) // 60)
            assert list(picture.lines[place + 1 : place + rows]) == [None] * (rows - 1)


def test_a_held_picture_says_so_and_how_to_go_on() -> None:
    seen = screen(80, 24, ViewState(paused=True))
    assert seen.splitlines()[0].endswith("paused")
    assert "p go on" in seen


def test_top_leaves_where_start_quits() -> None:
    seen = screen(80, 24, scene=replace(SCENE, ends_node=False))
    assert "q leave" in seen
    assert "q         leave the view; the node goes on" in screen(
        80, 24, ViewState(over="help"), replace(SCENE, ends_node=False)
    )
