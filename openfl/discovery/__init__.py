"""Who is there: bootstrap and remembered peers, the DHT, peer exchange; and dialling them."""
