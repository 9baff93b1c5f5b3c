"""What travels between nodes: strict CBOR, messages and their bounds, names of topics and keys."""
