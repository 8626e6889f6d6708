"""The search index: a replica of the fingerprints in PostgreSQL, in Faiss."""

from registry.index.hits import Hits
from registry.index.window_index import WindowIndex

__all__ = ["Hits", "WindowIndex"]
