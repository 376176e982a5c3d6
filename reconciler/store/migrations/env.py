"""Run by alembic. The connection and its transaction are the store's (`reconciler.store.migrate`)."""

from __future__ import annotations

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    version_table=attributes["version_table"],
    transactional_ddl=True,  # SQLite's too: its transactions are begun by hand
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
