"""Labels: what items are called, as far as a node has heard; asking others, and telling them.

A name proves itself by its key, so it may come from anybody and be given on. What is asked for
depends on what is public and on what others have told, and on nothing of this node's own: neither
on its data nor on what it would recommend. So a node asks for the labels of its own items, too.

Sans-IO: the driver sends what `question` gives, and hands in requests and answers
(`openfl.node.label_driver`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from openfl.core.contribution import GroupId, Keys, PeerId
from openfl.core.errors import DecodeError, InvalidContribution
from openfl.core.rate_limit import RateLimiter
from openfl.group.admission import Admission
from openfl.items import KINDS, OPAQUE, Label, is_newer, label_name, label_problem
from openfl.wire import messages as wire

MAX_LABELS = 50_000
"""Labels that are kept, of about 60 bytes each; of more, the oldest go."""
VAIN_SECONDS = 180.0
"""Until a peer is asked again for the label of a key that it did not tell."""
SILENT_SECONDS = 20.0
"""Until a peer is asked again that did not answer."""
MAX_PEERS = 64
"""Of whom is kept what they were asked."""
REQUESTS_PER_SECOND = 1.0
REQUESTS_AT_ONCE = 16.0
COLLISION = "labels-collision"


class FalseLabel(InvalidContribution):
    """A label that is not the label of its key."""


class Heard:
    """Labels that others told, by key: of one kind of items, each checked, and few enough."""

    def __init__(self, kind: str, labels: Iterable[tuple[int, Label]] = ()) -> None:
        """ValueError when items of this kind have no labels. Of `labels`, those are passed over
        that are not what they should be."""
        if kind not in KINDS or kind == OPAQUE:
            raise ValueError(f"items of kind {kind!r} have no labels")
        self.kind = kind
        self.changes = 0
        """Grows with every label that is taken in."""
        self.collisions = 0
        """Keys of which two names were told: the first stays."""
        self._labels: OrderedDict[int, Label] = OrderedDict()
        for key, label in labels:
            self.add(key, label)

    def __len__(self) -> int:
        return len(self._labels)

    def __contains__(self, key: int) -> bool:
        return key in self._labels

    def __iter__(self) -> Iterator[tuple[int, Label]]:
        return iter(self._labels.items())

    def get(self, key: int) -> Label | None:
        """The label of a row; None when nobody told it."""
        return self._labels.get(key)

    def problem(self, key: int, label: Label) -> str | None:
        """Why a label must not be taken in; None when it may. See `openfl.items.label_problem`."""
        return None if self._labels.get(key) == label else label_problem(self.kind, key, label)

    def take(self, other: Heard) -> None:
        """Take in what another has of the same kind, checked when it came there."""
        for key, label in other:
            if key not in self._labels and len(self._labels) < MAX_LABELS:
                self._labels[key] = label
                self.changes += 1

    def add(self, key: int, label: Label) -> bool:
        """Take in a label; False when it is not news, or not the label of its key."""
        known = self._labels.get(key)
        if known == label or label_problem(self.kind, key, label) is not None:
            return False
        if known is not None:
            self.collisions += label_name(self.kind, known) != label_name(self.kind, label)
            return False
        self._labels[key] = label
        self.changes += 1
        if len(self._labels) > MAX_LABELS:
            self._labels.popitem(last=False)
        return True


def _nothing(key: int) -> Label | None:
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """Where labels are asked for and told: a group whose items have names.

    keys: uint64[n] ascending, the items' rows in the group's model. own: the label that this node
    tells from its own data; None of a row that it has not published.
    """

    group_id: GroupId
    keys: Keys
    admission: Admission
    own: Callable[[int], Label | None] = _nothing


@dataclass(slots=True)
class _Asked:
    since: float
    keys: set[int] = field(default_factory=set)
    silent_until: float = 0.0


class LabelExchange:
    """Asks and answers for a node; `heard` is what comes of it."""

    def __init__(self, heard: Heard, rng: np.random.Generator) -> None:
        self.heard = heard
        self.faults: Counter[str] = Counter()
        """What was refused, by name."""
        self._rng = rng
        self._rate = RateLimiter(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._asked: OrderedDict[PeerId, _Asked] = OrderedDict()
        self._fit: dict[int, bool] = {}
        self._missing: tuple[Place, int, Keys] | None = None

    # --- what others ask --------------------------------------------------------------------------

    def answer(self, place: Place, peer: PeerId, payload: bytes, now: float) -> bytes:
        """The answer to a peer's request; RemoteError when it is malformed."""
        request = wire.decode_labels_request(payload)
        if request.group_id != place.group_id:
            return _refuse("unknown-group", f"this node is in group {place.group_id}")
        if not self._rate.allow(peer, now):
            self.faults["labels-rate"] += 1
            return _refuse("busy", "too many requests")
        if request.invitation:
            place.admission.learn(request.invitation, peer)
        if not place.admission.admits(peer):
            self.faults["not-invited"] += 1
            return _refuse("not-invited", "this group is closed: show a valid invitation")
        found: list[tuple[int, Label]] = []
        for key in request.keys.tolist():
            # As others write it, where they have told it: that is not to say who knows it.
            label = self.heard.get(key)
            if label is None:
                label = place.own(key)
                if label is not None and not self._is_fit(key, label):
                    continue
            if label is not None:
                found.append((key, label))
        return wire.encode_labels_answer(wire.LabelsAnswer(tuple(found)))

    def _is_fit(self, key: int, label: Label) -> bool:
        """Whether others would take it: what stands in a file may be fit for its owner only."""
        if key not in self._fit:
            self._fit[key] = label_problem(self.heard.kind, key, label) is None
        return self._fit[key]

    # --- what this node asks ----------------------------------------------------------------------

    def missing(self, place: Place) -> Keys:
        """uint64[m] ascending: rows of the group whose label nobody has told, at most as many as
        can be kept."""
        known = self._missing
        if known is not None and known[0] is place and known[1] == self.heard.changes:
            return known[2]
        keys = place.keys[:MAX_LABELS]  # keys are hashes, so the first are any
        heard = np.fromiter((key in self.heard for key in keys.tolist()), np.bool_, len(keys))
        self._missing = (place, self.heard.changes, keys[~heard])
        return self._missing[2]

    def question(self, place: Place, peer: PeerId, now: float) -> wire.LabelsRequest | None:
        """What to ask the peer now: any of what is missing and was not asked of it lately; None
        when there is no such key."""
        asked = self._of(peer, now)
        if now < asked.silent_until:
            return None
        missing = [key for key in self.missing(place).tolist() if key not in asked.keys]
        if not missing:
            return None
        count = min(len(missing), wire.LIMITS.max_label_keys)
        chosen = self._rng.choice(np.array(missing, dtype=np.uint64), count, replace=False)
        return wire.LabelsRequest(place.group_id, np.sort(chosen), place.admission.own)

    def answered(
        self, peer: PeerId, request: wire.LabelsRequest, payload: bytes, now: float
    ) -> int:
        """How many labels of the peer's answer are news. RemoteError when it breaks the protocol or
        lies; then nothing of it is kept. A refusal is no news."""
        answer = wire.decode_labels_answer(payload)
        if isinstance(answer, wire.Refusal):
            return 0
        asked = set(request.keys.tolist())
        told = [(key, label) for key, label in answer.labels if not is_newer(label)]
        for key, label in told:
            problem = "not asked for" if key not in asked else self.heard.problem(key, label)
            if problem is not None:
                self.faults["labels-false"] += 1
                raise FalseLabel(f"a false label: {problem}")
        if len(payload) > wire.LIMITS.max_labels_answer_bytes // 2 and answer.labels:
            # The highest keys may have been left out for want of room: they are asked again.
            last = answer.labels[-1][0]
            asked = {key for key in asked if key <= last}
        self._of(peer, now).keys.update(asked)
        collisions = self.heard.collisions
        news = sum(self.heard.add(key, label) for key, label in told)
        if self.heard.collisions > collisions:
            self.faults[COLLISION] += self.heard.collisions - collisions
        return news

    def in_vain(self, peer: PeerId, request: wire.LabelsRequest, now: float) -> None:
        """The peer has lied: others are asked for these before it is again."""
        self._of(peer, now).keys.update(request.keys.tolist())

    def silent(self, peer: PeerId, now: float) -> None:
        """The peer has not answered in time, or not at all: others are asked for a while."""
        self._of(peer, now).silent_until = now + SILENT_SECONDS

    def _of(self, peer: PeerId, now: float) -> _Asked:
        asked = self._asked.get(peer)
        if asked is None or now - asked.since > VAIN_SECONDS:
            asked = self._asked[peer] = _Asked(now)
            if len(self._asked) > MAX_PEERS:
                self._asked.popitem(last=False)
        self._asked.move_to_end(peer)
        return asked


