"""A slot has a key of its own, an object an owner and the identity of its source; records use today's names."""

from __future__ import annotations

import orjson
import sqlalchemy as sa
from alembic import op

from reconciler.store.conversions import record_from_0001

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ROWS_AT_ONCE = 500


def upgrade() -> None:
    """New columns are empty for every row there is: nobody owned an object, and every slot was its object's own."""
    for name in ("owner", "source_id", "source_commit"):
        op.add_column("objects", _text(name))
    op.add_column("intents", _text("node"))
    _rename_in_records(op.get_bind())


def _rename_in_records(connection: sa.Connection) -> None:
    objects = sa.table("objects", *(sa.column(name, sa.Text) for name in ("kind", "namespace", "name", "record")))
    key = (objects.c.kind, objects.c.namespace, objects.c.name)
    changed: list[dict[str, str]] = []
    for kind, namespace, name, text in connection.execute(sa.select(*key, objects.c.record).where(objects.c.record != "{}")):
        before = orjson.loads(text)
        after = record_from_0001(kind, before)
        if after != before:
            changed.append({"k": kind, "ns": namespace, "n": name, "r": orjson.dumps(after).decode()})
    write = (
        sa.update(objects)
        .where(*(column == sa.bindparam(bound) for column, bound in zip(key, ("k", "ns", "n"), strict=True)))
        .values(record=sa.bindparam("r"))
    )
    for start in range(0, len(changed), ROWS_AT_ONCE):
        connection.execute(write, changed[start : start + ROWS_AT_ONCE])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")
