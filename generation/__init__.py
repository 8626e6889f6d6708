"""The Moshi generation stack. Empty until the model lands; nothing in this version speaks by itself.

Speech that another engine made is marked through `api.marking`. What will stand here, and the only
ways it may talk to the rest, is drawn in docs/architecture.md.
"""
