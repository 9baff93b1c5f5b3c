"""Models and how they are trained on private data."""
