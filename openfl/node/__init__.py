"""One peer: network, discovery, directory, and one membership at a time.

`assemble` puts the parts together, `node` runs them. `beginning` and `first_group` choose where it
begins, and `membership_factory` opens a membership there; `current_group` says where it is now.
`switcher` decides when to look at other groups, `moves` takes orders to be elsewhere, and
`switch_driver` carries out either; `pending_leaves` says what a crash in the middle kept back.
`state_saver` keeps all of this on disk; `solo` trains the comparison; `event_log` and `views` are
what its owner sees of it.
"""

from openfl.node.assemble import assemble_node
from openfl.node.node import Node

__all__ = ["Node", "assemble_node"]
