"""What can be done with models on disk, no node running: recommend, predict, evaluate, export,
import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openfl.app.first_user import NOBODY, user_to_recommend_to
from openfl.app.resuming import with_remembered_data
from openfl.config import Config
from openfl.config.kinds import ClassificationData
from openfl.core.atomic_files import atomic_write
from openfl.core.contribution import Charter, GroupId
from openfl.core.errors import DataError, GroupError, StateError, UsageError
from openfl.core.model_view import DenseModel
from openfl.core.names import name_problem
from openfl.core.telemetry import NodeSnapshot
from openfl.items import OPAQUE
from openfl.learning.classification.charter import classification_parameters
from openfl.learning.classification.examples import load_features
from openfl.learning.classification.task import Predictions, log_loss_of, predict
from openfl.learning.evaluation import ModelReport, TaskReport, evaluate
from openfl.learning.factorization.ratings import EMPTY_CATALOGUE, Catalogue, Ratings, Song
from openfl.learning.factorization.recommend import Recommendations, recommend
from openfl.learning.factorization.similar import SimilarSongs, similar
from openfl.learning.factorization.song_data import SongData, load_songs
from openfl.learning.factorization.told_names import labelled_songs
from openfl.learning.factorization.wishes import Wishes
from openfl.learning.heads import Head
from openfl.learning.kinds import KINDS, head_of, kind_of, recommending
from openfl.learning.model_file import (
    NamedModel,
    encode_model,
    load_model,
    load_named_model,
)
from openfl.storage.course import peek_course
from openfl.storage.home import Home
from openfl.storage.home_storage import HomeStorage
from openfl.storage.labels import peek_labels
from openfl.storage.last_run import last_snapshot


@dataclass(frozen=True, slots=True)
class WrittenModel:
    """What was exported or imported. rows: of songs; named: those whose name is known."""

    path: str
    group: str
    group_id: GroupId
    task: str
    rows: int
    named: int


def offline_snapshot(home: Path) -> NodeSnapshot | None:
    """The node as it last saved itself; None when it never did. StateError: it is of another
    version."""
    return last_snapshot(Home(home))


def offline_course(home: Path) -> dict[str, Any]:
    """How the node has fared, `{"points": [...], "moves": [...]}`, as it last saved it; without any
    when it never did."""
    return peek_course(Home(home)).to_plain()


def offline_recommend(
    config: Config,
    home: Path,
    user: str,
    top: int,
    *,
    new_artists: bool = False,
    not_popular: float = 0.0,
    why: bool = False,
) -> Recommendations:
    """Recommendations from the saved (or imported) model and the ratings file (the one the node
    last ran with, unless the configuration names one); StateError when no model is saved.

    Songs that an imported model knows by name can be recommended too; without any ratings file it
    answers as for somebody unknown. `user` may be "": the one that is recommended to at the end of
    a run; UsageError when there is none. The others as `Wishes` has them.
    """
    wishes = Wishes(new_artists, not_popular, why)
    head, model, ratings, names = _saved_songs(config, home)
    user = user or user_to_recommend_to(with_remembered_data(config, Home(home)))
    if not user:
        raise UsageError(NOBODY)
    return recommend(head, model, ratings, names, user, top, wishes=wishes)


def offline_similar(config: Config, home: Path, song: str, top: int) -> SimilarSongs:
    """Songs like `song`, from what `offline_recommend` uses; errors as there, and as `similar`."""
    head, model, ratings, names = _saved_songs(config, home)
    return similar(head, model, ratings, names, song, top)


def _saved_songs(config: Config, home: Path) -> tuple[Head, DenseModel, Ratings | None, Catalogue]:
    """(head, model, ratings or plays if there are any, every name that is known)."""
    saved = load_named_model(_existing_model(config, home))
    charter, named = saved.model.charter, _names(saved)
    songs = recommending(charter)
    head = songs.head(charter, saved.model)
    config = with_remembered_data(config, Home(home))
    if not config.data.ratings_file and len(named):
        return head, saved.model, None, named
    data: SongData = kind_of(charter).load(config, charter)
    songs.check(charter, data.ratings)
    heard = _heard(Home(home), data.items).songs
    everything = Catalogue({**named.songs, **heard, **data.catalogue.songs})
    return head, saved.model, data.ratings, everything


@dataclass(frozen=True)
class PredictedFile:
    """What a model says of the rows of a file. With the true labels in the file: `true` (empty
    where a row has none), and over the rows that have one the accuracy and the log loss."""

    group: str
    group_id: GroupId
    predictions: Predictions
    true: tuple[str, ...] | None
    labelled: int
    accuracy: float | None
    log_loss: float | None


def predict_saved(config: Config, home: Path, data: Path, model: Path | None) -> PredictedFile:
    """The classes of the rows in `data` by a model (default: the one the home's node last saved).

    StateError: no model, or a damaged one. GroupError: it does not classify, or knows no class
    yet. DataError: the file is unusable, or lacks features of the model.
    """
    loaded = load_model(_existing_model(config, home) if model is None else model)
    charter = loaded.charter
    features = classification_parameters(charter).features
    values, true = load_features(data, features, config.own(ClassificationData).label_column)
    found = predict(charter, loaded, values)
    with_label = [n for n, label in enumerate(true or ()) if label]
    accuracy = log_loss = None
    if true is not None and with_label:
        column = {name: n for n, name in enumerate(found.classes)}
        probability = [
            found.probabilities[n, column[true[n]]] if true[n] in column else 0.0
            for n in with_label
        ]
        right = sum(found.labels[n] == true[n] for n in with_label)
        accuracy = right / len(with_label)
        log_loss = log_loss_of(np.array(probability)).value
    return PredictedFile(
        charter.name, charter.group_id, found, true, len(with_label), accuracy, log_loss
    )


def evaluate_saved(config: Config, home: Path, model: Path | None) -> ModelReport | TaskReport:
    """The metrics of a model (default: the home's) on the held-out part of the configured data.

    StateError: no model, or a damaged one. GroupError: it is of a kind that is not known here.
    DataError: the data is unusable or does not fit it.
    """
    path = _existing_model(config, home) if model is None else model
    loaded = load_model(path)
    kind = kind_of(loaded.charter)
    config = with_remembered_data(config, Home(home))
    return evaluate(kind, config, kind.load(config, loaded.charter), loaded)


def export_model(config: Config, home: Path, target: Path, force: bool = False) -> WrittenModel:
    """Write the home's model to `target`, with the names of its songs as far as they are known
    here. StateError: no model is saved, `target` exists (without `force`), or writing fails."""
    if target.exists() and not force:
        raise StateError(f"{target}: exists already (--force replaces it)")
    saved = load_named_model(_existing_model(config, home))
    model = saved.model
    items = _items_table(model.charter)
    songs: dict[str, Song] = dict(_names(saved).songs)
    if items is not None:
        for song in _songs_known(with_remembered_data(config, Home(home)), model.charter, home):
            songs[song.song_id] = song
    names = None if items is None else {items: songs.values()}
    data = encode_model(model.charter, model, names)
    if not target.parent.is_dir():
        raise StateError(f"{target.parent}: no such folder")
    atomic_write(target, data, mode=0o644)
    return _written(target, load_named_model(target))


def import_model(config: Config, home: Path, source: Path, force: bool = False) -> WrittenModel:
    """Make the model in `source` the one that this home's `recommend` uses when no node runs.

    Everything in the file is checked first. StateError: the file is missing or damaged, or a node
    is running here. GroupError: it is of a task that recommends no songs, or of another group than
    this home's and not `force`.
    """
    into = Home(home)
    named = load_named_model(source)
    charter = named.model.charter
    head_of(charter, named.model)
    into.prepare()
    with into.lock():
        target = into.model_file(config.model.file)
        mine = _home_group(into, target)
        if mine is not None and mine.group_id != charter.group_id and not force:
            raise GroupError(
                f"{source}: a model of group {charter.name} ({charter.group_id[:8]}), but this home"
                f" is in group {mine.name} ({mine.group_id[:8]}); --force imports it all the same"
            )
        unclear = name_problem(charter.name)
        if unclear is not None and (mine is None or mine.group_id != charter.group_id):
            raise StateError(
                f"{source}: its group is called {charter.name!r}, but a group's name {unclear}"
            )
        catalogues = {table: known.songs.values() for table, known in named.names.items()}
        atomic_write(target, encode_model(charter, named.model, catalogues))
    return _written(target, named)


def _existing_model(config: Config, home: Path) -> Path:
    path = Home(home).model_file(config.model.file)
    if not path.exists():
        raise StateError(f"{path}: no model yet; train one with: openfl-node start --home {home}")
    return path


def _home_group(home: Home, model_file: Path) -> Charter | None:
    """The group this home is in, else that of its model; None when it has neither."""
    resumed, _ = HomeStorage(home, model_file).load(None)
    if resumed is not None:
        return resumed.charter
    try:
        return load_model(model_file).charter if model_file.exists() else None
    except StateError:
        return None  # a damaged model is no reason to refuse a whole one


def _items_table(charter: Charter) -> str | None:
    """The table with a row a song; None for kinds that recommend none, or are not known here."""
    kind = KINDS.get(charter.task)
    return kind.recommends.items if kind is not None and kind.recommends is not None else None


def _names(named: NamedModel) -> Catalogue:
    songs: dict[str, Song] = {}
    for catalogue in named.names.values():
        songs.update(catalogue.songs)
    return Catalogue(songs)


def _heard(home: Home, kind: str) -> Catalogue:
    """The songs that others told this home's node the names of."""
    return EMPTY_CATALOGUE if kind == OPAQUE else labelled_songs(kind, peek_labels(home, kind))


def _songs_known(config: Config, charter: Charter, home: Path) -> Iterable[Song]:
    """Songs that others told of, of the ratings file (by their id), and of the catalogue, which
    wins."""
    try:
        if config.data.ratings_file:
            data: SongData = kind_of(charter).load(config, charter)
            songs = {song_id: Song(song_id, song_id) for song_id in data.ratings.songs}
            songs |= _heard(Home(home), data.items).songs
            catalogue = data.catalogue
        else:
            songs, catalogue = {}, load_songs(config)
    except DataError:
        return ()  # the names are an extra; the model is whole without them
    return {**songs, **catalogue.songs}.values()


def _written(path: Path, named: NamedModel) -> WrittenModel:
    charter = named.model.charter
    items = _items_table(charter) or charter.tables[0].name
    return WrittenModel(
        path=str(path),
        group=charter.name,
        group_id=charter.group_id,
        task=charter.task,
        rows=len(named.model.keys(items)),
        named=len(_names(named)),
    )
