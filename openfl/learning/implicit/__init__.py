"""Which items users would play, by the factorization of implicit feedback."""
