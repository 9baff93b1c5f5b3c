"""One peer: network, discovery, directory, and one membership at a time.

`node` puts the parts together and runs them; `first_group` chooses where it begins, and
`membership_factory` opens a membership there; `place` says where it is now. `moves` takes orders to
be elsewhere, `group_change` carries one out, `farewell` says what a crash in the middle of one kept
back. `keeper` keeps all of this on disk; `solo` trains the comparison; `event_log` and `views` are
what its owner sees of it.
"""

from openfl.node.node import Node

__all__ = ["Node"]
