"""`RULES`: what of a song's artist and title does not count, each with its reason and examples.

The one table of the rule set: `openfl.items.music` carries it out, docs/items.md shows it, and a
test holds every example to it. Whoever changes a rule changes keys: then `RULES_VERSION` grows.
"""

from __future__ import annotations

from dataclasses import dataclass

RULES_VERSION = 1
"""In the charters of groups whose items have such names: nodes with other rules learn elsewhere."""

Name = tuple[str, str]
"""(artist, title)"""


@dataclass(frozen=True, slots=True)
class Rule:
    """name: a short word; what: what is done; why: because of whom; same, other: pairs of
    (artist, title) that are one song because of it, and that must not become one."""

    name: str
    what: str
    why: str
    same: tuple[tuple[Name, Name], ...] = ()
    other: tuple[tuple[Name, Name], ...] = ()


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# --- the words that the rules know ---------------------------------------------------------------

CREDITS = frozenset({"feat", "ft", "featuring"})
CREDITS_IN_BRACKETS = CREDITS | {"with", "prod", "produced", "duet"}

REMASTER = _set(
    "remaster remasters remastered remastering remasterizado remasterizada remasterise"
    " remasterisee rimasterizzato remasterisiert"
)

TAKES = _set(
    "live acoustic unplugged demo demos mono stereo version versions mix edit edition take outtake"
    " session sessions rehearsal single album lp ep studio original explicit clean bonus ver"
    " audio video videoclip visualizer visualiser lyric lyrics official theme recording"
    " soundtrack ost hd hq uhd 4k 8k mv"
)
"""One of these must be in a tail, or a remaster."""

AROUND = _set(
    "the a at in on from of and digital digitally new full length short long radio extended special"
    " deluxe expanded alternate alternative early first main music uk us usa inch track only"
    " super anniversary real high quality upgrade electric uncut uncensored censored motion"
    " picture film movie tv series bbc mtv january february march april may june july august"
    " september october november december"
)
"""What may stand beside them."""

FOREIGN_TAILS = (
    ("ao", "vivo"),
    ("en", "vivo"),
    ("en", "directo"),
    ("en", "concert"),
    ("en", "concierto"),
    ("dal", "vivo"),
    ("in", "concert"),
    ("video", "oficial"),
    ("videoclip", "oficial"),
    ("clipe", "oficial"),
    ("audio", "oficial"),
    ("clip", "officiel"),
    ("offizielles", "video"),
    ("offizielles", "musikvideo"),
    ("video", "ufficiale"),
)
FOREIGN_WORDS = frozenset(
    {
        "\u30e9\u30a4\u30d6",
        "\u30e9\u30a4\u30f4",
        "\ub77c\uc774\ube0c",
        "\u73b0\u573a",
        "\u73fe\u5834",
    }
)
"""Live, in Japanese, Korean and Chinese."""

PLACES = _set("at in from on aid lounge")
"""What begins the place behind "live"."""

OTHER_SONGS = _set(
    "remix rmx remixed rework reworked bootleg mashup vip flip instrumental instrumentals karaoke"
    " cover covered tribute reprise interlude dub cappella acapella acappella capella sped speed"
    " slowed nightcore reverb inst spanish english german french italian japanese korean"
    " \u30ea\u30df\u30c3\u30af\u30b9 \ub9ac\ubbf9\uc2a4 \u0440\u0435\u043c\u0438\u043a\u0441"
    " \u30ab\u30e9\u30aa\u30b1"
)
"""A tail with one of these stays: it is another song."""

FILM_WORDS = _set("soundtrack motion picture film movie ost series musical broadway")

NUMBERED = _set("part volume chapter act book no op movement")
"""Behind these a single Roman letter, or a word, is a number."""

SPELLINGS = {
    "pt": "part",
    "pts": "part",
    "parts": "part",
    "vol": "volume",
    "vols": "volume",
    "ch": "chapter",
    "cap": "chapter",
    "nr": "no",
    "vs": "versus",
    "kv": "k",
}
COUNTED = {
    word: number
    for number, word in enumerate(_list("one two three four five six seven eight nine ten"), 1)
}
ROMAN = {
    roman: number
    for number, roman in enumerate(
        _list("i ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx"), 1
    )
}

