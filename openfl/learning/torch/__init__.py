"""PyTorch modules as a learning task."""
