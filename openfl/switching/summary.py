"""`SummaryReader`: what a member says its group's model is, to see cheaply that it is no better.

A summary has each row of the model once, however many members have taught it, and is not signed.
So it may make a group look worse than it is, as whoever serves a snapshot may by leaving out what
is good; and better, which is why no move rests on one: what looks good is fetched signed and
compared again (`openfl.switching.look`).

Sans-IO. The driver repeats: send `request()` to a member, hand its answer to `answer`, until that
returns the summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from openfl.aggregation.quantize import QuantizedBlock
from openfl.aggregation.summary import RowCursor, summary_schema
from openfl.core.contribution import Charter
from openfl.core.errors import InvalidContribution, RemoteError
from openfl.core.model_view import DenseModel, DenseTable
from openfl.group.validation import validate_block
from openfl.wire import messages as wire


@dataclass(frozen=True, slots=True)
class Summary:
    """A group's model as one member told it. members: who else has taught it, as that one claims.
    replica: the digest by which the same model is recognised; empty when it changed meanwhile."""

    model: DenseModel
    members: int
    replica: bytes


@dataclass(slots=True)
class _Pages:
    """What has come from one member."""

    blocks: dict[str, list[QuantizedBlock]] = field(default_factory=dict)
    last: tuple[int, int] | None = None
    """(place of the table in the charter, key) of the last row."""
    rows: int = 0
    replica: bytes | None = None
    cursor: RowCursor | None = None


class SummaryReader:
    """One look's. known: what an earlier one brought. max_bytes: more is not fetched; page_bytes:
    asked for at a time; max_rows: more are refused; invitation: of the asker, in a closed group."""

    def __init__(
        self,
        charter: Charter,
        known: Summary | None,
        *,
        max_bytes: int,
        page_bytes: int,
        max_rows: int,
        invitation: bytes = b"",
    ) -> None:
        self.charter = charter
        self._known = known
        self._max_bytes = max_bytes
        self._page_bytes = page_bytes
        self._max_rows = max_rows
        self._invitation = invitation
        self._fetched_bytes = 0
        self._pages = _Pages()

    def begin(self) -> None:
        """Ask another member: nothing of what one says is mixed with what another says."""
        self._pages = _Pages()

    def request(self) -> bytes:
        """What to ask a member on `wire.SUMMARY_PROTOCOL`."""
        left = max(1, self._max_bytes - self._fetched_bytes)
        have = b"" if self._known is None or self._pages.cursor is not None else self._known.replica
        return wire.encode_summary_request(
            wire.SummaryRequest(
                self.charter.group_id,
                min(self._page_bytes, left),
                self._pages.cursor,
                have,
                self._invitation,
            )
        )

    def answer(self, payload: bytes) -> Summary | None:
        """Take in an answer: the summary when it is complete; None: ask again.

        DecodeError and InvalidContribution when it breaks the protocol; RemoteError when it is
        refused, or more than a look may fetch.
        """
        self._fetched_bytes += len(payload)
        answer = wire.decode_summary_answer(payload)
        if isinstance(answer, wire.Refusal):
            raise RemoteError(f'who was asked refused: "{answer.text}"')
        known, pages = self._known, self._pages
        if known is not None and answer.replica == known.replica and not answer.blocks:
            return Summary(known.model, answer.members, known.replica)
        before = pages.last
        for block in answer.blocks:
            self._take_in(block)
        pages.replica = answer.replica if pages.replica in (None, answer.replica) else b""
        pages.cursor = answer.cursor
        if answer.cursor is None:
            return Summary(self._model(), answer.members, pages.replica or b"")
        if pages.last == before:
            raise InvalidContribution("a page of a summary without rows, and more to come")
        if self._fetched_bytes >= self._max_bytes:
            raise RemoteError(f"a summary of more than {self._max_bytes:,} bytes")
        return None

    def _take_in(self, block: QuantizedBlock) -> None:
        tables = [schema.name for schema in self.charter.tables]
        if block.table not in tables:
            raise InvalidContribution(f"the group has no table {block.table!r}")
        validate_block(block, summary_schema(self.charter.table(block.table)))
        place = tables.index(block.table)
        last = self._pages.last
        if last is not None and (place, int(block.keys[0])) <= last:
            raise InvalidContribution("a summary that goes back to what it has told")
        self._pages.last = (place, int(block.keys[-1]))
        self._pages.rows += len(block)
        if self._pages.rows > self._max_rows:
            raise RemoteError(f"a model of more than {self._max_rows:,} rows")
        self._pages.blocks.setdefault(block.table, []).append(block)

    def _model(self) -> DenseModel:
        tables = {}
        for name, blocks in self._pages.blocks.items():
            tables[name] = DenseTable(
                np.concatenate([block.keys for block in blocks]),
                np.concatenate([block.values() for block in blocks]),
                np.concatenate([block.evidence for block in blocks]).astype(np.float64),
            )
        return DenseModel(self.charter, tables)
