"""Which tables this code reads and writes. Apart from the tables, so that a current store is recognised without SQLAlchemy and alembic."""

from __future__ import annotations

HEAD = "0006"
"""The revision of `schema.py`, and the newest in `migrations/versions/`."""

VERSION_TABLE = "reconciler_schema"
"""Not alembic's default name: a PostgreSQL database may already hold somebody else's migrations."""
