"""What no node uses of libp2p and SciPy is not loaded: tens of megabytes and most of a second."""

from __future__ import annotations

import functools


@functools.cache
def set_up() -> None:
    """Have the parts of libp2p and NumPy that no node uses loaded when they are called, if ever.

    Changes how this process imports (see the two modules), so it is done by whoever starts a node
    and never by importing something. To be called before anything imports libp2p's host or
    `scipy.sparse`; afterwards it changes nothing.
    """
    from openfl.learning.lazy_imports import import_scipy_sparse

    postpone_libp2p()
    import_scipy_sparse()


@functools.cache
def postpone_libp2p() -> None:
    """The part of `set_up` that concerns libp2p; nothing is imported yet, so it costs nothing."""
    from openfl.network.libp2p.lazy_imports import postpone_what_no_node_uses

    postpone_what_no_node_uses()
