"""What is wrong in py-libp2p."""
