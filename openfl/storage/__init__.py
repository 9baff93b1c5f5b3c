"""The home folder, and everything that a node keeps in it."""
