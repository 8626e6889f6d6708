"""The public mark: generator and detector of the `audioseal` package, streamed, pinned and calibrated by us."""
