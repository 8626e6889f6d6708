"""Training of the codec and of the speech model, the same code on a CPU and on CUDA."""
