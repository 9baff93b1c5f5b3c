"""Names of groups: which look like what they are, and which may be taken for another."""

from __future__ import annotations

from dataclasses import replace
from unicodedata import normalize

import pytest

from openfl.core.errors import DecodeError
from openfl.core.names import is_unseen, mixed_scripts, name_problem, skeleton
from openfl.network.base import Verdict
from openfl.wire import messages as wire
from tests.group_rig import CHARTER
from tests.unit.test_group_cards import NOW, OTHER, Node

HONEST = [
    "music",
    "Nhạc Việt, điện tử",
    "हिन्दी संगीत",
    "क्षत्रिय",
    "ดนตรีไทย ปี่พาทย์ นี้",
    "موسيقى",
    "مُحَمَّد",
    "שִׁירָה",
    "한국 음악",
    normalize("NFD", "한국 음악"),
    "ᄒᆞᆫ글",
    "🎵 emoji 👍🏽",
    "日本のロック music",
    "རྒྱ་གར",
    "Ελληνική μουσική",
    "rock музыка",
    "မြန်မာ",
    "சங்கீதம்",
]
LOOKALIKES = [
    (" music", "begin or end with a space"),
    ("music ", "begin or end with a space"),
    ("", "must not be empty"),
    ("music\u2800", "U+2800 BRAILLE PATTERN BLANK"),
    ("music\u3164", "U+3164 HANGUL FILLER"),
    ("\u3164", "U+3164 HANGUL FILLER"),
    ("mus\u034fic", "U+034F COMBINING GRAPHEME JOINER"),
    ("mus\u200bic", "U+200B ZERO WIDTH SPACE"),
    ("mus\u202eic", "U+202E RIGHT-TO-LEFT OVERRIDE"),
    ("mu\u00a0sic", "U+00A0 NO-BREAK SPACE"),
    ("mu\tsic", "U+0009"),
    ("\u2764\ufe0f", "U+FE0F VARIATION SELECTOR-16"),
    ("\U0001f468\u200d\U0001f469", "U+200D ZERO WIDTH JOINER"),
    ("\u0645\u06cc\u200c\u062e", "U+200C ZERO WIDTH NON-JOINER"),
    ("music\U000e0041", "U+E0041"),
    ("a" + "\u0301" * 50, "twice on one letter"),
    ("a" + "\u0316\u0317\u0318\u0319\u031c", "more than 4 combining marks"),
    ("\u0301music", "no letter to bear it"),
    ("my \u0301music", "no letter to bear it"),
    (normalize("NFD", "música"), 'in the normal form NFC, as "música" is'),
]


@pytest.mark.parametrize("name", HONEST)
def test_names_of_any_writing_pass(name: str) -> None:
    assert name_problem(normalize("NFC", name)) is None
    assert mixed_scripts(name) == ()


@pytest.mark.parametrize(("name", "why"), LOOKALIKES)
def test_names_that_hold_what_is_not_seen_are_refused_with_its_name(name: str, why: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert why in problem


@pytest.mark.parametrize("name", [name for name, _ in LOOKALIKES])
def test_a_card_of_such_a_group_is_passed_over_and_nobody_is_blamed_for_it(name: str) -> None:
    """Nodes before this rule accept it, so whoever relays it has done nothing wrong."""
    if not name:
        return  # no node of any version can encode that
    one, other, third = Node(1), Node(2, charter=replace(OTHER, name=name)), Node(3, charter=OTHER)
    assert one.hear(other) is Verdict.IGNORE
    cards = tuple((wire.decode_directory(node.speak(NOW)), 0) for node in (other, third))
    one.cards.answered(wire.encode_answer(wire.CardsAnswer(cards)), NOW)
    assert one.cards.faults == {"card-name": 2}
    assert {k.card.charter.name for k in one.cards.known(NOW)} == {CHARTER.name, OTHER.name}


@pytest.mark.parametrize("name", ["mu\u3164sic", "a" + "\u0301" * 3, normalize("NFD", "música")])
def test_a_group_of_such_a_name_that_a_home_is_in_can_still_be_read(name: str) -> None:
    charter = replace(CHARTER, name=name)
    assert wire.charter_from_plain(charter.to_plain()) == charter


def test_what_never_was_a_name_is_still_refused() -> None:
    with pytest.raises(DecodeError):
        wire.charter_from_plain(replace(CHARTER, name="mu\x1bsic").to_plain())


def test_a_word_of_several_scripts_is_marked_and_looks_like_the_other() -> None:
    cyrillic = "musi\u0441"
    assert name_problem(cyrillic) is None
    assert mixed_scripts(cyrillic) == ("cyrillic", "latin")
    assert skeleton(cyrillic) == skeleton("music") == skeleton("Músic ") != skeleton("musik")
    # All of one script: nothing is mixed, and still it can be taken for "coco".
    assert mixed_scripts("\u0441\u043e\u0441\u043e") == ()
    assert skeleton("\u0441\u043e\u0441\u043e") == skeleton("coco")


def test_a_space_is_seen_and_a_newline_is_not() -> None:
    assert [is_unseen(c) for c in " a\u00e9\n\x7f\x85\u2028\ud800\ufff9"] == [False] * 3 + [
        True
    ] * 6
