"""The sample data that `openfl-node demo` learns from."""

from __future__ import annotations

from pathlib import Path

from openfl.core.errors import DataError

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_sample"
_CHECKOUT = _PACKAGE.parents[1] / "examples" / "music"


def sample_folder() -> Path:
    """The folder with songs.csv and ratings.csv, in a checkout as well as when installed.

    DataError when this installation has none.
    """
    # The wheel carries copies of the files under _sample; a checkout uses the originals.
    for folder in (_INSTALLED, _CHECKOUT):
        if (folder / "songs.csv").is_file() and (folder / "ratings.csv").is_file():
            return folder
    raise DataError("the sample data (songs.csv, ratings.csv) is missing from this installation")
