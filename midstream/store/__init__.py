"""What is remembered: one writer path with group commit over SQLite or PostgreSQL, and readers bound to an org."""

from . import unmetered as unmetered
from .opening import Store, file_of, migrated, open_store, visited

__all__ = ["Store", "file_of", "migrated", "open_store", "visited"]