NAMES_WITH_COMMA = (
    ("tyler", "the", "creator"),
    ("now", "now"),
    ("oh", "sleeper"),
    ("invent", "animate"),
    ("i", "the", "breather"),
    ("me", "first"),
    ("hello", "my", "name", "is"),
)
"""Artists whose one name is written with a comma, and without "and"."""


RULES: tuple[Rule, ...] = (
    Rule(
        "writing",
        "Unicode's normal form KC, then case folding; what is not seen goes",
        "sources differ in case, in full and half width, in ligatures and in what word processors"
        " leave behind",
        same=(
            (("ADELE", "HELLO"), ("Adele", "Hello")),
            (("Ｐｅｒｆｕｍｅ", "ﾌﾗｯｼｭ"), ("Perfume", "フラッシュ")),  # noqa: RUF001
            (("Adele", "Hel\u00adlo\u200b"), ("Adele", "Hello")),
        ),
    ),
    Rule(
        "marks",
        "accents, points and strokes go where the script is also written without: Latin, Greek,"
        " Hebrew, Arabic, stress and the dots of yo in Cyrillic; elsewhere they are letters",
        "half of all libraries have Sigur Ros for Sigur Rós; no Japanese has か for が",
        same=(
            (("Sigur Rós", "Hoppípolla"), ("Sigur Ros", "Hoppipolla")),
            (("Алла Пугачёва", "Всё"), ("Алла Пугачева", "Все")),  # noqa: RUF001
            (("أم كلثوم", "إنت عمري"), ("ام كلثوم", "انت عمري")),
        ),
        other=(
            (("あいみょん", "ハルノヒ"), ("あいみょん", "バルノヒ")),
            (("Кино", "Мой"), ("Кино", "Мои")),
        ),
    ),
    Rule(
        "signs",
        "punctuation, symbols and spaces go; & and + are the word and, @ is at, $ beside a letter"
        " is s, ! between two is i. Two digits stay apart. A name of nothing but signs keeps them",
        "AC/DC, R.E.M. and Jay-Z are written in every way there is",
        same=(
            (("AC/DC", "T.N.T."), ("ACDC", "TNT")),
            (
                ("Florence + The Machine", "Shake It Out"),
                ("Florence & the Machine", "Shake it Out"),
            ),
            (("P!nk", "So What"), ("Pink", "So What?")),
            (("!!!", "Pardon My Freedom"), ("!!!", "pardon my freedom")),
        ),
        other=(
            (("XXXTENTACION", "???"), ("XXXTENTACION", "!")),
            (("Bach", "Canon 1 a 1"), ("Bach", "Canon 11 a 1")),
        ),
    ),
    Rule(
        "articles",
        '"the" in front goes, from "Beatles, The", too, unless nothing is left',
        "catalogues that sort by name leave it out or put it behind",
        same=(
            (("The Beatles", "The Word"), ("Beatles, The", "Word")),
            (("The The", "This Is the Day"), ("The The", "This is the day")),
        ),
        other=((("The Band", "The Weight"), ("Band of Horses", "The Weight")),),
    ),
    Rule(
        "credits",
        "who else is heard goes: from feat., ft. or featuring on (of artists also from presents or"
        " vs. on), and brackets that begin so or with with, prod. or duet, or that name the artist"
        " among others; of artists in a list of commas or semicolons (without an and) the first"
        " counts",
        "one source has the guests with the artist, another in the title, a third not at all",
        same=(
            (("Drake", "One Dance (feat. Wizkid & Kyla)"), ("Drake ft. Wizkid", "One Dance")),
            (("Dua Lipa, DaBaby", "Levitating"), ("Dua Lipa", "Levitating")),
            (
                ("JAY-Z", "Empire State of Mind [Jay-Z + Alicia Keys]"),
                ("Jay Z", "Empire State Of Mind"),
            ),
        ),
        other=(
            (("Sleeping With Sirens", "Alone"), ("Sleeping", "Alone")),
            (("U2", "With or Without You"), ("U2", "You")),
        ),
    ),
    Rule(
        "tails",
        "brackets and what stands behind a dash go when they tell only the take: remastered with"
        " whatever is beside it; live with its place; and words such as mono, demo, acoustic, radio"
        " edit, single version, bonus track, explicit, official video, a date",
        "who plays Bohemian Rhapsody - Remastered 2011 and who plays Bohemian Rhapsody like one"
        " song",
        same=(
            (("Queen", "Bohemian Rhapsody - Remastered 2011"), ("Queen", "Bohemian Rhapsody")),
            (("Prince", "Purple Rain - 2015 Paisley Park Remaster"), ("Prince", "Purple Rain")),
            (
                ("Deep Purple", "Smoke on the Water (Live in Osaka 1972)"),
                ("Deep Purple", "Smoke On The Water"),
            ),
            (
                ("The Beach Boys", "God Only Knows - Mono / 1997 Remaster"),
                ("The Beach Boys", "God Only Knows"),
            ),
            (("Anitta", "Vai Malandra (Ao Vivo)"), ("Anitta", "Vai Malandra")),
        ),
        other=(
            (("Oasis", "Live Forever"), ("Oasis", "Forever")),
            (("Outkast", "So Fresh, So Clean"), ("Outkast", "So Fresh")),
            (
                ("Kate Bush", "Running Up That Hill (A Deal With God)"),
                ("Kate Bush", "A Deal With God"),
            ),
        ),
    ),
    Rule(
        "other songs",
        "a tail stays when it tells of a remix, a cover, karaoke, an instrumental, a reprise, a"
        " dub, another speed or language, or has any word that is not known",
        "somebody else made it, or it lacks the singer: whoever likes the one need not like the"
        " other",
        other=(
            (
                ("Robyn", "Dancing On My Own (Radio Edit)"),
                ("Robyn", "Dancing On My Own (Fred Falke Remix)"),
            ),
            (("Mr. Probz", "Waves"), ("Mr. Probz", "Waves - Robin Schulz Radio Edit")),
            (("Dr. Dre", "Still D.R.E."), ("Dr. Dre", "Still D.R.E. (Instrumental)")),
        ),
    ),
    Rule(
        "other scripts",
        "brackets behind an artist go; of a title those without a Latin letter, behind a name that"
        " has some",
        "they tell the name in another script, or which of two artists it is",
        same=(
            (("IU (아이유)", "Blueming"), ("IU", "Blueming")),
            (("PSY", "Gangnam Style (강남스타일)"), ("PSY", "Gangnam Style")),
        ),
        other=((("(G)I-DLE", "TOMBOY"), ("I-DLE", "TOMBOY")),),
    ),
    Rule(
        "films",
        "brackets and tails go that begin with from or theme from and name a film: by quotes, or"
        " by soundtrack, motion picture, film, series, musical",
        "streaming services add it for songs of films, and listeners' own files do not have it",
        same=(
            (("Idina Menzel", 'Let It Go (From "Frozen")'), ("Idina Menzel", "Let It Go")),
            (("Eminem", 'Lose Yourself - From "8 Mile" Soundtrack'), ("Eminem", "Lose Yourself")),
        ),
        other=((("The Beatles", "From Me to You"), ("The Beatles", "You")),),
    ),
    Rule(
        "numbers",
        "pt. and parts are part, vol. is volume, vs. is versus, n between words is and; Roman"
        " numbers from II to XX, single ones behind part and the like or as a movement's, and one"
        " to ten behind part are digits; no. and # before a number go",
        "Part II, Pt. 2 and Part Two are one, and so are Symphony No. 5 and Symphony #5",
        same=(
            (("Nas", "N.Y. State of Mind, Pt. II"), ("Nas", "NY State Of Mind (Part 2)")),
            (("Salt-N-Pepa", "Push It"), ("Salt & Pepa", "Push It")),
            (
                ("Ludwig van Beethoven", "Symphony No. 5 in C Minor, Op. 67: I. Allegro con brio"),
                ("Ludwig van Beethoven", "Symphony #5 in C minor, Op.67: 1. Allegro Con Brio"),
            ),
        ),
        other=(
            (("Metallica", "The Unforgiven"), ("Metallica", "The Unforgiven II")),
            (("Kendrick Lamar", "i"), ("Kendrick Lamar", "1")),
        ),
    ),
    Rule(
        "channels",
        'of an artist "- Topic", "VEVO" and "Official" behind the name go; of a title the artist,'
        " when it stands before or behind a dash, or, at the beginning, before a colon",
        "video sites have channels for artists, and titles that begin with them",
        same=(
            (("Adele - Topic", "Hello"), ("Adele", "Hello")),
            (("AdeleVEVO", "Adele - Hello (Official Music Video)"), ("Adele", "Hello")),
        ),
        other=((("Black Sabbath", "Black Sabbath"), ("Black Sabbath", "Paranoid")),),
    ),
)
