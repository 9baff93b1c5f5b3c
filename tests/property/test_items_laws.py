"""Names of items, whatever text they are made from: one way to write each, and no surprises."""

from __future__ import annotations

import unicodedata

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from openfl.core.names import is_unseen
from openfl.items import (
    MAX_CHARACTERS,
    Label,
    NoName,
    canonical_book,
    canonical_film,
    canonical_music,
    display_film,
    display_music,
    item_key,
    label_name,
    label_of,
    label_problem,
)

law = settings(max_examples=400, deadline=None, derandomize=True)

# Pieces that the rules look for, put together in any order, and any text at all.
PIECES = st.sampled_from(
    [
        *"()[]{}-.,;:!?$#&+/'\"@| ",
        " - ",
        " (Live)",
        " [feat. X]",
        " ft. ",
        "feat.",
        " - Remastered 2011",
        "the ",
        ", The",
        " vs. ",
        "VEVO",
        " - Topic",
        " Official",
        "Pt. II",
        " no. 5",
        "#1",
        "2011",
        " from ",
        "theme",
        "Tyler",
        "The",
        "Song",
        "é",
        "e\u0301",
        "\u0301",
        "ß",
        "İ",
        "ı",  # noqa: RUF001
        "й",
        "ё",
        "が",
        "\u3099",
        "ﾊﾞ",
        "강",
        "\u1100",
        "\u1161",
        "\u11a8",
        "ﷺ",
        "\u0345",
        "ᾳ",
        "\u200b",
        "\u202e",
        "\ud800",
        "\x00",
        "\n",
        "😀",
        "\u2126",
        "ﬁ",
        "²",
        "१",
        "x",
        "7",
        "\U00031350",
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, min_size=1, max_size=12).map("".join),
    st.text(st.characters(), min_size=1, max_size=30),
    st.text(min_size=1, max_size=12),
)
KINDS = st.sampled_from(["music", "film", "book"])


def named(kind: str, title: str, by: str) -> Label | None:
    try:
        return label_of(kind, title, by)
    except NoName:
        return None


@law
@given(TEXTS, TEXTS)
@example("the", "the the the")
@example("ft. x", "song f.t. f.t. y (feat. z)")
@example("\u0301a", "p t")
def test_a_canonical_song_is_its_own_canonical_form(artist: str, title: str) -> None:
    try:
        name = canonical_music(artist, title)
    except NoName:
        return
    by, title = name.split(" - ", 1)
    assert by
    assert title
    assert canonical_music(by, title) == name
    assert display_music(by, title) == (by, title)


@law
@given(TEXTS, TEXTS)
def test_what_is_displayed_of_a_song_is_the_song_and_stays_as_it_is(
    artist: str, title: str
) -> None:
    try:
        shown = display_music(artist, title)
    except NoName:
        return
    assert display_music(*shown) == shown
    assert canonical_music(*shown) == canonical_music(artist, title)
    assert not any(is_unseen(c) for text in shown for c in text)


@law
@given(TEXTS, TEXTS)
def test_normal_forms_and_what_is_not_seen_make_no_difference(artist: str, title: str) -> None:
    def name(form: str | None, hidden: str = "") -> str | None:
        texts = [
            hidden + (unicodedata.normalize(form, text) if form else text) + hidden
            for text in (artist, title)
        ]
        try:
            return canonical_music(texts[0], texts[1])
        except NoName:
            return None

    # Signs of trade marks are left out; their compatibility forms are letters, "TM" and "SM".
    assume(not {"\u2122", "\u2120"} & {*artist, *title})
    plain = name(None)
    assert name("NFC") == name("NFD") == name("NFKC") == name("NFKD") == plain
    assert name(None, "\u200b") == name(None, "\ufeff") == plain


@law
@given(KINDS, TEXTS, st.one_of(TEXTS, st.sampled_from(["", "1999"])))
def test_labels_are_their_own_labels_and_prove_their_key(kind: str, title: str, by: str) -> None:
    label = named(kind, title, by)
    if label is None:
        return
    assert label_of(kind, label.title, label.by) == label
    key = item_key(kind, title, by)
    problem = label_problem(kind, key, label)
    # A name may be fit for a file and not for strangers' eyes: piles of marks, or of signs.
    assert problem in (
        None,
        "characters that a name must not have",
        "more signs than letters",
        "longer than 300 characters",
    )
    assert label_problem(kind, key ^ 1, label) is not None
    assert label_name(kind, label).encode()


@law
@given(TEXTS)
def test_films_and_books_are_their_own_canonical_form(title: str) -> None:
    try:
        shown, year = display_film(title)
        name = canonical_film(title)
    except NoName:
        return
    assert display_film(shown, year) == (shown, year)
    assert canonical_film(shown, year) == name
    book = canonical_book(title, title)
    author, folded = book.split(" - ", 1)
    assert canonical_book(folded, author) == book


@law
@given(st.text(st.characters(), min_size=MAX_CHARACTERS + 1, max_size=MAX_CHARACTERS + 40))
def test_longer_texts_are_no_names(text: str) -> None:
    for make in (lambda: canonical_music("a", text), lambda: canonical_film(text)):
        try:
            make()
        except NoName:
            continue
        raise AssertionError(text)
