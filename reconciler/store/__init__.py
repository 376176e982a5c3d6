"""Durable state: objects, intents, events, session mirrors, in SQLite or PostgreSQL. Start with `open_store`."""

from reconciler.store.sqlstore import SqlStore as SqlStore
from reconciler.store.sqlstore import open_store as open_store

__all__ = ["SqlStore", "open_store"]
