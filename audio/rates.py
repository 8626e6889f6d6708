"""The one sample rate inside the project."""

SAMPLE_RATE_HZ = 24_000
"""Rate of Mimi and of every waveform that passes between packages."""
