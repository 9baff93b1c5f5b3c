"""Which data a node reads by itself, and which is an export to be read first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openfl.app.data_paths import is_to_be_taken, read_options
from openfl.config import load_config
from tests import exports


def taken(*paths: Path, **settings: Any) -> bool:
    given = {name.replace("__", ".", 1): value for name, value in settings.items()}
    return is_to_be_taken(load_config(None, {}, given), paths)


@pytest.mark.parametrize("header", ["user_id,song_id,rating", "song_id, USER_ID ,plays,x"])
def test_the_nodes_own_form_is_read_where_it_is(tmp_path: Path, header: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(f"{header}\na,b,3\n")
    assert not taken(path)
    assert not taken(path, data__encoding="cp1252")
    assert taken(path, path)
    assert taken(path, **{"data__columns.user": "x"})


def test_a_node_with_a_file_of_its_own_form_loads_nothing_that_reads_exports(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user_id,song_id,rating\na,b,3\n")
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from openfl.app.data_paths import is_to_be_taken\nfrom openfl.config import load_config\n"
        f"print(is_to_be_taken(load_config(None, {{}}, {{}}), [Path({str(path)!r})]))\n"
        "print([m for m in sys.modules if m.startswith('openfl.sources')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    found = done.stdout.splitlines()
    assert found[0] == "False"
    assert found[1] in ("[]", "['openfl.sources', 'openfl.sources.options']")


def test_exports_are_read_first(tmp_path: Path) -> None:
    for make in (*exports.PERSONAL, *exports.TABLES):
        (inside := tmp_path / make.__name__).mkdir()
        export = make(inside, 1)
        assert taken(export.path), make.__name__
        assert taken(inside)
        assert not taken(export.path, task__kind="classification")


def test_what_nobody_can_read_is_left_to_the_reader_that_explains_it(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("aa,bb\n1,x\n2,y\n")
    assert not taken(path)
    assert not taken(tmp_path / "missing.csv")
    assert not taken()
    path.write_text('{"a": 1}')
    assert taken(path)


def test_separators_have_names_in_the_configuration() -> None:
    for text, separator in (("tab", "\t"), ("\\t", "\t"), ("space", " "), ("::", "::"), ("", "")):
        assert read_options(load_config(None, {}, {"data.separator": text})).separator == separator
