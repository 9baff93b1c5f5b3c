"""The home folder of a node, and everything that is kept in it."""
