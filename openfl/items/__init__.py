"""What songs, films and books are called, and the key of the row that each has in a group."""

from openfl.items.books import canonical_book, display_book, isbn13
from openfl.items.films import canonical_film, display_film, imdb_names
from openfl.items.folding import MAX_CHARACTERS, NoName
from openfl.items.identity import (
    KINDS,
    OPAQUE,
    Label,
    is_newer,
    item_key,
    item_name,
    key_bits,
    label_name,
    label_of,
    label_problem,
    music_key,
    name_key,
)
from openfl.items.music import canonical_music, display_music
from openfl.items.music_rules import RULES_VERSION

__all__ = [
    "KINDS",
    "MAX_CHARACTERS",
    "OPAQUE",
    "RULES_VERSION",
    "Label",
    "NoName",
    "canonical_book",
    "canonical_film",
    "canonical_music",
    "display_book",
    "display_film",
    "display_music",
    "imdb_names",
    "is_newer",
    "isbn13",
    "item_key",
    "item_name",
    "key_bits",
    "label_name",
    "label_of",
    "label_problem",
    "music_key",
    "name_key",
]
