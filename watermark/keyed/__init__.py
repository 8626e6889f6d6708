"""The keyed scheme: a private mark in log-magnitude tiles, found only with the operator's key."""
