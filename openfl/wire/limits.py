"""`LIMITS`: every bound on what is accepted from the network, in one place.

Part of the protocol: docs/protocol.md repeats the table, and tests compare the two. Bounds on what
a replica *keeps* are its own configuration (`openfl.aggregation.replica.ReplicaLimits`).
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_UINT = (1 << 63) - 1
"""Largest integer of any field: epochs, seqnos, counts."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are bytes of the encoded form unless the name says otherwise."""

    max_gossip_bytes: int = 640 * 1024
    """A message on any topic. Deltas above the sender's `inline_limit_bytes` are only announced."""
    max_delta_bytes: int = 512 * 1024
    """The body of one delta; a larger contribution is split over several."""
    max_envelope_bytes: int = 513 * 1024
    """A signed envelope: a body, the signer's key, the signature."""
    max_card_bytes: int = 64 * 1024
    max_invitation_bytes: int = 512
    """An invitation to a closed group, its envelope included."""
    max_request_bytes: int = 512 * 1024
    max_answer_bytes: int = 2 * 1024 * 1024
    max_page_bytes: int = 1024 * 1024
    """Most that an answer's envelopes are asked or allowed to have together (beyond the first)."""

    max_depth: int = 8
    """Nesting of CBOR arrays, maps and tags."""
    max_items: int = 65_536
    """CBOR items in one message; arrays of numbers are one item."""

    max_tables: int = 32
    max_width: int = 4096
    max_columns: int = 8192
    """Widths of all tables of a charter together."""
    max_delta_rows: int = 131_072
    max_name_chars: int = 64
    max_task_chars: int = 32
    max_metric_chars: int = 32
    max_hyperparameters: int = 64
    max_hyperparameter_chars: int = 256
    max_reason_chars: int = 200

    max_heartbeat_versions: int = 512
    max_known_versions: int = 8192
    """Entries of the version vector in a snapshot request."""
    max_wants: int = 512
    """Authors asked for in one pull."""
    max_answer_items: int = 16_384
    max_cards: int = 256
    max_label_keys: int = 512
    """Keys of a request for labels, and labels of its answer."""
    max_label_chars: int = 300
    """Each of the two texts of a label."""
    max_labels_request_bytes: int = 8 * 1024
    max_labels_answer_bytes: int = 128 * 1024
    max_age_seconds: int = (1 << 32) - 1


LIMITS = Limits()
