"""Which groups there are, looking at them, and moving to one, without any I/O.

`cards` and `directory` know of groups, `probe` holds what was fetched of one. `chooser` says when
to look and what to do then, by `policy`; `look` and `snapshot_fetch` say whom to ask for what, and
`move` which step of a move follows which. What goes into these and comes out is in `events`; `seed`
is what a membership of a new group begins with. They are driven by `openfl.node.switch_driver` and
`openfl.simulation.switch_driver`.
"""
