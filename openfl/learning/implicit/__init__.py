"""Rankings from plays: implicit matrix factorization."""
