"""Whom a node recommends to when nobody was named."""

from __future__ import annotations

from pathlib import Path

from openfl.config import Config
from openfl.core.errors import DataError
from openfl.learning.csv_table import rows_with_lines

NOBODY = "recommend to whom? Name somebody with --user, or set recommend.user"


def user_to_recommend_to(config: Config) -> str:
    """`recommend.user`, else the first user of the ratings file; empty when there is neither."""
    if config.recommend.user or not config.data.ratings_file:
        return config.recommend.user
    try:
        for _, (user,) in rows_with_lines(Path(config.data.ratings_file), ("user_id",)):
            if user:  # rows without one may have been skipped
                return user
    except DataError:
        pass  # the node has read the file already; what has become of it since is no reason to end
    return ""
