"""What the watermark learns from data: today the whitening kernel, later the public mark."""
