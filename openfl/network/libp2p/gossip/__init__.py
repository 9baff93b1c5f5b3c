"""Gossip: pubsub that strangers cannot crash and that loses nothing."""