def _refuse(code: str, text: str) -> bytes:
    return wire.encode_labels_answer(wire.Refusal(code, text))


# --- on disk --------------------------------------------------------------------------------------

LABELS_VERSION = 1


def labels_to_plain(heard: Heard) -> dict[str, object]:
    """For `openfl.storage.state_files`; keys are 8 bytes, big-endian."""
    return {
        "items": heard.kind,
        "labels": [[key.to_bytes(8, "big"), label.title, label.by] for key, label in heard],
    }


def labels_from_plain(kind: str, plain: object) -> Heard:
    """What `labels_to_plain` made, each label checked again; DecodeError when it is something else.
    Labels of another kind of items are none of this one."""
    match plain:
        case {"items": str(items), "labels": list(rows)} if (
            isinstance(plain, dict) and len(plain) == 2
        ):
            if items != kind:
                return Heard(kind)
            if len(rows) > MAX_LABELS:
                raise DecodeError(f"more than {MAX_LABELS} labels")
            return Heard(kind, map(_row, rows))
    raise DecodeError("not labels")


def _row(row: object) -> tuple[int, Label]:
    match row:
        case [bytes(key), str(title), str(by)] if len(key) == 8:
            return int.from_bytes(key, "big"), Label(title, by)
    raise DecodeError("not a label")
