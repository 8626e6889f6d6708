"""Training of the public mark at 24 kHz: `earmark train watermark`."""
