"""The search index: a replica of the fingerprints in PostgreSQL, in Faiss."""

from registry.index.window_index import Hits, WindowIndex

__all__ = ["Hits", "WindowIndex"]
