"""Durable state in SQLite or PostgreSQL: `sqlstore.open_store`; for a command that reads once, `reader.open_reader`."""
