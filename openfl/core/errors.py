"""The exception tree. Each class says whose fault it is and which exit code a command ends with.

- `UserError` and its children: the owner of this node can mend it (a bad file, a bad option,
  a port in use). A command prints one line and exits with `exit_code`.
- `RemoteError` and its children: another peer sent something it should not have. It is counted
  and held against that peer; it never ends the node, and no state changed.
- Anything else is a bug: it propagates.
"""

from __future__ import annotations


class OpenFLError(Exception):
    """Base of every error that OpenFL raises on purpose."""

    exit_code = 1


class UserError(OpenFLError):
    """Something the owner of this node can mend; the message is one clear line."""


class UsageError(UserError):
    """An option or argument of a command makes no sense."""

    exit_code = 2


class ConfigError(UserError):
    """The configuration is wrong; the message lists every problem found, one a line."""

    exit_code = 3


class DataError(UserError):
    """A data file is missing, malformed or unfit for the group; names file, line, column, value."""

    exit_code = 4


class NetworkError(UserError):
    """The network cannot be used: port in use, malformed or unreachable address."""

    exit_code = 5


class StateError(UserError):
    """Saved state cannot be read or written: disk full, no permission, corrupted identity."""

    exit_code = 6


class NotRunningError(UserError):
    """A command needs a running node, and none answers in this home folder."""

    exit_code = 7


class GroupError(UserError):
    """A group is unknown, ambiguous, or cannot be joined with this node's data."""

    exit_code = 8


class LearningError(UserError):
    """Learning ended without the result asked for (nothing learned, not better together)."""

    exit_code = 9


class RemoteError(OpenFLError):
    """Another peer is at fault; nothing of this node's state changed."""


class DecodeError(RemoteError):
    """Bytes from the network are not a message of this protocol."""


class InvalidContribution(RemoteError):
    """A well-formed message breaks the rules of its group (schema, bounds, author)."""


class InvalidSignature(RemoteError):
    """A signed envelope does not verify, or its signer is not who it should be."""


class RequestFailed(RemoteError):
    """A request got no usable answer: peer unreachable, stream reset, timeout, answer too large.

    `cause`: in a few words, without addresses and ids, for lines that have no room for all.
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause or message
