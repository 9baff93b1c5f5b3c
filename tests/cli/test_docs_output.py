"""The output that the documents show is today's, or says when it was printed.

How a block says so, and how to bring all of them up to date (`make docs-output`), is explained at
the head of scripts/docs_output.py.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load_script() -> ModuleType:
    path = ROOT / "scripts" / "docs_output.py"
    spec = importlib.util.spec_from_file_location("docs_output", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


docs_output = load_script()
FILES = docs_output.markdown_files()
COMPARED = [path for path in FILES if any(block.compared for block in docs_output.blocks(path))]


def test_every_block_of_output_is_compared_or_carries_its_date_and_commit() -> None:
    found = [block for path in FILES for block in docs_output.blocks(path)]
    assert len(found) > 80
    assert [f"{b.where}: {docs_output.problem(b)}" for b in found if docs_output.problem(b)] == []


def test_a_marker_stands_above_what_it_speaks_of() -> None:
    """One with a mistake in it, or with an empty line below, would speak of nothing."""
    markers = sum(path.read_text("utf-8").count("\n<!-- output") for path in FILES)
    markers += sum(path.read_text("utf-8").count("\n<!-- run") for path in FILES)
    used = [b for path in FILES for b in docs_output.blocks(path) if b.compared or b.runs]
    assert len(used) == markers > 4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", COMPARED, ids=[path.stem for path in COMPARED])
def test_the_documents_show_what_is_printed_today(path: Path) -> None:
    for block, fresh in docs_output.run_file(path):
        assert docs_output.same(block.lines, fresh), (
            f"{block.where} shows what is no longer printed; run `make docs-output`. Today:\n"
            + "\n".join(fresh)
        )


# --- the script itself -------------------------------------------------------------------------

FENCE = "```"


def only_block(tmp_path: Path, text: str) -> object:
    path = tmp_path / "page.md"
    path.write_text(text)
    (block,) = docs_output.blocks(path)
    return block


@pytest.mark.parametrize(
    "text",
    [
        f"{FENCE}\nsome output\n{FENCE}",
        f"{FENCE}json\n1\n{FENCE}",
        f"{FENCE}text\n$ openfl-node id\n{FENCE}",
        f"<!-- output -->\n\n{FENCE}\n$ openfl-node id\n{FENCE}",
        f"captured 2026-11-24\n{FENCE}\nsome output\n{FENCE}",
        f"captured 2026-11-24 at 1a2b3c4\n\n## Another section\n\n{FENCE}\nsome output\n{FENCE}",
        "| nodes | RMSE |\n|---|---|\n| 4 | 0.73 |",
    ],
)
def test_output_that_says_nothing_of_its_age_is_found(tmp_path: Path, text: str) -> None:
    assert docs_output.problem(only_block(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        f"{FENCE}sh\nopenfl-node id\n{FENCE}",
        f"<!-- output -->\n{FENCE}\n$ openfl-node id\n{FENCE}",
        f"<!-- output: openfl-node id -->\n{FENCE}\n12D3KooW\n{FENCE}",
        f"<!-- captured 2026-11-24 at 1a2b3c4 -->\n{FENCE}\nsome output\n{FENCE}",
        f"Eight nodes (captured 2026-11-24\nat 1a2b3c4):\n\n{FENCE}\nsome output\n{FENCE}",
        "<!-- captured 2026-11-24 at 1a2b3c4 -->\n| nodes | RMSE |\n|---|---|\n| 4 | 0.73 |",
    ],
)
def test_code_and_output_of_known_age_are_fine(tmp_path: Path, text: str) -> None:
    assert docs_output.problem(only_block(tmp_path, text)) is None


def test_a_date_speaks_of_one_block_only(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    output = f"{FENCE}\nsome output\n{FENCE}\n"
    path.write_text(f"<!-- captured 2026-11-24 at 1a2b3c4 -->\n{output}\n{output}")
    assert [docs_output.problem(block) is None for block in docs_output.blocks(path)] == [
        True,
        False,
    ]


def test_a_settings_table_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("| key | default |\n|---|---|\n| a | 0.5 |\n")
    assert list(docs_output.blocks(path)) == []


@pytest.mark.parametrize(
    ("shown", "printed", "alike"),
    [
        ("RMSE 0.7351", "RMSE 0.7352", True),
        ("RMSE 0.7351", "RMSE 0.7165", False),
        ("after 5 rounds", "after 6 rounds", False),
        ("bad.csv:3: not a number", "bad.csv:4: not a number", False),
        ("5,338 deliveries", "5,341 deliveries", True),
        ("5,338 deliveries", "5,538 deliveries", False),
        ("a  0.5", "a 0.5", True),
        ("+0.01 %", "-0.01 %", True),
        ("+0.01 %", "+0.1 %", False),
        ("trace f97e353838f808636cbc609ed512d440", "trace 75be802478099c5316e84dfe071ccc72", True),
        ("no such file", "not found", False),
        ("one\ntwo", "one", False),
    ],
)
def test_same_allows_for_rounding_and_nothing_else(shown: str, printed: str, alike: bool) -> None:
    assert docs_output.same(shown.split("\n"), printed.split("\n")) is alike


def test_commands_run_in_one_folder_and_are_shortened_as_the_page_has_it(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        f"<!-- run -->\n{FENCE}sh\nseq 9 > numbers\n{FENCE}\n\n"
        f"<!-- output -->\n{FENCE}\n$ cat numbers\nold\n...\nold\nold\n\n$ cat none\nold\n{FENCE}\n"
    )
    ((_, fresh),) = docs_output.run_file(path)
    assert fresh[:6] == ["$ cat numbers", "1", "...", "8", "9", ""]
    assert fresh[6] == "$ cat none"
    assert "No such file" in fresh[7]
    assert fresh[8] == "exit code 1"


def test_shell_that_fails_to_prepare_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        f"<!-- run -->\n{FENCE}sh\nfalse\ntrue\n{FENCE}\n"
        f"<!-- output -->\n{FENCE}\n$ true\n{FENCE}\n"
    )
    with pytest.raises(ValueError, match=r"page\.md:2: exit code 1"):
        list(docs_output.run_file(path))
