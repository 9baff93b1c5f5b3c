"""Files that are damaged, or that want to fill the memory, the disk or somebody else's folder."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import stat
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl.core.errors import DataError
from openfl.sources import json_records, limits
from openfl.sources.options import ReadOptions
from openfl.sources.reading import read_paths
from tests import exports
from tests.exports import PERSONAL, TABLES, Export, Listen

Make = Callable[[Path, int], Export]
MIB = 1 << 20


def refused(path: Path, *words: str) -> str:
    """The message; one clear line that names the file (or a list of files below a heading)."""
    with pytest.raises(DataError) as caught:
        read_paths([path])
    message = str(caught.value)
    assert message.startswith(str(path)) or str(path) in message
    assert "\n" not in message or message.splitlines()[0].endswith(":")
    for word in words:
        assert word in message
    return message


def problem_of(path: Path) -> str | None:
    """The message of the DataError; None when there is something in the file."""
    try:
        read_paths([path])
    except DataError as error:
        return str(error)
    return None


def members(export: Export) -> dict[str, bytes]:
    """The files of an export: of a zip file its members, of Apple's those of the inner one."""
    if export.path.is_dir():
        return {path.name: path.read_bytes() for path in export.path.iterdir()}
    if not zipfile.is_zipfile(export.path):
        return {export.path.name: export.path.read_bytes()}
    archive = zipfile.ZipFile(export.path)
    found = {name: archive.read(name) for name in archive.namelist()}
    for name, data in list(found.items()):
        if zipfile.is_zipfile(io.BytesIO(data)):
            inner = zipfile.ZipFile(io.BytesIO(data))
            found |= {inside: inner.read(inside) for inside in inner.namelist()}
            del found[name]
    return found


def main_file(make: Make, folder: Path) -> Path:
    """The largest file of an export that is read, by itself."""
    inside = folder / "made"
    inside.mkdir()
    export = make(inside, 3)
    best, most = b"", 0
    for data in members(export).values():
        path = folder / "alone"
        path.write_bytes(data)
        try:
            rows = len(read_paths([path]).collected)
        except DataError:
            continue
        if rows > most:
            best, most = data, rows
    assert most
    path = folder / "alone"
    path.write_bytes(best)
    return path


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_a_download_that_was_cut_off(make: Make, tmp_path: Path) -> None:
    path = main_file(make, tmp_path)
    whole = path.read_bytes()
    rows = len(read_paths([path]).collected)
    path.write_bytes(whole[: int(len(whole) * 0.7) + 1])
    if whole.lstrip()[:1] in (b"[", b"<"):
        refused(path, "cut off")
    else:  # a table or a file of lines: what is there is there, but for the last line
        assert 0 < len(read_paths([path]).collected) < rows


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_a_zip_file_that_was_cut_off(make: Make, tmp_path: Path) -> None:
    export = make(tmp_path, 3)
    path = exports.zipped(tmp_path / "x.zip", dict(members(export)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "damaged or cut off", "download it again")


@pytest.mark.parametrize("make", [*PERSONAL, *TABLES], ids=lambda make: make.__name__)
def test_any_bytes_exchanged_are_refused_or_read_and_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    """A DataError, or what is left; never another exception."""
    path = main_file(make, tmp_path)
    whole = path.read_bytes()
    rng = random.Random(14)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at : at + rng.randrange(1, 200)]
            else:
                data[at:at] = rng.choice(
                    (b'"', b"\0", b"[[[[", b"}}", b"\n", b",,,", b"\xff", b"<a>")
                )
        path.write_bytes(bytes(data))
        assert str(path) in (problem_of(path) or str(path))


@pytest.mark.parametrize("make", PERSONAL, ids=lambda make: make.__name__)
def test_a_wrong_encoding(make: Make, tmp_path: Path) -> None:
    path = main_file(make, tmp_path)
    data = path.read_bytes()
    with pytest.raises(DataError):
        read_paths([path], ReadOptions(encoding="utf-32"))
    path.write_bytes(data[:200] + b"\xff\xfe\xfa\x81" + data[200:])
    problem = problem_of(path)
    if problem is not None:
        assert str(path) in problem
        return
    read = read_paths([path])
    assert any("taken for" in remark for remark in read.files[0].remarks) or read.drops.rows


