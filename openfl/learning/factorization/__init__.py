"""What matrix factorization of ratings and of plays have in common."""
