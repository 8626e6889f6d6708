"""Measurements: each script prints the table in docs/benchmarks.md and writes JSON beside it."""
