"""How much a file may ask for, so that none can fill the memory, the disk or an evening.

Each is far beyond what any of these exports has: a record of Spotify's is 1 KB, a line of a table
100 bytes, text packs to a tenth.
"""

from __future__ import annotations

HEAD_BYTES = 1 << 16
"""Of each file, to recognise it by."""
MAX_RECORD_BYTES = 1 << 20
"""Of one JSON record, and of one line of a table."""
MAX_DEPTH = 64
"""Of JSON."""
MAX_UNPACKED_BYTES = 4 << 30
"""Of one packed file."""
MAX_RATIO = 200
"""Unpacked over packed, of what unpacks to more than `RATIO_FROM_BYTES`."""
RATIO_FROM_BYTES = 1 << 20
MAX_DIRECTORY_BYTES = 32 << 20
"""Of the table of contents of a zip file."""
MAX_INNER_BYTES = 1 << 30
"""Of a zip file within a zip file."""
MAX_FILES = 20_000
"""In a folder or zip file."""
MAX_FOLDER_DEPTH = 12
MAX_NAME = 1000
"""Characters of a title, an artist or an id."""
