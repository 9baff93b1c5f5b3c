"""The bytes that a terminal sends become keys: a pure function.

It is safe with whatever comes: what is not a key is dropped, answers of the terminal and sequences
without an end are swallowed within fixed bounds, and what was pasted is never taken for commands.
"""

from __future__ import annotations

import re

from openfl.core.names import is_unseen

MAX_SEQUENCE = 64
"""Bytes of an escape sequence; longer ones are no key."""
MAX_PASTE = 4096
"""Bytes of a paste that are kept while its end has not come."""
ESC = 0x1B
PASTE_BEGIN, PASTE_END = b"\x1b[200~", b"\x1b[201~"

Key = str
"""What was typed, one character, or the name of a key: `up`, `enter`, `wheel-down`..."""


class Pasted(str):
    """Text that was pasted: for a field, never a command."""

    __slots__ = ()


_CONTROLS = {
    0x02: "pageup",
    0x06: "pagedown",
    0x08: "backspace",
    0x09: "tab",
    0x0A: "enter",
    0x0C: "redraw",
    0x0D: "enter",
    0x15: "clear",
    0x7F: "backspace",
}
_FINALS = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "F": "end",
    "H": "home",
    "M": "enter",
    "Z": "backtab",
}
_NUMBERED = {1: "home", 4: "end", 5: "pageup", 6: "pagedown", 7: "home", 8: "end", 3: "delete"}
_WHEEL = {64: "wheel-up", 65: "wheel-down"}
_MODIFIERS = 4 | 8 | 16
_CSI = re.compile(rb"\x1b\[([0-?]*)([ -/]*)([@-~])")
_CSI_SO_FAR = re.compile(rb"\x1b\[[0-?]*[ -/]*\Z")
_STRINGS = b"]PX^_"
"""After ESC: the beginnings of answers that end with BEL or ESC backslash."""
_STRING_END = re.compile(rb"\x07|\x1b\\")


def parse(data: bytes, ended: bool = False) -> tuple[tuple[Key, ...], bytes]:
    """(the keys in `data`, the bytes at its end that may be the beginning of one; hand them in
    again in front of what comes). ended: nothing came for a while, so an ESC is the key Esc."""
    keys: list[Key] = []
    while data:
        found, length = _next(data, ended)
        if length == 0:
            return tuple(keys), _bounded(data)
        keys += found
        data = data[length:]
    return tuple(keys), b""


def _next(data: bytes, ended: bool) -> tuple[tuple[Key, ...], int]:
    """(keys, bytes that they take) of the first key; 0 bytes: more has to come."""
    first = data[0]
    if first == ESC:
        return _escape(data, ended)
    if first < 0x20 or first == 0x7F:
        name = _CONTROLS.get(first)
        return ((name,) if name else ()), 1
    return _character(data, ended)


def _character(data: bytes, ended: bool) -> tuple[tuple[Key, ...], int]:
    first = data[0]
    length = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if len(data) < length and not ended and _may_go_on(data):
        return (), 0
    try:
        text = data[:length].decode()
    except UnicodeDecodeError:
        return (), 1
    return (() if is_unseen(text) else (text,)), length


def _may_go_on(data: bytes) -> bool:
    """Whether these bytes begin a character of UTF-8."""
    return data[0] >= 0xC2 and all(0x80 <= byte < 0xC0 for byte in data[1:])


def _escape(data: bytes, ended: bool) -> tuple[tuple[Key, ...], int]:
    if len(data) == 1:
        return (("esc",), 1) if ended else ((), 0)
    kind = data[1]
    if kind == ord("["):
        return _csi(data, ended)
    if kind == ord("O"):
        if len(data) < 3:
            return (("esc",), 2) if ended else ((), 0)
        return _named(_FINALS.get(chr(data[2]))), 3
    if kind in _STRINGS:
        end = _STRING_END.search(data, 2)
        if end is not None:
            return (), end.end()
        return ((), len(data)) if ended else ((), 0)
    return ("esc",), 1  # what follows is a key of its own


def _csi(data: bytes, ended: bool) -> tuple[tuple[Key, ...], int]:
    if data.startswith(PASTE_BEGIN):
        return _paste(data, ended)
    match = _CSI.match(data)
    if match is None:
        if _CSI_SO_FAR.match(data) and len(data) <= MAX_SEQUENCE:
            return ((), len(data)) if ended else ((), 0)
        # Not a sequence: what is in front of the byte that makes it none is dropped.
        bad = re.match(rb"\x1b\[[ -?]*", data)
        return (), bad.end() if bad is not None else 2
    if match.end() > MAX_SEQUENCE:
        return (), match.end()
    parameters, final = match[1], chr(match[3][0])
    if final == "[" and not parameters:  # function keys of the Linux console
        return ((), 0) if len(data) == 3 and not ended else ((), min(4, len(data)))
    if final == "M" and not parameters:  # the mouse, of terminals that know no other form
        if len(data) < 6:
            return ((), len(data)) if ended else ((), 0)
        return _named(_WHEEL.get(data[3] - 32 & ~_MODIFIERS)), 6
    if final in "Mm" and parameters.startswith(b"<"):
        button = _number(parameters[1:])
        wheel = None if button is None else _WHEEL.get(button & ~_MODIFIERS)
        return _named(wheel if final == "M" else None), match.end()
    if match[2] or parameters[:1] in (b"<", b"=", b">", b"?"):
        return (), match.end()
    if final == "~":
        return _named(_NUMBERED.get(_number(parameters) or 0)), match.end()
    return _named(_FINALS.get(final) if final != "M" else None), match.end()


def _paste(data: bytes, ended: bool) -> tuple[tuple[Key, ...], int]:
    end = data.find(PASTE_END, len(PASTE_BEGIN))
    if end >= 0:
        text = data[len(PASTE_BEGIN) : end][-MAX_PASTE:].decode(errors="replace")
        shown = "".join(character for character in text if not is_unseen(character))
        return (Pasted(shown),), end + len(PASTE_END)
    if ended and data.endswith(b"\x1b"):
        return ("esc",), len(data)  # its end got lost: Esc goes on
    return (), 0


def _named(name: str | None) -> tuple[Key, ...]:
    return (name,) if name else ()


def _number(parameters: bytes) -> int | None:
    """The first of the numbers."""
    match = re.match(rb"\d{1,6}", parameters)
    return None if match is None else int(match[0])


def _bounded(data: bytes) -> bytes:
    """What has to wait, with the middle of what has no end yet left out."""
    if data.startswith(PASTE_BEGIN) and len(data) > MAX_PASTE:
        return PASTE_BEGIN + data[-MAX_PASTE + len(PASTE_BEGIN) :]
    if len(data) > MAX_PASTE:
        return data[:2] + data[-1:]
    return data
