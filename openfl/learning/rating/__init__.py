"""How users would rate items, by the factorization of a matrix of ratings."""
