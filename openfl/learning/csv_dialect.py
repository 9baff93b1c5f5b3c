"""What a file that is not quite the expected CSV seems to be instead: other separators, another
encoding, a quote that is never closed. Only for messages; nothing is read differently for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from openfl.core.files import open_named

SEPARATORS = {"::": '"::"', ";": '";"', "\t": "tabs", "|": '"|"'}
"""What stands between fields where it is not commas -> what to call it."""
_LOOKED_AT = 100
"""Lines that a command to convert a file is checked on."""


def quoted(text: str, longest: int = 60) -> str:
    """A value in double quotes, on one line and not too long, as a message shows it."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


def bad_characters(text: str) -> str | None:
    """Why `text`, read with surrogateescape, cannot be part of a table; None when it can."""
    if "\0" in text:
        return "holds a NUL character (is the file UTF-16, or damaged?)"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        return (
            f"not UTF-8 text (byte 0x{byte:02x}; if the file is Latin-1:"
            " iconv -f LATIN1 -t UTF-8 FILE > NEW.csv)"
        )
    return None


def separator_hint(line: str, path: Path | None = None) -> str:
    """ "; fields are separated by ..." when the fields of `line` are, it seems, separated by
    something else than commas, with what to type when that would convert the file at `path`."""
    mark = separator_of(line)
    if mark is None:
        return ""
    hint = f"; fields must be separated by commas, not by {SEPARATORS[mark]}"
    if path is not None and not _has_commas(path):
        command = "tr '\\t' ," if mark == "\t" else f"sed 's/{mark}/,/g'"
        hint += f" ({command} < {path.name} > NEW.csv)"
    return hint


def separator_of(line: str) -> str | None:
    """The first of `SEPARATORS` that `line` holds, and more of it than commas."""
    return next((m for m in SEPARATORS if line.count(m) > line.count(",")), None)


def columns_found(path: Path, header: Sequence[str]) -> str:
    """What the header names, in brackets, and why that may not be what was meant."""
    text = ",".join(header)
    mark = separator_of(text)
    names = header if mark is None else text.split(mark)
    names = [name.strip().strip('"') for name in names]
    found = ", ".join(quoted(name) for name in names[:20]) + (", ..." if len(names) > 20 else "")
    hint = separator_hint(text, path)
    if "\0" in text:
        hint = "; the file seems to be UTF-16 text, it must be UTF-8"
        hint += f" (iconv -f UTF-16 -t UTF-8 {path.name} > NEW.csv)"
    elif not any(character.isalpha() for character in text):
        hint += "; the first line must name the columns"
    return f"(columns found: {found}){hint}"


def never_closed(lines: Sequence[str]) -> int | None:
    """The index of the line on which a quote opens that is open after the last; None when none."""
    opened: int | None = None
    for number, line in enumerate(lines):
        at, field_start = 0, opened is None
        while at < len(line):
            character = line[at]
            if opened is not None:
                if character == '"':
                    if line[at + 1 : at + 2] == '"':
                        at += 1
                    else:
                        opened, field_start = None, False
            elif character == '"' and field_start:
                opened = number
            else:
                field_start = character == "," or (field_start and character == " ")
            at += 1
    return opened


def _has_commas(path: Path) -> bool:
    """Whether exchanging separators would mix up what commas stand for now."""
    try:
        with open_named(path) as stream:
            return any(b"," in line for line in islice(stream, _LOOKED_AT))
    except OSError:
        return True
