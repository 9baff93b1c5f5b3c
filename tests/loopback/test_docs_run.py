"""The shell in README.md and docs/ runs, and what was captured is still printed, within its bounds.

How pages are followed, and what a block may say of itself, is at the head of scripts/docs_run.py.
`make docs-check`, which `.ci/run` calls, follows all pages, with the blocks that are slow; here it
is those that most readers begin with.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from scripts import docs_compare, docs_output, docs_run
from scripts.docs_compare import Bounds
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
FOLLOWED = {path.name: list(docs_output.blocks(path)) for path in docs_run.pages()}
OFTEN = ("README.md", "tutorial.md", "data.md", "friends.md", "own-model.md")
"""Pages that are followed in every run of the tests; the others would take it a minute more."""


@pytest.fixture(scope="module")
def friends() -> Iterator[docs_run.Friends]:
    with contextlib.ExitStack() as stack:
        yield docs_run.Friends(stack)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFTEN)
def test_a_reader_can_follow_the_page(name: str, friends: docs_run.Friends) -> None:
    """Every block ends as it should, and shows what is printed; a figure that is compared and
    that somebody changes by hand is noticed."""
    (path,) = (path for path in docs_run.pages() if path.name == name)
    blocks = 0
    for ran in docs_run.follow(path, friends):
        blocks += 1
        assert not ran.problem, f"{ran.block.where}: {ran.problem}"
        if (allowed := docs_run.bounds_of(ran.block)) is not None:
            assert_changes_are_noticed(ran, allowed)
    assert blocks > 1


def assert_changes_are_noticed(ran: docs_run.Ran, allowed: Bounds) -> None:
    """Each figure of the block that is not free, three times its bound off, is a difference."""
    shown, changed = ran.block.lines, 0
    for at, line in enumerate(shown):
        for figure in re.finditer(r"(?<![\w./:-])\d+\.\d+(?![\w.:/])", line):
            other = f"{float(figure[0]) * (1 + 3 * allowed.within) + 0.01:.4f}"
            lines = [*shown[:at], line[: figure.start()] + other + line[figure.end() :]]
            lines += shown[at + 1 :]
            if is_free(line, shown, lines, allowed):
                continue
            changed += 1
            wrong = docs_compare.differences(lines, ran.printed, allowed)
            assert wrong, f"{ran.block.where}: {figure[0]} could be {other} in {line!r}"
    decimals = any(re.search(r" 0\.\d{4}", line) for line in shown)
    assert changed or not decimals, f"{ran.block.where}: any figure could be changed by hand"


def is_free(line: str, shown: list[str], lines: list[str], allowed: Bounds) -> bool:
    """Whether the figure in which the two outputs differ is one that is not compared."""
    if shown[0] in ("{", "["):
        return any(f'"{key}":' in line for key in allowed.free)
    one, other = (
        [(found.words, found.figures) for found in docs_compare.parsed(text, allowed.free)]
        for text in (shown, lines)
    )
    return one == other


def test_every_block_of_shell_runs_or_says_why_not() -> None:
    found = [block for blocks in FOLLOWED.values() for block in blocks if docs_run.is_shell(block)]
    assert len(found) > 25
    reasons = [docs_run.not_run(block) for block in found]
    assert sum(reason is None for reason in reasons) > len(found) / 2


def test_marks_stand_above_what_they_speak_of() -> None:
    """One with a mistake in it, or with an empty line below, would speak of nothing."""
    names = ("not run: ", "slow: ", "first: ", "at: ", "with: ", "again: ", "exit code ")
    marks = sum(
        len(re.findall(rf"^<!-- (?:{'|'.join(names)})", path.read_text("utf-8"), re.MULTILINE))
        for path in docs_run.pages()
    )
    used = [
        mark
        for blocks in FOLLOWED.values()
        for block in blocks
        if docs_run.is_shell(block) or docs_run.bounds_of(block)
        for mark in block.marks
        if mark.startswith(names)
    ]
    assert len(used) == marks > 5
    stated = sum(
        len(re.findall(r"^<!-- captured .*; again ", path.read_text("utf-8"), re.MULTILINE))
        for path in docs_run.pages()
    )
    blocks = [block for blocks in FOLLOWED.values() for block in blocks]
    assert sum(docs_run.bounds_of(block) is not None for block in blocks) == stated


# --- the scripts themselves --------------------------------------------------------------------

FENCE = "```"


def follow(tmp_path: Path, text: str) -> list[docs_run.Ran]:
    page = tmp_path / "page.md"
    page.write_text(text)
    with contextlib.ExitStack() as stack:
        return list(docs_run.follow(page, docs_run.Friends(stack), slow=False))


def shell(*lines: str, above: str = "") -> str:
    return "\n".join([*([above] if above else []), f"{FENCE}sh", *lines, FENCE, "", ""])


def test_variables_and_files_go_on_from_block_to_block(tmp_path: Path) -> None:
    ran = follow(
        tmp_path,
        shell("WORD='two words'", "seq 3 > numbers")
        + shell('test "$WORD" = "two words"', "test $(wc -l < numbers) = 3", ". .venv/bin/activate")
        + shell("test $HOME != $(dirname $HOME)/guest", above="<!-- first: at guest touch x -->")
        + shell("test $(basename $HOME) = guest", above="<!-- at: guest -->")
        + shell("test OTHER = 'two words'", above="<!-- with: OTHER=$WORD -->")
        + shell("exit 3", above="<!-- exit code 3 -->")
        + shell("false", above="<!-- slow: it takes long -->")
        + shell("false", above="<!-- not run: needs a router -->"),
    )
    assert [one.problem for one in ran[:4]] == [""] * 4
    assert "[: too many arguments" in ran[4].problem or "test: " in ran[4].problem
    assert [one.problem for one in ran[5:]] == [""]


def test_a_block_that_fails_and_output_that_is_no_longer_printed_are_told(tmp_path: Path) -> None:
    said = "<!-- captured 2026-11-28 at 1a2b3c4; again within 5 % -->"
    ran = follow(
        tmp_path,
        shell("echo here >&2", "false", "true")
        + f"{said}\n{FENCE}\n$ echo error 0.71\nerror 0.70\n{FENCE}\n\n"
        + f"<!-- again: echo error 0.71 -->\n{said}\n{FENCE}\nerror 0.60\n{FENCE}\n",
    )
    assert ran[0].problem == "exit code 1: here"
    assert ran[1].problem == ""
    assert ran[2].problem.splitlines() == ["not printed: error 0.60", "not shown: error 0.71"]


def test_a_block_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_run, "BLOCK_SECONDS", 0.5)
    ran = follow(tmp_path, shell("sleep 600", above="<!-- exit code 124 -->"))
    assert [one.problem for one in ran] == ["exit code -9: it hangs: killed after 0.5 s"]


def test_output_of_a_node_that_did_not_start_is_a_difference(tmp_path: Path) -> None:
    said = "<!-- captured 2026-11-28 at 1a2b3c4; again within 5 % -->"
    ran = follow(tmp_path, f"<!-- again: node 1 -->\n{said}\n{FENCE}\nlistening\n{FENCE}\n")
    assert [one.problem for one in ran] == ["not printed: listening"]


def test_nodes_and_files_are_gone_when_the_script_is_told_to_end(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    page = tmp_path / "page.md"
    page.write_text(
        shell(
            "openfl-node start --data ratings.csv",
            f"echo $TERMINALS $(cat $TERMINALS/*.pid) > {begun}.new && mv {begun}.new {begun}",
            "sleep 600",
        )
    )
    command = [sys.executable, str(ROOT / "scripts" / "docs_run.py"), str(page)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as script:
        until = time.monotonic() + PATIENCE_SECONDS
        while not begun.exists() and script.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        script.terminate()
        assert script.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM
    terminals, pid = begun.read_text().split()
    try:
        assert not Path(terminals).parent.exists()
        assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie"
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int(pid)).kill()


def test_a_reason_that_is_not_listed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'no time' is no reason"):
        follow(tmp_path, shell("true", above="<!-- not run: no time -->"))


WITHIN = Bounds(0.05)
PEERS = (
    "12D3KooWFFQpuz2ovXyQzetqUxJtbJzdBGAcgi5UQy1258bHGky8",
    "12D3KooWMuqFHCbqj9doFnZ5ivbZ8cZKj4nuurvx7JrZRDmsJVAC",
)


@pytest.mark.parametrize(
    ("shown", "printed", "allowed", "alike"),
    [
        ("rmse 0.70", "rmse 0.73", WITHIN, True),
        ("rmse 0.70", "rmse 0.74", WITHIN, False),
        ("rmse 0.70", "ndcg 0.70", WITHIN, False),
        ("3 members", "4 members", WITHIN, False),
        (PEERS[0], PEERS[1], WITHIN, True),
        ("12D3…bHGky8 at ..bHGky8", "12D3…msJVAC at ..msJVAC", WITHIN, True),
        ("on /ip4/127.0.0.1/tcp/34707/p2p/x", "on /ip4/127.0.0.1/tcp/9", WITHIN, True),
        ("03:53:43 joined", "21:00:00 joined", WITHIN, True),
        ("a\nb", "b\na", WITHIN, True),
        ("a\nb", "b\na\nc", WITHIN, False),
        ("a\nb", "b\na\nc", replace(WITHIN, others=True), True),
        ("a\nb", "b", WITHIN, False),
        ("bytes 1 KB sent", "bytes 9 KB sent", WITHIN, False),
        ("bytes 1 KB sent", "bytes 9 KB sent", replace(WITHIN, free=frozenset({"bytes"})), True),
        ("bytes 1 KB sent", "bytes 9 MB sent", replace(WITHIN, free=frozenset({"bytes"})), False),
    ],
)
def test_what_counts_as_a_difference(
    shown: str, printed: str, allowed: Bounds, alike: bool
) -> None:
    found = docs_compare.differences(shown.split("\n"), printed.split("\n"), allowed)
    assert (found == []) is alike


TABLE = """\
   song           artist         rating expected
