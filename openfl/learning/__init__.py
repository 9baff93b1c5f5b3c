"""Models and how they are trained on private data."""

from openfl.learning._unused_later import postpone_what_no_node_uses

postpone_what_no_node_uses()  # before any of the models imports SciPy
