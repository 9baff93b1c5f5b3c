"""What the kinds share that factorize a matrix of users and items."""
