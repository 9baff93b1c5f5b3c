"""JSON records of a reading in the type that its source wants, with what does not fit left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from openfl.core.errors import DataError
from openfl.sources.json_records import lines, split
from openfl.sources.source import Reading

T = TypeVar("T", bound=msgspec.Struct)

WRONG_TYPE = "a field of another type than it should have"
NO_JSON = "not JSON"


def typed_records(
    reading: Reading, form: type[T], wanted: str = ""
) -> Iterator[tuple[int, str, T]]:
    """(number from 1, key, record) of the records of a JSON file under the key `wanted` ("": those
    of the array that the file is). DataError as `json_records.split`, and when there are none."""
    decode = msgspec.json.Decoder(form).decode
    number = used = 0
    with reading.open_utf8() as stream:
        for key, data in split(stream, reading.part.name):
            if key != wanted:
                continue
            number += 1
            record = _decoded(reading, decode, data, number)
            if record is not None:
                used += 1
                yield number, key, record
    if number and not used:
        raise DataError(
            f"{reading.part.name}: none of its {number:,} records has the form it should"
        )


def typed_lines(reading: Reading, form: type[T]) -> Iterator[tuple[int, T]]:
    """(line, record) of a file with a JSON object a line. DataError when no line is one."""
    decode = msgspec.json.Decoder(form).decode
    seen = used = 0
    with reading.open_utf8() as stream:
        for number, line in lines(stream, reading.part.name):
            seen += 1
            record = _decoded(reading, decode, line, number)
            if record is not None:
                used += 1
                yield number, record
    if seen and not used:
        raise DataError(f"{reading.part.name}: none of its {seen:,} lines has the form it should")


def _decoded(reading: Reading, decode: object, data: bytes, place: int) -> T | None:
    try:
        record: T = decode(data)  # type: ignore[operator]
    except msgspec.ValidationError:
        reading.drop(WRONG_TYPE, place)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        reading.drop(NO_JSON, place)
    else:
        return record
    return None
