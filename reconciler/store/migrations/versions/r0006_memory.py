"""What agents keep between conversations is in the store from now on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row for each entry."""
    op.create_table(
        "memory",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("namespace", "owner", "entry")),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("gone_at", sa.Double, nullable=False),
        sa.Column("gone_by", sa.Text, nullable=False),
    )
