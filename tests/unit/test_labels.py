"""Asking for what items are called, telling it, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from openfl.core.errors import DecodeError, InvalidContribution, RemoteError
from openfl.group import labels as module
from openfl.group.admission import Admission
from openfl.group.labels import (
    Heard,
    LabelExchange,
    Place,
    labels_from_plain,
    labels_to_plain,
)
from openfl.items import Label, label_of, music_key
from openfl.wire import messages as wire
from tests.group_rig import CHARTER, RigSealer, peer

ME, OTHER, THIRD = (RigSealer(peer(n)) for n in (1, 2, 3))


def song(n: int) -> tuple[int, Label]:
    artist, title = f"Artist {n % 7}", f"Song {n} (Live)"
    return music_key(artist, title), label_of("music", title, artist)


SONGS = dict(song(n) for n in range(40))
KEYS = np.array(sorted(SONGS), dtype=np.uint64)


def place(own: Any = (), keys: Any = KEYS, charter: Any = CHARTER, sealer: Any = ME) -> Place:
    return Place(charter.group_id, keys, Admission(charter, sealer, lambda: 0.0), dict(own).get)


def exchange(heard: Any = ()) -> LabelExchange:
    return LabelExchange(Heard("music", dict(heard).items()), np.random.default_rng(0))


def ask(
    one: LabelExchange, other: LabelExchange, at: Place, now: float = 0.0, own: Any = ()
) -> int:
    request = one.question(at, OTHER.peer_id, now)
    assert request is not None
    answer = other.answer(place(own), ME.peer_id, wire.encode_labels_request(request), now)
    return one.answered(OTHER.peer_id, request, answer, now)


def test_what_one_knows_the_other_learns_and_gives_on() -> None:
    newcomer, teller, third = exchange(), exchange(), exchange()
    assert ask(newcomer, teller, place(), own=SONGS) == 40
    assert dict(newcomer.heard) == SONGS
    assert ask(third, newcomer, place(sealer=THIRD)) == 40
    assert dict(third.heard) == SONGS
    assert not newcomer.faults


def test_nothing_is_asked_that_is_known_or_was_asked_of_the_peer_lately() -> None:
    half = dict(list(SONGS.items())[:20])
    one = exchange()
    assert ask(one, exchange(), place(), own=half) == 20
    assert one.question(place(), OTHER.peer_id, 5.0) is None  # it has told what it knows
    request = one.question(place(), THIRD.peer_id, 5.0)
    assert request is not None
    assert set(request.keys.tolist()) == SONGS.keys() - half.keys()
    again = one.question(place(), OTHER.peer_id, module.VAIN_SECONDS + 1)
    assert again is not None
    assert np.array_equal(again.keys, request.keys)


def test_the_question_is_the_same_whatever_this_node_has_of_its_own() -> None:
    questions = [
        exchange().question(place(own), OTHER.peer_id, 0.0)
        for own in ({}, SONGS, dict(list(SONGS.items())[:3]))
    ]
    for question in questions:
        assert question is not None
        assert np.array_equal(question.keys, KEYS)


def test_batches_are_bounded_and_any_of_what_is_missing() -> None:
    keys = np.arange(1, 3000, dtype=np.uint64)
    request = exchange().question(place(keys=keys), OTHER.peer_id, 0.0)
    assert request is not None
    assert len(request.keys) == wire.LIMITS.max_label_keys
    assert (np.diff(request.keys.astype(np.int64)) > 0).all()
    assert request.keys.max() > 2000 > 1000 > request.keys.min()


def test_nothing_is_told_of_own_data_but_what_the_place_allows() -> None:
    teller = exchange(dict(list(SONGS.items())[:5]))
    assert ask(exchange(), teller, place()) == 5


def test_a_label_that_was_heard_is_told_as_it_was_heard() -> None:
    key, label = song(3)
    shouted = Label(label.title.upper(), label.by)
    teller = exchange({key: shouted})
    one = exchange()
    assert ask(one, teller, place(), own={key: label}) == 1
    assert one.heard.get(key) == shouted


FALSE = [
    ("another name", lambda label: Label("Another", "Artist 1"), "another key"),
    ("more words", lambda label: Label(f"{label.title} (feat. me)", label.by), "more than"),
    ("a control", lambda label: Label(f"{label.title}\x1b[2J", label.by), "characters"),
    ("a direction mark", lambda label: Label(f"\u202e{label.title}", label.by), "characters"),
    ("not asked for", None, "not asked"),
]


@pytest.mark.parametrize(("what", "lie", "why"), FALSE, ids=[f[0] for f in FALSE])
def test_a_false_label_is_refused_with_all_beside_it(what: str, lie: Any, why: str) -> None:
    one = exchange()
    request = one.question(place(), OTHER.peer_id, 0.0)
    assert request is not None
    key = int(KEYS[7])
    told = {**SONGS, **dict([song(1000) if lie is None else (key, lie(SONGS[key]))])}
    answer = wire.encode_labels_answer(wire.LabelsAnswer(tuple(sorted(told.items()))))
    with pytest.raises(InvalidContribution, match=why):
        one.answered(OTHER.peer_id, request, answer, 0.0)
    assert not len(one.heard)
    assert one.faults == {"labels-false": 1}
    # Others are asked all the same.
    assert one.question(place(), THIRD.peer_id, 0.0) is not None


def test_what_is_fit_for_its_owner_only_is_not_told() -> None:
    """Nobody is blamed for a file of their own."""
    piled = label_of("music", "Z\u0322\u0323\u0324\u0325\u0326\u0327algo", "Nobody")
    key = music_key("Nobody", "Zalgo")
    one, teller = exchange(), exchange()
    at = place(keys=np.array([key], dtype=np.uint64))
    assert ask(one, teller, at, own={key: piled}) == 0
    assert not one.faults


def test_a_letter_of_a_later_unicode_is_passed_over_and_nobody_is_to_blame() -> None:
    one = exchange()
    request = one.question(place(), OTHER.peer_id, 0.0)
    assert request is not None
    told = {**SONGS, int(KEYS[7]): Label("Song \U000107b1\u0378", "Artist")}
    answer = wire.encode_labels_answer(wire.LabelsAnswer(tuple(sorted(told.items()))))
    assert one.answered(OTHER.peer_id, request, answer, 0.0) == 39
    assert not one.faults


def test_two_names_of_one_key_are_counted_and_the_first_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, label = song(3)
    forged = Label("Forged", "Nobody")
    heard = Heard("music", {key: label}.items())
    monkeypatch.setattr(module, "label_problem", lambda *_: None)  # as after years of hashing
    one = LabelExchange(heard, np.random.default_rng(0))
    request = wire.LabelsRequest(CHARTER.group_id, np.array([key], dtype=np.uint64))
    answer = wire.encode_labels_answer(wire.LabelsAnswer(((key, forged),)))
    assert one.answered(OTHER.peer_id, request, answer, 0.0) == 0
    assert heard.get(key) == label
    assert one.faults == {"labels-collision": 1}
    # Another way to write the same name is none.
    written = wire.encode_labels_answer(
        wire.LabelsAnswer(((key, Label(label.title.upper(), label.by)),))
    )
    assert one.answered(OTHER.peer_id, request, written, 0.0) == 0
    assert one.faults == {"labels-collision": 1}


def test_who_does_not_answer_is_left_alone_for_a_moment() -> None:
    one = exchange()
    one.silent(OTHER.peer_id, 5.0)
    assert one.question(place(), OTHER.peer_id, 6.0) is None
    assert one.question(place(), THIRD.peer_id, 6.0) is not None
    assert one.question(place(), OTHER.peer_id, 5.0 + module.SILENT_SECONDS) is not None


def test_a_refusal_is_no_news_and_no_fault() -> None:
    one = exchange()
    request = one.question(place(), OTHER.peer_id, 0.0)
    assert request is not None
    refusal = wire.encode_labels_answer(wire.Refusal("busy", "later"))
    assert one.answered(OTHER.peer_id, request, refusal, 0.0) == 0
    assert one.question(place(), OTHER.peer_id, 0.0) is not None


def decoded(answer: bytes) -> Any:
    return wire.decode_labels_answer(answer)


def test_requests_are_limited_and_of_this_group_only() -> None:
    teller = exchange(SONGS)
    request = wire.encode_labels_request(wire.LabelsRequest(CHARTER.group_id, KEYS))
    answers = [decoded(teller.answer(place(), OTHER.peer_id, request, 0.0)) for _ in range(40)]
    refused = [a for a in answers if isinstance(a, wire.Refusal)]
    assert {a.code for a in refused} == {"busy"}
    assert len(refused) == 40 - module.REQUESTS_AT_ONCE
    assert teller.faults == {"labels-rate": len(refused)}
    assert isinstance(
        decoded(teller.answer(place(), THIRD.peer_id, request, 0.0)), wire.LabelsAnswer
    )
    elsewhere = wire.encode_labels_request(
        wire.LabelsRequest(type(CHARTER.group_id)("0" * 32), KEYS)
    )
    assert decoded(teller.answer(place(), THIRD.peer_id, elsewhere, 0.0)).code == "unknown-group"
    with pytest.raises(DecodeError):
        teller.answer(place(), THIRD.peer_id, b"\x80", 0.0)


def test_in_a_closed_group_members_are_told() -> None:
    closed = dataclasses.replace(CHARTER, founder=ME.peer_id)
    teller = exchange(SONGS)
    request = wire.encode_labels_request(wire.LabelsRequest(closed.group_id, KEYS))
    at = place(charter=closed)
    assert decoded(teller.answer(at, OTHER.peer_id, request, 0.0)).code == "not-invited"
    forged = wire.encode_labels_request(wire.LabelsRequest(closed.group_id, KEYS, b"forged"))
    with pytest.raises(RemoteError):
        teller.answer(at, OTHER.peer_id, forged, 0.0)
    assert isinstance(decoded(teller.answer(at, ME.peer_id, request, 0.0)), wire.LabelsAnswer)


def test_an_answer_fits_its_limit_and_the_rest_is_asked_again() -> None:
    # Letters of three bytes: 512 such labels are more than an answer holds.
    long = {}
    for n in range(600):
        title, by = "夜" * 250 + str(n), "歌" * 40
        long[music_key(by, title)] = label_of("music", title, by)
    keys = np.array(sorted(long), dtype=np.uint64)
    one, teller = exchange(), exchange(long)
    request = wire.LabelsRequest(CHARTER.group_id, keys[: wire.LIMITS.max_label_keys])
    answer = teller.answer(place(), ME.peer_id, wire.encode_labels_request(request), 0.0)
    assert len(answer) <= wire.LIMITS.max_labels_answer_bytes
    news = one.answered(OTHER.peer_id, request, answer, 0.0)
    assert 50 < news < wire.LIMITS.max_label_keys
    again = one.question(place(keys=request.keys), OTHER.peer_id, 0.0)
    assert again is not None
    assert len(again.keys) == len(request.keys) - news


def test_no_more_is_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LABELS", 10)
    heard = Heard("music", SONGS.items())
    assert len(heard) == 10
    assert [key for key, _ in heard] == list(SONGS)[-10:]
    assert len(exchange().missing(place())) == 10


def test_what_is_kept_is_checked_again_when_it_is_read() -> None:
    heard = Heard("music", SONGS.items())
    plain: Any = labels_to_plain(heard)
    assert dict(labels_from_plain("music", plain)) == SONGS
    assert len(labels_from_plain("film", plain)) == 0
    plain["labels"][0][1] = "Another"
    plain["labels"][1][2] = "\u202e"
    assert dict(labels_from_plain("music", plain)) == dict(list(SONGS.items())[2:])
    for wrong in (
        None,
        {},
        {"items": "music"},
        {"items": 7, "labels": []},
        {"items": "music", "labels": {}},
        {"items": "music", "labels": [["key", "a", "b"]]},
        {"items": "music", "labels": [[bytes(7), "a", "b"]]},
        {"items": "music", "labels": [[bytes(8), 7, "b"]]},
        {"items": "music", "labels": [[bytes(8), "a"]]},
        {"items": "music", "labels": [], "more": 1},
    ):
        with pytest.raises(DecodeError):
            labels_from_plain("music", wrong)


def test_items_named_by_ids_have_no_labels() -> None:
    for kind in ("opaque", "games"):
        with pytest.raises(ValueError, match="no labels"):
            Heard(kind)
