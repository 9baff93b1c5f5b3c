"""What may be wrong with a node, looked for by itself: findings, the network as seen from here,
round trips, and a report for whoever helps. Nothing here changes anything."""
