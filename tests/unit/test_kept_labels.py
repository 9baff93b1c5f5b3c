"""Labels on disk: kept, read again, and moved aside when they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from openfl.core.errors import StateError
from openfl.group.labels import LABELS_VERSION, Heard
from openfl.items import Label, label_of, music_key
from openfl.storage.home import Home
from openfl.storage.labels import LABELS_KIND, HomeLabels, peek_labels
from openfl.storage.state_files import write_state

LABELS = [
    (music_key("Artist", f"Song {n}"), label_of("music", f"Song {n}", "Artist")) for n in range(5)
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def kept_in(home: Home) -> tuple[HomeLabels, list[str]]:
    told: list[str] = []
    return HomeLabels(home, told.append), told


async def test_what_is_kept_is_read_again(home: Home) -> None:
    kept, told = kept_in(home)
    assert len(await kept.load("music")) == 0
    await kept.save(Heard("music", LABELS))
    assert list(await kept.load("music")) == LABELS
    assert list(peek_labels(home, "music")) == LABELS
    assert len(await kept.load("film")) == len(peek_labels(home, "film")) == 0
    assert not told
    assert home.state_file("labels").stat().st_mode & 0o077 == 0


async def test_labels_that_are_not_of_their_keys_are_passed_over(home: Home) -> None:
    kept, told = kept_in(home)
    forged = {
        "items": "music",
        "labels": [
            [LABELS[0][0].to_bytes(8, "big"), "Forged", "Artist"],
            [LABELS[1][0].to_bytes(8, "big"), LABELS[1][1].title, "Artist"],
        ],
    }
    write_state(home.state_file("labels"), LABELS_KIND, LABELS_VERSION, forged)
    assert list(await kept.load("music")) == [LABELS[1]]
    assert list(peek_labels(home, "music")) == [LABELS[1]]
    assert not told


@pytest.mark.parametrize(
    "content", [None, {"items": "music", "labels": [["key", "a", "b"]]}, ["labels"]]
)
async def test_a_file_of_no_use_is_moved_aside_and_told_of(home: Home, content: object) -> None:
    kept, told = kept_in(home)
    path = home.state_file("labels")
    if content is None:
        path.write_bytes(b"junk")
    else:
        write_state(path, LABELS_KIND, LABELS_VERSION, content)
    assert len(peek_labels(home, "music")) == 0
    assert path.exists()  # which is for the node to move
    assert len(await kept.load("music")) == 0
    (problem,) = told
    assert problem.endswith("asking the group again")
    assert not path.exists()
    assert len(list(path.parent.glob("labels.state.corrupt-*"))) == 1


async def test_a_disk_that_takes_nothing_is_a_state_error(home: Home) -> None:
    kept, _ = kept_in(home)
    home.state_file("labels").mkdir()
    with pytest.raises(StateError):
        await kept.save(Heard("music", [(music_key("A", "B"), Label("B", "A"))]))
