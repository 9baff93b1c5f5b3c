"""node.log: what peers and files had to say ends no line and steers nobody who reads it."""

from __future__ import annotations

import logging
from pathlib import Path

from openfl.core.names import is_unseen
from openfl.core.telemetry import NodeEvent
from openfl.storage.home import Home
from openfl_cli.logs import log_to_file


def test_what_others_wrote_is_one_harmless_line(tmp_path: Path) -> None:
    hostile = "group \u202emusic\x1b[31m\n2026-01-01 ERROR forged"
    with log_to_file(tmp_path, "info") as log:
        log.event(NodeEvent(0.0, "info", "joined", hostile))
        try:
            raise ValueError(hostile)
        except ValueError:
            logging.getLogger("openfl.x").exception("from %s", hostile)
    text = Home(tmp_path).log_file.read_text()
    assert not [c for c in text if c != "\n" and is_unseen(c)]
    lines = text.splitlines()
    assert "Traceback" in lines[2]
    assert not [line for line in lines if line.startswith("2026-01-01 ERROR")]
    assert "2026-01-01 ERROR forged" in lines[0]
