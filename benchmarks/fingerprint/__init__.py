"""Accuracy of the fingerprint registry: `python -m benchmarks.fingerprint --data FOLDER`."""
