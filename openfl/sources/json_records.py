"""The records of a JSON file, one after another, without the file in memory.

An export is an array of objects, or an object with such arrays in it; or an object a line. `split`
cuts it into the bytes of its records; what is decoded of each is said by a msgspec struct, strictly
and without the fields that nobody asked for.

Why not a library for JSON as a stream: ijson, the one that is well kept, builds the path to every
value, which takes time and memory in the square of the nesting. 80 KB of brackets took 13 seconds
and 3.9 GB (ijson 3.6.0, its C backend). What is needed of it is the end of each record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from openfl.core.errors import DataError
from openfl.sources.limits import MAX_DEPTH, MAX_RECORD_BYTES

_BLOCK = 1 << 18
# Everything up to the next bracket that is not within a string. Possessive, so that nothing is
# looked at twice, however a string ends.
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*+:\s*+\Z', re.DOTALL)
_OPENING = b"[{"
_CLOSING = {ord("["): ord("]"), ord("{"): ord("}")}


def split(stream: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of each object in the array that the file is: key "". When it is an object: of
    each object in an array of it, with the key of that array. Other values are passed over.

    DataError: it ends in the middle, is no JSON as far as its brackets go, or asks for more than
    `limits` allow.
    """
    buffer = b""
    at = 0
    done = False  # with reading
    open_brackets: list[int] = []
    began: int | None = None  # where the record begins in the buffer
    key = ""
    records_at = 0  # the depth at which records begin; 0: not known yet
    count = 0
    text_from = 0  # where the text between the last bracket and the next begins
    while True:
        match = _TO_BRACKET.match(buffer, at)
        assert match is not None
        end = match.end()
        if end == len(buffer) or buffer[end] == 0x22:  # a string that goes on
            if done:
                break
            keep = began if began is not None else text_from
            if len(buffer) - keep > MAX_RECORD_BYTES:
                raise DataError(f"{name}: record {count + 1}: larger than 1 MiB; not an export")
            block = stream.read(_BLOCK)
            done = not block
            buffer = buffer[keep:] + block
            text_from -= keep
            at = max(at - keep, 0)
            if began is not None:
                began = 0
            continue
        bracket = buffer[end]
        if bracket in _OPENING:
            open_brackets.append(bracket)
            depth = len(open_brackets)
            if depth == 1:
                records_at = 2 if bracket == 0x5B else 3
                if buffer[:end].strip():
                    raise DataError(f"{name}: not JSON: it begins with {_shown(buffer)}")
            elif depth == 2 and records_at == 3:
                named = _KEY.search(buffer[text_from:end])
                key = named[1].decode(errors="replace") if named and bracket == 0x5B else ""
            elif depth > MAX_DEPTH:
                raise DataError(f"{name}: record {count + 1}: nested too deeply; not an export")
            wanted = depth == records_at and bracket == 0x7B and bool(key or records_at == 2)
            if wanted and open_brackets[-2] == 0x5B:
                began = end
        else:
            if not open_brackets or _CLOSING[open_brackets.pop()] != bracket:
                raise DataError(f"{name}: not JSON: after record {count} a bracket is out of place")
            if began is not None and len(open_brackets) == records_at - 1:
                count += 1
                yield key, buffer[began : end + 1]
                began = None
            if not open_brackets:
                rest = buffer[end + 1 :]
                while rest or not done:
                    if rest.strip():
                        raise DataError(f"{name}: not JSON: something follows its end")
                    rest = stream.read(_BLOCK)
                    done = not rest
                return
        at = text_from = end + 1
    where = f"in the middle of it, after record {count:,}" if count else "in the middle"
    raise DataError(f"{name}: cut off: the file ends {where}; download or copy it again")


def lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line that is not blank. DataError: one is beyond 1 MiB."""
    number = 0
    while line := stream.readline(MAX_RECORD_BYTES + 1):
        number += 1
        if len(line) > MAX_RECORD_BYTES:
            raise DataError(f"{name}:{number}: a line larger than 1 MiB; not an export")
        if not line.isspace():
            yield number, line


def _shown(buffer: bytes) -> str:
    return repr(buffer[:20].decode("utf-8", errors="replace"))
