"""What an item is called in a node's own files: the one place that says so."""

from __future__ import annotations

from openfl.sources.interactions import Item
from openfl.sources.limits import MAX_NAME
from openfl.sources.source import Items
from openfl.sources.text import tidy


def tidied(item: Item) -> Item:
    """With its texts as they are kept."""
    return Item(tidy(item.title), tidy(item.artist), tidy(item.id))


def item_id(item: Item, items: Items) -> str:
    """The id text of a tidied item; "" when it has too little for one, or a name beyond all reason.

    Music: "artist - title". Films: "title" as "title (year)", which is how their sources build it.
    Books: the ISBN-13 when known, else "author - title". Anything else: the id as it is written.
    """
    if max(map(len, item)) > MAX_NAME:
        return ""
    if items == "opaque" or (items == "book" and item.id):
        return item.id or _named(item)
    if items == "film":
        return item.title or item.id
    return _named(item) or item.id


def _named(item: Item) -> str:
    return f"{item.artist} - {item.title}" if item.artist and item.title else item.title
