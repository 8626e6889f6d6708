"""Training of the codec: Mimi's architecture at any size."""
