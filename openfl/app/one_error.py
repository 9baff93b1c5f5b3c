"""One exception comes out of a block of ours, not the groups that nurseries wrap around it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import trio

from openfl.core.errors import UserError


@contextlib.contextmanager
def one_error(of_owner: Sequence[BaseException] = ()) -> Iterator[list[BaseException]]:
    """Takes one exception out of the groups that nurseries wrap around it. For every context
    manager that holds a nursery open around other people's code: what they raise is theirs, and
    they catch it by its type.

    The block appends what the caller's code raised. That comes out as the same object; a UserError
    of the node without its group; of both, a group of the two. A bug among them is not hidden.
    of_owner: filled meanwhile with what functions raised that the caller had given; where the node
    ended by that alone, the first of it comes out.
    """
    of_block: list[BaseException] = []
    try:
        yield of_block
        return
    except BaseExceptionGroup as group:
        found = _one_of(group, of_block, of_owner)
        if found is None:
            raise
    # Out here, so that the group does not become its context; nor is its cause touched.
    raise found


def _one_of(
    group: BaseExceptionGroup[BaseException],
    of_block: Sequence[BaseException],
    of_owner: Sequence[BaseException],
) -> BaseException | None:
    """What to raise in place of `group`; None: the group itself."""
    # Leaves are compared: trio splits groups, and a group the block raised may be another by now.
    blocks = {id(leaf) for error in of_block for leaf in _leaves(error)}
    others = [
        leaf
        for leaf in _leaves(group)
        if id(leaf) not in blocks and not isinstance(leaf, trio.Cancelled)
    ]
    if of_block:
        if not others:
            return of_block[0]
        return BaseExceptionGroup("the block failed, and so did the node", [*of_block, *others])
    owners = {id(leaf) for error in of_owner for leaf in _leaves(error)}
    if others and all(id(leaf) in owners for leaf in others):
        return of_owner[0]
    if others and all(isinstance(leaf, UserError) for leaf in others):
        return others[0]
    return None


def is_cancelled(error: BaseException) -> bool:
    """Whether `error` is nothing but a cancellation: with a nursery in the block, that comes in a
    group."""
    return all(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
