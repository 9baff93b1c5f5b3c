"""`SongNames`: what songs are called, by a node's own files and by what others told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openfl.items import OPAQUE, Label, label_name, name_key
from openfl.learning.factorization.ratings import Catalogue, Song
from openfl.learning.factorization.song_data import SongData


def labelled_songs(kind: str, labels: Iterable[tuple[int, Label]]) -> Catalogue:
    """The songs that these labels, each of its key, are of."""
    songs: dict[str, Song] = {}
    for _, label in labels:
        name = label_name(kind, label)
        songs[name] = Song(name, label.title, label.by or None)
    return Catalogue(songs)


class SongNames:
    """Of the songs of `data`, which stay what they are, and of those heard of since."""

    def __init__(self, data: SongData) -> None:
        self.kind = data.items
        self._own = data.catalogue
        self._heard: dict[str, Song] = {}

    def hear(self, labels: Iterable[tuple[int, Label]]) -> None:
        """Take in labels that others told, each of its key."""
        self._heard.update(labelled_songs(self.kind, labels).songs)

    def own(self) -> Mapping[int, Label]:
        """The labels of the data's catalogue, by key; none where songs have no names."""
        if self.kind == OPAQUE:
            return {}
        return {
            name_key(self.kind, name): Label(song.title, song.artist or "")
            for name, song in self._own.songs.items()
        }

    def catalogue(self) -> Catalogue:
        """All that can be named; what the own files say counts."""
        if not self._heard:
            return self._own
        return Catalogue({**self._heard, **self._own.songs}, self._own.skipped)
