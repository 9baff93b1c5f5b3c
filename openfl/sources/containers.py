"""Paths -> the files in them: a file, a folder, a zip file as it was downloaded, a `.gz`.

Nothing is unpacked to disk under a name from the archive: members are read as streams. A zip file
within a zip file (as Apple sends them) is put into a temporary file without a name, which is gone
with this process; one within that is refused.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from openfl.core.errors import DataError
from openfl.core.files import open_named
from openfl.sources import limits

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
GZIP_MAGIC = b"\x1f\x8b"
_OTHER_ARCHIVES = (
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\xfd7zXZ\x00", "packed with xz"),
    (b"BZh", "packed with bzip2"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard"),
)
_EXCEL = (b"\xd0\xcf\x11\xe0",)


@dataclass(frozen=True)
class Part:
    """One file to look at. name: as shown, "export.zip/folder/file.json". size: in bytes, unpacked
    where that is known (of a `.gz`: packed). `stream` gives a new one of its bytes from the start,
    which ends with a DataError when more comes than `limits` allow."""

    name: str
    size: int
    stream: Callable[[], BinaryIO]


@dataclass
class Parts:
    """The files in some paths, and what is not looked into: name -> why."""

    parts: list[Part] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """DataError beyond `MAX_FILES`."""
        self.parts.append(part)
        if len(self.parts) > limits.MAX_FILES:
            raise DataError(
                f"{part.name}: more than {limits.MAX_FILES:,} files; name the ones to read"
            )


@contextmanager
def open_parts(paths: Sequence[Path]) -> Iterator[Parts]:
    """The files in `paths`, in order of name within each, readable within the `with`.

    DataError: a path cannot be read, or is an archive that nobody makes honestly.
    """
    with ExitStack() as stack:
        parts = Parts()
        for path in paths:
            if not path.exists():
                raise DataError(f"{path}: no such file or folder")
            if path.is_dir():
                _walk(path, stack, parts)
            else:
                _add_file(path, str(path), stack, parts)
        yield parts


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """What goes wrong while `name` is read, as a DataError."""
    try:
        yield
    except (zlib.error, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, struct.error) as error:
        raise DataError(
            f"{name}: damaged or cut off ({error}); download or copy it again"
        ) from error
    except UnicodeError as error:
        raise DataError(
            f"{name}: not text in the encoding it seems to have ({_decoding(error)}); say which it"
            ' has, for example data.encoding = "cp1252"'
        ) from error
    except (RuntimeError, NotImplementedError) as error:  # of zipfile: passwords, methods
        raise DataError(f"{name}: cannot be unpacked: {error}") from error
    except OSError as error:
        raise DataError(f"{name}: {error.strerror or error}") from error


def _decoding(error: UnicodeError) -> str:
    if isinstance(error, UnicodeDecodeError) and error.start < len(error.object):
        return f"byte 0x{error.object[error.start]:02x} in {error.encoding}"
    return str(error)


def _walk(folder: Path, stack: ExitStack, parts: Parts) -> None:
    def refuse(error: OSError) -> None:
        parts.left[str(error.filename)] = error.strerror or "cannot be read"

    base = len(folder.parts)
    for at, folders, files in os.walk(folder, onerror=refuse):
        deep = len(Path(at).parts) - base >= limits.MAX_FOLDER_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not _is_clutter(name))
        for name in sorted(files):
            path = Path(at, name)
            if _is_clutter(name):
                continue
            try:
                _add_file(path, str(path), stack, parts)
            except DataError as error:
                if isinstance(error.__cause__, OSError):  # a pipe, or not ours: others may do
                    parts.left[str(path)] = str(error).removeprefix(f"{path}: ")
                else:
                    raise


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _add_file(path: Path, name: str, stack: ExitStack, parts: Parts) -> None:
    with told_of(name):
        stream = stack.enter_context(open_named(path))
        size = os.fstat(stream.fileno()).st_size
        magic = stream.read(8)
        if magic.startswith(ZIP_MAGIC):
            _add_zip(stream, name, stack, parts, may_nest=True)
            return
        stream.close()
    if magic.startswith(GZIP_MAGIC):
        parts.add(Part(name, size, lambda: _gunzipped(open_named(path), name)))
        return
    _refuse_other_archives(magic, name)
    parts.add(Part(name, size, lambda: open_named(path)))


def _refuse_other_archives(magic: bytes, name: str) -> None:
    for begin, what in _OTHER_ARCHIVES:
        if magic.startswith(begin):
            raise DataError(f"{name}: is {what}; unpack it first")
    if magic.startswith(_EXCEL):
        raise DataError(f"{name}: is a file of Excel; save it as CSV first")


# --- zip ------------------------------------------------------------------------------------------


def _add_zip(
    stream: BinaryIO, name: str, stack: ExitStack, parts: Parts, *, may_nest: bool
) -> None:
    _check_directory(stream, name)
    archive = stack.enter_context(zipfile.ZipFile(stream))
    for info in archive.infolist():
        shown = f"{name}/{info.filename}"
        _check_member(info, name)
        inside = Path(info.filename).parts
        if info.is_dir() or any(_is_clutter(part) for part in inside):
            continue
        if info.flag_bits & 0x1:
            raise DataError(f"{shown}: needs a password; unpack it first")
        with archive.open(info) as member:
            magic = member.read(8)
        if magic.startswith(ZIP_MAGIC) and not shown.lower().endswith((".xlsx", ".docx", ".epub")):
            if not may_nest:
                raise DataError(f"{shown}: a zip file in a zip file in a zip file; unpack it first")
            inner = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            _copy(archive, info, inner, shown)
            _add_zip(cast(BinaryIO, inner), shown, stack, parts, may_nest=False)
        elif magic.startswith(GZIP_MAGIC):
            parts.add(Part(shown, info.file_size, _opener(archive, info, shown, packed=True)))
        else:
            parts.add(Part(shown, info.file_size, _opener(archive, info, shown, packed=False)))


def _opener(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, packed: bool
) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        if info.file_size > limits.MAX_UNPACKED_BYTES:
            raise DataError(
                f"{name}: would unpack to {info.file_size:,} bytes, more than the"
                f" {limits.MAX_UNPACKED_BYTES:,} that are read; unpack it first if it is meant"
            )
        member = cast(BinaryIO, archive.open(info))
        return _gunzipped(member, name) if packed else member

    return opened


def _check_member(info: zipfile.ZipInfo, name: str) -> None:
    """DataError when no honest export has such a member."""
    inside = info.filename.replace("\\", "/").split("/")
    if ".." in inside or info.filename.startswith(("/", "\\")):
        raise DataError(
            f"{name}: has a member {info.filename[:100]!r}, which would lie outside of it: not read"
        )
    if info.file_size > limits.RATIO_FROM_BYTES and info.file_size > limits.MAX_RATIO * max(
        1, info.compress_size
    ):
        raise DataError(
            f"{name}/{info.filename[:100]}: would unpack from {info.compress_size:,} to"
            f" {info.file_size:,} bytes: a zip bomb, not read"
        )


def _check_directory(stream: BinaryIO, name: str) -> None:
    """DataError when the table of contents alone would fill the memory (all of it is read)."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - (1 << 16) - 98))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise DataError(f"{name}: damaged or cut off (no end of the zip file); download it again")
    (size,) = struct.unpack_from("<L", tail, at + 12)
    if size == 0xFFFFFFFF and (wide := tail.rfind(b"PK\x06\x06", 0, at)) >= 0:
        (size,) = struct.unpack_from("<Q", tail, wide + 40)
    if size > limits.MAX_DIRECTORY_BYTES:
        raise DataError(f"{name}: a table of contents of {size:,} bytes: not read")
    stream.seek(0)


