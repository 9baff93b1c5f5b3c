"""Which groups there are, what they are worth, and when to move: without I/O."""
