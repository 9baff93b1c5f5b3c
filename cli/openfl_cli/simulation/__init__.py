"""How a simulated run is shown: while it goes on, as a table, as JSON lines, as a picture."""
