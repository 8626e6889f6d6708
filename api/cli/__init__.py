"""The command line `earmark`: `main` parses, each other module is one group of commands.

Imports nothing heavy: torch, Faiss and the database drivers are loaded by the command that needs them, so
that `earmark --help` and a mistyped option answer at once.
"""