def _copy(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, to: io.BufferedRandom, name: str
) -> None:
    if info.file_size > limits.MAX_INNER_BYTES:
        raise DataError(
            f"{name}: a zip file of {info.file_size:,} bytes within one; unpack it first"
        )
    with archive.open(info) as member:
        while block := member.read(1 << 20):
            to.write(block)
    to.seek(0)


# --- gzip -----------------------------------------------------------------------------------------


class _Gunzipped(io.RawIOBase):
    """What a gzip stream holds, as long as that is within the limits."""

    def __init__(self, packed: BinaryIO, name: str) -> None:
        super().__init__()
        self._packed = packed
        self._name = name
        self._stream = gzip.GzipFile(fileobj=packed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        self._count += len(block)
        packed = self._packed.tell() + (1 << 13)
        if self._count > limits.MAX_UNPACKED_BYTES or (
            self._count > limits.RATIO_FROM_BYTES and self._count > limits.MAX_RATIO * packed
        ):
            raise DataError(f"{self._name}: unpacks to far more than its size: not read")
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._packed.close()
        super().close()


def _gunzipped(packed: BinaryIO, name: str) -> BinaryIO:
    return io.BufferedReader(_Gunzipped(packed, name), buffer_size=1 << 16)


# --- counting what is read ------------------------------------------------------------------------


class _Counted(io.RawIOBase):
    def __init__(self, stream: BinaryIO, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._stream = stream
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        self._advance(len(block))
        return len(block)

    def close(self) -> None:
        if not self.closed:
            with suppress(OSError):
                self._stream.close()
        super().close()


def counted(stream: BinaryIO, advance: Callable[[int], None]) -> BinaryIO:
    """The stream; `advance` is called with the bytes of each block that is read."""
    return cast(BinaryIO, io.BufferedReader(_Counted(stream, advance), buffer_size=1 << 18))
