"""What OpenSubsonic clients ask and how they are answered, as far as it is about which songs.

After https://opensubsonic.netlify.app/docs: `/rest/NAME` or `/rest/NAME.view`, parameters in the
address or as a form, answers in `subsonic-response`, as XML or with `f=json` as JSON, failures with
status 200 and a code. There is no audio here. Ids are those of the group's songs, and artists go by
`artist:` and their name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from openfl import __version__
from openfl.app.http.token import is_salted, is_token
from openfl.core.names import is_unseen
from openfl.core.song_ids import recording_id

API_VERSION = "1.16.1"
NAMESPACE = "http://subsonic.org/restapi"
EXTENSIONS = (
    {"name": "apiKeyAuthentication", "versions": [1]},
    {"name": "formPost", "versions": [1]},
)
ARTIST = "artist:"
USUAL_COUNT, MOST_SONGS = 50, 500
MAX_SALT_CHARS = 256

GENERIC, MISSING, WRONG_TOKEN, NO_PASSWORDS, CONFLICT, WRONG_KEY, NOT_FOUND = (
    *(0, 10, 40, 42, 43, 44, 70),
)


class Failure(Exception):
    """A request that fails, with a code of the protocol and words for its user."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def authenticate(parameters: Mapping[str, str], token: str) -> None:
    """Failure unless a request proves that it knows the token: by `apiKey`, or by `u`, `t` and `s`
    as if the token were a password. Passwords themselves are not taken."""
    ways = {"apiKey", "t", "s", "p"} & set(parameters)
    if "apiKey" in ways:
        if ways != {"apiKey"} or "u" in parameters:
            raise Failure(CONFLICT, "apiKey goes without u, p, t and s")
        if not is_token(parameters["apiKey"], token):
            raise Failure(WRONG_KEY, "the apiKey is not the one in players.token")
        return
    if "p" in ways:
        raise Failure(NO_PASSWORDS, "passwords are not taken: use the token in players.token")
    if not {"u", "t", "s"} <= set(parameters) or not parameters["s"]:
        raise Failure(MISSING, "required: apiKey, or u, t and s")
    salt = parameters["s"][:MAX_SALT_CHARS]
    if not is_salted(parameters["t"], salt, token):
        raise Failure(WRONG_TOKEN, "the password is not the token in players.token")


def count_of(parameters: Mapping[str, str]) -> int:
    """How many songs are asked for; Failure when that is no number above 0."""
    text = parameters.get("count", str(USUAL_COUNT))
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise Failure(GENERIC, f"count must be a number from 1, not {text[:20]!r}")
    return min(MOST_SONGS, int(text[:9]))


def required(parameters: Mapping[str, str], name: str) -> str:
    """A parameter; Failure when it is missing or empty."""
    if not parameters.get(name):
        raise Failure(MISSING, f"required parameter {name} is missing")
    return parameters[name]


def child(song: Mapping[str, Any]) -> dict[str, Any]:
    """A song as clients know songs; nothing is claimed of a file."""
    artist = song["artist"]
    return {
        "id": song["song_id"],
        "isDir": False,
        "isVideo": False,
        "type": "music",
        "mediaType": "song",
        "title": song["title"] or song["song_id"],
        "musicBrainzId": recording_id(song["song_id"]) or "",
        **({"artist": artist, "artistId": f"{ARTIST}{artist}"} if artist else {}),
    }


def response(form: str, content: Mapping[str, Any] | Failure) -> tuple[str, bytes]:
    """(media type, body) of an answer. form: the parameter `f`; jsonp would let pages read it."""
    plain: dict[str, Any] = {
        "status": "ok",
        "version": API_VERSION,
        "type": "openfl-node",
        "serverVersion": __version__,
        "openSubsonic": True,
    }
    if form not in ("xml", "json"):
        content, form = Failure(GENERIC, "f must be xml or json"), "json"
    if isinstance(content, Failure):
        plain["status"] = "failed"
        plain["error"] = {"code": content.code, "message": str(content)}
    else:
        plain.update(content)
    if form == "json":
        return "application/json", json.dumps({"subsonic-response": plain}).encode()
    root = _element("subsonic-response", {"xmlns": NAMESPACE, **plain})
    return "application/xml; charset=utf-8", ElementTree.tostring(
        root, encoding="utf-8", xml_declaration=True
    )


def _element(name: str, content: Mapping[str, Any]) -> ElementTree.Element:
    """Plain values are attributes, the others children; of a list one element each."""
    element = ElementTree.Element(name)
    for key, value in content.items():
        if isinstance(value, Mapping):
            element.append(_element(key, value))
        elif isinstance(value, list | tuple):
            for one in value:
                if isinstance(one, Mapping):
                    element.append(_element(key, one))
                else:
                    ElementTree.SubElement(element, key).text = _text(one)
        else:
            element.set(key, _text(value))
    return element


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # XML has no way at all to write control characters, half of a surrogate pair, or these two.
    never = "\ufffe\uffff"
    return "".join(
        "\ufffd" if c in never or (is_unseen(c) and c not in "\n\t") else c for c in str(value)
    )
