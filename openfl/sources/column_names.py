"""What the columns of a table are called, in the data sets and exports that people have."""

from __future__ import annotations

from collections.abc import Mapping

_USER = """user userid uid users username profileid customerid memberid listenerid listener person
personid reviewerid raterid account accountid visitorid playerid useridx userindex who subject"""
_ITEM = """item itemid iid movie movieid film filmid song songid track trackid book bookid isbn
isbn13 product productid asin parentasin artistid gameid game appid anime animeid jokeid joke show
showid recipeid beerid businessid hotelid placeid articleid videoid imdbid albumid itemidx
itemindex trackuri spotifytrackuri songhash"""
_RATING = """rating ratings score stars star overall bookrating yourrating myrating userrating
preference vote grade value reviewscore reviewoverall"""
_PLAYS = """plays playcount count counts weight listens listencount nplays timesplayed scrobbles
frequency freq views"""
_TIME = """timestamp time ts date datetime unixtime unixreviewtime utctime playedat listenedat
ratedat dateadded daterated created createdat utc uts lastplayed reviewtime at"""
_TITLE = """title name trackname tracktitle songtitle songname movietitle booktitle filmtitle
itemname itemtitle originaltitle productname"""
_ARTIST = """artist artistname artists author authors bookauthor albumartist creator director"""

NAMES: Mapping[str, tuple[str, ...]] = {
    "user": tuple(_USER.split()),
    "item": tuple(_ITEM.split()),
    "rating": tuple(_RATING.split()),
    "plays": tuple(_PLAYS.split()),
    "time": tuple(_TIME.split()),
    "title": tuple(_TITLE.split()),
    "artist": tuple(_ARTIST.split()),
}
"""Role -> plain names, the likeliest first."""
_KNOWN = frozenset(name for names in NAMES.values() for name in names)


def known_name(plain: str) -> bool:
    """Whether a column of this plain name has a role."""
    return plain in _KNOWN


def plain_name(text: str) -> str:
    """The name of a column as names are compared: "User-ID" and "user_id" are "userid"."""
    return "".join(c for c in text.lower() if c.isalnum())
