"""The tables. JSON is kept as text exactly as written, so that both databases give back the same bytes.

A change here needs a migration in `migrations/versions/` that reaches the same tables (a test compares them), a new `revision.HEAD` and a
fixture of the previous revision in the tests. `queries.py` names the columns again; a test compares them too.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

OBJECTS = Table(
    "objects",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("namespace", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("deleted_at", Double),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("finalizers", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("source_id", Text, nullable=False, server_default=""),
    Column("source_commit", Text, nullable=False, server_default=""),
)

INTENTS = Table(
    "intents",
    METADATA,
    Column("token", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Column("sent_at", Double, nullable=False),
    Column("server_time", Double),
    Column("outcome", Text, nullable=False),
    Column("node", Text, nullable=False, server_default=""),
    Index("intents_by_time", "sent_at"),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("series", Text, nullable=False, server_default=""),
    Column("count", BigInteger, nullable=False, server_default="1"),
    Column("first_at", Double, nullable=False, server_default="0"),
    Index("events_by_object", "kind", "namespace", "name", "seq"),
    sqlite_autoincrement=True,  # a number is never given twice, also after the newest events were removed
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("door", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("changes", Text, nullable=False),
    sqlite_autoincrement=True,
)

MEMORY = Table(
    "memory",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("entry", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("text", Text, nullable=False),
    Column("writer", Text, nullable=False),
    Column("gone_at", Double, nullable=False),
    Column("gone_by", Text, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("session", Text, primary_key=True),
    Column("length", BigInteger, nullable=False),
)

CHUNKS = Table(
    "session_chunks",
    METADATA,
    Column("session", Text, primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

SIGHTINGS = Table(
    "sightings",
    METADATA,
    Column("vm_id", Text, primary_key=True),
    Column("first_seen", Double, nullable=False),
)

META = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
