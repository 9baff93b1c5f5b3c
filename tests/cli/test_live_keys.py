"""Bytes of a terminal become keys, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.names import is_unseen
from openfl_cli.live.keys import MAX_PASTE, Pasted, parse

KEYS = {
    b"q": "q",
    b"?": "?",
    b"\xc3\xa9": "é",
    b"\r": "enter",
    b"\n": "enter",
    b"\t": "tab",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\x15": "clear",
    b"\x0c": "redraw",
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[1;5A": "up",
    b"\x1b[Z": "backtab",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b[7~": "home",
    b"\x1b[8~": "end",
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
    b"\x02": "pageup",
    b"\x06": "pagedown",
    b"\x1b[<64;10;5M": "wheel-up",
    b"\x1b[<65;10;5M": "wheel-down",
    b"\x1b[<68;10;5M": "wheel-up",  # with Shift
    b"\x1b[M`!!": "wheel-up",
    b"\x1b[Ma!!": "wheel-down",
}


@pytest.mark.parametrize(("typed", "key"), KEYS.items(), ids=[repr(typed) for typed in KEYS])
def test_a_key_is_known_whole_and_in_pieces(typed: bytes, key: str) -> None:
    assert parse(typed) == ((key,), b"")
    assert parse(typed + b"x") == ((key, "x"), b"")
    for at in range(1, len(typed)):
        keys, rest = parse(typed[:at])
        assert keys == ()
        assert parse(rest + typed[at:]) == ((key,), b"")


@pytest.mark.parametrize(
    "typed",
    [
        b"\x00",
        b"\x01",
        b"\xff\xfe",
        b"\xc3(",  # half a character, then another; the other is a key
        b"\xe2\x80\xae",  # turns the direction of writing
        b"\x1b[<0;1;1M",  # a click
        b"\x1b[<64;1;1m",  # a button let go
        b"\x1b[<;1;1M",
        b"\x1b[99~",
        b"\x1b[?1;2c",
        b"\x1b[>0;276;0c",
        b"\x1b[24;80R",
        b"\x1b[200",
        b"\x1b[[A",  # F1 of the Linux console
        b"\x1b]0;title\x07",
        b"\x1b]52;c;aGk=\x1b\\",
        b"\x1bP1$r0m\x1b\\",
        b"\x1bOx",
        b"\x1b[" + b"1;" * 100 + b"A",
        b"\x1b[1\x01",
    ],
    ids=repr,
)
def test_what_is_no_key_is_dropped_and_hides_none_that_follows(typed: bytes) -> None:
    keys, rest = parse(typed, ended=True)
    assert rest == b""
    assert set(keys) <= {"("}
    assert parse(typed + b"", ended=True)[0] + parse(b"q")[0] == (*keys, "q")


def test_esc_is_a_key_when_nothing_follows() -> None:
    assert parse(b"\x1b") == ((), b"\x1b")
    assert parse(b"\x1b", ended=True) == (("esc",), b"")
    assert parse(b"\x1bq") == (("esc", "q"), b"")
    assert parse(b"\x1b\x1b[A") == (("esc", "up"), b"")


def test_what_is_pasted_is_one_key_and_no_command() -> None:
    keys, rest = parse(b"a\x1b[200~q\ny\x1b[A jazz\x1b[201~b")
    assert keys == ("a", "qy[A jazz", "b")
    assert [type(key) for key in keys] == [str, Pasted, str]
    assert rest == b""


def test_a_paste_without_an_end_is_bounded_and_esc_ends_it() -> None:
    rest = b"\x1b[200~"
    for _ in range(100):
        keys, rest = parse(rest + b"y" * 1000, ended=True)
        assert keys == ()
        assert len(rest) <= MAX_PASTE
    assert parse(rest + b"\x1b", ended=True) == (("esc",), b"")


def test_an_answer_of_the_terminal_without_an_end_is_swallowed_and_bounded() -> None:
    rest = b"\x1b]52;c;"
    for _ in range(100):
        keys, rest = parse(rest + b"q" * 1000)
        assert keys == ()
        assert len(rest) <= MAX_PASTE
    assert parse(rest + b"\x07k") == (("k",), b"")


@given(st.lists(st.binary(max_size=40), max_size=20), st.booleans())
def test_no_bytes_do_harm(pieces: list[bytes], ended: bool) -> None:
    rest = b""
    for piece in pieces:
        keys, rest = parse(rest + piece, ended)
        assert len(rest) <= MAX_PASTE
        for key in keys:
            assert not any(is_unseen(character) for character in key)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_it_does_not_matter_how_the_bytes_come(data: bytes, at: int) -> None:
    whole, rest = parse(data)
    first, waiting = parse(data[:at])
    second, rest_of_both = parse(waiting + data[at:])
    assert (first + second, rest_of_both) == (whole, rest)
