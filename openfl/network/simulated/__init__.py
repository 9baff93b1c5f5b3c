"""The network without sockets: one `SimulatedInternet`, a `SimulatedNetwork` for each peer."""
