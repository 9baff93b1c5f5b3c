"""Bytes -> text: which encoding a file has, its lines, and names as they are kept."""

from __future__ import annotations

import codecs
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from openfl.core.errors import DataError
from openfl.core.names import is_unseen
from openfl.sources.limits import MAX_RECORD_BYTES

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GUESSED_AMONG = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "iso8859_2", "koi8_r"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
_SEEN_FIRST = 200
"""Bytes on each side of what is not UTF-8 that are enough to tell."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """name: a codec of Python; "" when the bytes are no text. guessed: nothing in the file says so,
    and another would decode it too."""

    name: str
    guessed: bool = False

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes can be taken as they are, but for a mark in front."""
        return self.name in ("utf-8", "utf-8-sig")


def encoding_of(data: bytes, whole: bool, given: str = "") -> Encoding:
    """The encoding of a file that begins with `data`. whole: these are all of it. given: what the
    owner says; DataError when Python knows no such codec."""
    if given:
        try:
            "".encode(given)  # a LookupError, too, when it is no encoding of text
            return Encoding(codecs.lookup(given).name)
        except LookupError:
            raise DataError(
                f'data.encoding = "{given}": no such encoding; write for example "utf-8", "cp1252"'
                ' or "utf-16"'
            ) from None
    for mark, name in _MARKS:
        if data.startswith(mark):
            return Encoding(name)
    if b"\0" in data:
        return Encoding(_without_mark(data))
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(data, final=whole)
        return Encoding("utf-8")
    except UnicodeDecodeError as error:
        return _guessed(data, error.start)


def _without_mark(data: bytes) -> str:
    """UTF-16 without a byte order mark, of text that is mostly Latin; "" when it is none."""
    even, odd = data[0::2], data[1::2]
    if odd.count(0) > 0.6 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.6 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return ""


def _guessed(data: bytes, start: int) -> Encoding:
    from charset_normalizer import from_bytes  # here: takes time to import, and is seldom needed

    # What tells encodings apart are the letters beyond ASCII, and the words around them.
    telling = data[max(0, start - _SEEN_FIRST) :][: 20 * _SEEN_FIRST]
    controls = sum(byte < 32 and byte not in b"\t\n\r\x1f" for byte in telling)
    if controls > len(telling) // 50:
        return Encoding("")
    matches = from_bytes(telling, cp_isolation=list(_GUESSED_AMONG))
    best = matches.best()
    if best is None:
        return Encoding("cp1252", guessed=True)
    # Of several code pages that make as good words of it, the western one is the usual one.
    as_good = (m for m in matches if m.chaos <= best.chaos and m.coherence >= best.coherence)
    western = any("cp1252" in match.could_be_from_charset for match in as_good)
    return Encoding("cp1252" if western else best.encoding, guessed=True)


def decoded_head(data: bytes, encoding: Encoding, whole: bool) -> str:
    """The text that `data`, the beginning of a file, decodes to; "" when it does not."""
    if not encoding.name:
        return ""
    decoder = codecs.getincrementaldecoder(encoding.name)(errors="replace")
    try:
        return decoder.decode(data, final=whole)
    except UnicodeError:
        return ""


def as_text(stream: BinaryIO, encoding: Encoding) -> io.TextIOWrapper:
    """The stream as text; lines end as they do in the file. Raises UnicodeError as it is read."""
    return io.TextIOWrapper(stream, encoding=encoding.name, errors="strict", newline="")


def as_utf8(stream: BinaryIO, encoding: Encoding) -> BinaryIO:
    """The stream as UTF-8 without a mark in front."""
    if encoding.name == "utf-8":
        return stream
    if encoding.name == "utf-8-sig":
        stream.read(3)
        return stream
    return cast(BinaryIO, io.BufferedReader(_Transcoded(stream, encoding.name)))


class _Transcoded(io.RawIOBase):
    """UTF-8 of a stream in another encoding."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._waiting and not self._ended:
            block = self._stream.read(1 << 16)
            self._ended = not block
            self._waiting = self._decoder.decode(block, final=self._ended).encode()
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def bounded_lines(stream: io.TextIOWrapper, name: str) -> Iterator[str]:
    """The lines, with their ends. DataError: one is longer than 1 MiB."""
    readline = stream.readline
    number = 0
    while line := readline(MAX_RECORD_BYTES):
        number += 1
        if len(line) >= MAX_RECORD_BYTES:
            raise DataError(f"{name}:{number}: a line longer than 1 MiB; not a table")
        yield line


def tidy(text: str) -> str:
    """A title, artist or id as it is kept: in normal form C, one space between words, and nothing
    that is not seen."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    text = unicodedata.normalize("NFC", text)
    text = "".join(c for c in text if c.isspace() or not is_unseen(c))
    return " ".join(text.split())


_MOJIBAKE = ("Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "Ã¡", "Ã³", "Ã\xad", "â€", "Ð¾", "Ð°", "\ufffd")


def looks_misread(text: str) -> bool:
    """Whether `text` seems to be UTF-8 that somebody decoded as something else, or text with
    letters lost."""
    return not text.isascii() and any(mark in text for mark in _MOJIBAKE)
