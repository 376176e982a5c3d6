"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Written out, not taken from `schema.py`: that one moves on."""
    key = ("kind", "namespace", "name")
    op.create_table(
        "objects",
        *(sa.Column(name, sa.Text, primary_key=True) for name in key),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
        *(_text(name) for name in ("labels", "annotations", "finalizers", "spec", "status", "record", "source", "origin")),
    )
    op.create_table(
        "intents",
        sa.Column("token", sa.Text, primary_key=True),
        *(_text(name) for name in (*key, "uid", "verb")),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        _text("payload"),
        sa.Column("sent_at", sa.Double, nullable=False),
        sa.Column("server_time", sa.Double),
        _text("outcome"),
    )
    op.create_index("intents_by_time", "intents", ["sent_at"])
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        *(_text(name) for name in (*key, "uid", "type", "reason", "message")),
        sa.Column("at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_object", "events", [*key, "seq"])
    op.create_table(
        "sessions",
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("length", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "session_chunks",
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sightings",
        sa.Column("vm_id", sa.Text, primary_key=True),
        sa.Column("first_seen", sa.Double, nullable=False),
    )
    op.create_table("meta", sa.Column("name", sa.Text, primary_key=True), _text("value"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)
