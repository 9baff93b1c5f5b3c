"""Any PyTorch module as a task."""