@pytest.mark.parametrize(
    "value",
    [
        {"endTime": [], "msPlayed": {}},
        {"endTime": 5, "artistName": 6, "trackName": 7, "msPlayed": "8"},
        {"ts": None, "ms_played": None, "master_metadata_track_name": 5},
        {"ts": True, "ms_played": 1e400, "master_metadata_track_name": "x"},
        {"header": "YouTube Music", "title": 5, "time": 5, "subtitles": 5},
        {"header": "YouTube Music", "title": "x", "time": "x", "subtitles": [{"name": 5}]},
        {"listened_at": "x", "track_metadata": 5},
        {"listened_at": 1e300, "track_metadata": {"artist_name": ["a"], "track_name": {}}},
        {"recording_mbid": 5, "score": "x"},
    ],
)
def test_json_of_wrong_types(tmp_path: Path, value: object) -> None:
    path = tmp_path / "x.json"
    text = json.dumps(value).replace("Infinity", "1e400")
    for content in (f"[{text}]", f"{text}\n", f"[{text}, 5, [], null]", f'{{"tracks": [{text}]}}'):
        path.write_text(content)
        refused(path)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "5", '"x"', "null", "[5]", "[[]]", '{"tracks": []}', "", " ", "[", "{", '"'],
)
def test_json_without_records(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    refused(path)


# --- more than fits -------------------------------------------------------------------------------


def peak_of(path: Path) -> int:
    """Bytes that refusing a file takes at most."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_paths([path])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def record() -> str:
    return json.dumps(exports.extended_record(Listen("A", "T", exports.START, 90, 90)))


@pytest.mark.parametrize(
    "tail",
    [
        b"[" * 10 * MIB,
        b'{"a":' * 4 * MIB,
        b'{"ts": "' + b"x" * 20 * MIB,
        b'{"ts": "' + b"\\" * 20 * MIB,
        b'{"a": [' + b"{}," * 4 * MIB,
        b'"' * 10 * MIB,
    ],
    ids=["brackets", "objects", "a text", "backslashes", "an array in a record", "quotes"],
)
def test_json_without_end(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"[" + record().encode() + b"," + tail)
    assert peak_of(path) < 40 * MIB


def test_json_nested_deeply_within_a_field_that_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    deep = "[" * 40_000 + "]" * 40_000
    path.write_text("[" + record()[:-1] + f', "more": {deep}}}]')
    refused(path, "nested too deeply")


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with path.open("wb") as file:
        file.write(b"user,item,rating\n1,2,3\n1,3,4\n")
        file.write(b"1,2," * 5 * MIB)
    assert peak_of(path) < 60 * MIB
    path.write_bytes(b'{"listened_at": 1, "track_metadata": {}}\n' + b" " * 20 * MIB)
    assert peak_of(path) < 40 * MIB


def test_a_quote_that_never_closes(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user,item,rating\n" + "1,2,3\n" * 100 + '1,"2,3\n' + "1,2,3\n" * 200_000)
    refused(path, "quote not closed")


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = exports.zipped(tmp_path / "x.zip", {"plays.json": b"[" + b" " * 50 * MIB + b"]"})
    refused(path, "plays.json", "a zip bomb")


def test_a_zip_file_that_declares_5_gb(tmp_path: Path) -> None:
    """The declaration alone: the member has a few bytes."""
    export = exports.lastfm(tmp_path, 1)
    path = exports.zipped(tmp_path / "x.zip", {"lastfm.csv": export.path.read_bytes()})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<L", data, at + 24, 0xFFFFFFF0)  # nearly 4.3 GB, the most without zip64
    path.write_bytes(bytes(data))
    refused(path, "zip bomb")
    struct.pack_into("<L", data, at + 20, 0x7FFFFFF0)  # as if it were packed as little
    path.write_bytes(bytes(data))
    refused(path)


def test_a_zip64_file_that_declares_5_gb(tmp_path: Path) -> None:
    export = exports.lastfm(tmp_path, 1)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lastfm.csv", export.path.read_bytes())
        info = archive.infolist()[0]
        info.file_size, info.compress_size = 5 << 30, 1 << 30
    message = refused(path)
    assert "5,368,709,120" in message or "damaged" in message


def test_a_zip_file_that_declares_less_than_it_holds(tmp_path: Path) -> None:
    export = exports.lastfm(tmp_path, 1)
    path = exports.zipped(tmp_path / "x.zip", {"lastfm.csv": export.path.read_bytes()})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rfind(b"PK\x01\x02") + 24, 5000)
    path.write_bytes(bytes(data))
    refused(path, "damaged")


def test_a_gzip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        file.write(packer.compress(b"user,item,rating\n" + b"1,2,3\n" * 1000))
        for _ in range(200):
            file.write(packer.compress(b"1,2,3\n" * 200_000))
        file.write(packer.flush())
    refused(path, "unpacks to far more")


def test_a_gzip_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    rng = random.Random(1)
    rows = "".join(
        f"{rng.randrange(999)},{rng.randrange(999)},{rng.randint(1, 5)}\n" for _ in range(50_000)
    )
    path.write_bytes(gzip.compress(b"user,item,rating\n" + rows.encode())[:-5000])
    refused(path, "cut off")


@pytest.mark.parametrize(
    "name", ["../lastfm.csv", "a/../../lastfm.csv", "/etc/lastfm.csv", "..\\lastfm.csv"]
)
def test_members_that_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    export = exports.lastfm(tmp_path, 1)
    path = exports.zipped(tmp_path / "x.zip", {name: export.path.read_bytes()})
    refused(path, "which would lie outside of it")


def test_a_zip_file_in_a_zip_file_in_a_zip_file(tmp_path: Path) -> None:
    export = exports.lastfm(tmp_path, 1)
    data = export.path.read_bytes()
    for _ in range(2):
        data = exports.zipped(
            tmp_path / "x.zip", {"y.zip": data} if data[:2] == b"PK" else {"y.csv": data}
        ).read_bytes()
    assert len(read_paths([tmp_path / "x.zip"]).collected)
    path = exports.zipped(tmp_path / "z.zip", {"x.zip": data})
    refused(path, "unpack it first")


def test_a_member_with_a_password(tmp_path: Path) -> None:
    path = exports.zipped(tmp_path / "x.zip", {"x.csv": "user,item,rating\n1,2,3\n"})
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.rfind(magic) + at, 1)
    path.write_bytes(bytes(data))
    refused(path, "needs a password")


def test_a_table_of_contents_beyond_all_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_DIRECTORY_BYTES", 5000)
    path = exports.zipped(tmp_path / "x.zip", {f"{n}.csv": "a" for n in range(200)})
    refused(path, "table of contents")


def test_more_files_than_anybody_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FILES", 50)
    path = exports.zipped(tmp_path / "x.zip", {f"{n}.csv": "a" for n in range(60)})
    refused(path, "more than 50 files")


def test_entities_of_xml_are_refused(tmp_path: Path) -> None:
    export = exports.itunes(tmp_path, 1)
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol" * 100}">' for n in range(9))
    text = export.path.read_text(encoding="utf-8")
    start = text.index("<plist")
    doctype = f"<!DOCTYPE plist [{lol}]>"
    text = f'<?xml version="1.0"?>{doctype}' + text[start:].replace("<string>", "<string>&l8;", 1)
    export.path.write_text(text)
    refused(export.path, "declares entities")


def test_other_archives_and_spreadsheets_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for magic, word in (
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07\x01", "RAR"),
        (b"\xd0\xcf\x11\xe0", "CSV"),
    ):
        path.write_bytes(magic + b"\0" * 100)
        refused(path, word)


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    refused(fifo, "FIFO")
    refused(tmp_path / "missing", "no such file")
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", "no file in it")
    fifo.rename(tmp_path / "data" / "fifo")
    export = exports.lastfm(tmp_path / "data", 1)
    read = read_paths([tmp_path / "data"])
    assert [name for name in read.left if name.endswith("fifo")]
    assert stat.S_ISREG(export.path.stat().st_mode)


def test_nothing_is_left_in_the_folder_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = exports.apple(tmp_path, 1)
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    read_paths([export.path])
    assert list(folder.iterdir()) == []


# --- the splitter of JSON -------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 18])
def test_records_are_split_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(json_records, "_BLOCK", block)
    tricky = ['{"a": "]}\\"["}', '{"b": {"c": [1, {"d": "\\\\"}]}}', "{}", '{"é": "ü\\u005d"}']
    text = f' [ {", ".join(tricky)}, 5, "x{{", [{{"no": 1}}], null ] \n'
    found = [data.decode() for _, data in json_records.split(io.BytesIO(text.encode()), "x")]
    assert found == tricky
    wrapped = '{"n": 1, "s": "a\\"[{", "o": {"tracks": [{"no": 1}]}, "tracks": [' + ",".join(tricky)
    wrapped += '], "more": [{"z": 1}]}'
    pairs = list(json_records.split(io.BytesIO(wrapped.encode()), "x"))
    assert pairs == [*(("tracks", one.encode()) for one in tricky), ("more", b'{"z": 1}')]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=8), st.booleans(), st.booleans())
def test_records_of_any_json_are_its_objects(
    values: list[Any], escaped: bool, indented: bool
) -> None:
    form: dict[str, Any] = {"ensure_ascii": escaped, "indent": 1 if indented else None}
    objects = [value for value in values if isinstance(value, dict)]

    def found(value: object) -> list[tuple[str, object]]:
        text = json.dumps(value, **form).encode("utf-8", "surrogatepass")
        return [(key, json.loads(one)) for key, one in json_records.split(io.BytesIO(text), "x")]

    assert found(values) == [("", value) for value in objects]
    around = {"before": 1, "tracks": values, "after": [5], "within": {"deep": values}}
    assert found(around) == [("tracks", value) for value in objects]


@given(st.binary(max_size=200), st.sampled_from(["", "[", '[{"a":', '{"a":[{"b":1},']))
def test_any_bytes_are_split_or_refused(data: bytes, start: str) -> None:
    with contextlib.suppress(DataError):
        list(json_records.split(io.BytesIO(start.encode() + data), "x"))
