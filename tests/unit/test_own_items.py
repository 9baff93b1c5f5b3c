"""Counting items among those of a group, and guessing how they are written there."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from openfl.core.contribution import Keys, is_key_of, item_key, plain_key
from openfl.learning.own_items import OwnItems

BITS = 40


def keys_of(*ids: str) -> Keys:
    return np.unique(np.array([item_key(i, BITS) for i in ids], np.uint64))


def items(*ids: str) -> OwnItems:
    return OwnItems("items", keys_of(*ids), ids, BITS, "songs")


def test_items_are_counted_by_their_keys() -> None:
    assert items("1", "2", "3").among(keys_of("2", "3", "4", "5")) == 2
    assert items("1").among(keys_of()) == 0


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (("17.0", "18.0"), ("17", "18"), 'without ".0" at the end'),
        (("17", "18"), ("17.0", "18.0"), 'with ".0" at the end'),
        (("0017", "0018"), ("17", "18"), "without zeros in front"),
        (("a b", "c\u200bd"), ("ab", "cd"), "without spaces and invisible characters"),
        (("ABC", "DEF"), ("abc", "def"), "in lower case"),
        (("abc", "def"), ("ABC", "DEF"), "in upper case"),
    ],
)
def test_the_spelling_of_the_group_is_guessed(
    mine: tuple[str, ...], theirs: tuple[str, ...], words: str
) -> None:
    assert items(*mine).spelling(keys_of(*theirs)) == (words, 2)


def test_where_no_spelling_helps_none_is_named() -> None:
    assert items("a", "b").spelling(keys_of("x", "y")) == ("", 0)


def test_members_of_older_versions_with_decomposed_ids_are_recognised() -> None:
    old = np.array([plain_key(unicodedata.normalize("NFD", "caf\u00e9"), BITS)], np.uint64)
    words, found = items("caf\u00e9").spelling(old)
    assert found == 1
    assert "older version" in words


def test_a_name_is_one_row_however_its_accents_are_encoded() -> None:
    assert item_key("cafe\u0301", BITS) == item_key("caf\u00e9", BITS)
    assert item_key("17", BITS) != item_key("17.0", BITS)
    assert item_key("plain", BITS) == plain_key("plain", BITS)


def test_a_row_may_have_the_name_that_an_older_version_gave_it() -> None:
    for key in (plain_key("cafe\u0301", BITS), item_key("caf\u00e9", BITS)):
        assert is_key_of(key, "cafe\u0301", BITS)
    assert not is_key_of(plain_key("cafe\u0301", BITS), "caf\u00e9", BITS)