1  Iron Man       Black Sabbath             4.12
2  "Heroes"       David Bowie               4.01"""


def test_of_a_free_column_only_the_place_is_compared() -> None:
    free = Bounds(0.05, frozenset({"song", "artist"}))
    other = TABLE.replace('"Heroes"      ', "1979          ").replace(
        "David Bowie  ", "X            "
    )
    assert docs_compare.differences(TABLE.split("\n"), other.split("\n"), free) == []
    assert docs_compare.differences(TABLE.split("\n"), other.split("\n"), WITHIN)
    worse = other.replace("4.01", "3.01")
    assert docs_compare.differences(TABLE.split("\n"), worse.split("\n"), free) == [
        'not printed: 2  "Heroes"       David Bowie               4.01',
        "not shown: 2  1979           X                         3.01",
    ]


def test_json_may_be_shown_in_part() -> None:
    printed = [
        "{",
        '"id": "0123456789ab", "round": 9, "fit": 0.71, "list": [{"a": 1}, 2], "no": null',
        "}",
    ]
    free = Bounds(0.05, frozenset({"round"}))

    def wrong(text: str) -> list[str]:
        return docs_compare.differences(["{", text, "}"], printed, free)

    assert wrong('"id": "ffffffffffff1", "round": 2, "fit": 0.70, "list": [{"a": 1}]') == []
    assert wrong('"fit": 0.6') == [".fit: 0.71 printed, 0.6 shown"]
    assert wrong('"fit": 0.71, "gone": 1') == ["not printed: .gone"]
    assert wrong('"list": [{"a": 2}]') == [".list[0].a: 1 printed, 2 shown"]
    assert wrong('"no": 3') == [".no: None printed, 3 shown"]
    assert docs_compare.differences(["{", "}"], ["error: no"], free) == ["not JSON: error: no"]


def test_bounds_are_read_from_what_stands_above() -> None:
    said = "captured 2026-11-28 at 1a2b3c4; again within 5 %, among others; free: round, heard"
    assert docs_compare.bounds(said) == Bounds(0.05, frozenset({"round", "heard"}), others=True)
    assert docs_compare.bounds("captured 2026-11-28 at 1a2b3c4") is None
