"""Predictions of ratings: matrix factorization."""
