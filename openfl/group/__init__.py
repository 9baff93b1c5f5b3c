"""The session of one member in one group, without any I/O: events in, effects out."""
