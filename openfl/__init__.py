"""OpenFL: decentralized nodes that learn together with nobody in the middle."""

__version__ = "0.1.0"
