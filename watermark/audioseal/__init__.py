"""The public mark: generator and detector of the `audioseal` package, streamed and calibrated."""
